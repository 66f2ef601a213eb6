from . import checkpoints as checkpoints
from . import cli as cli
from . import evolution as evolution
from . import genome as genome
from . import journal as journal
from . import lineage as lineage
from . import losses as losses
from . import operators as operators
from . import parallel as parallel
from . import population as population
from . import pruning as pruning
from . import samplers as samplers
from . import testing as testing
from . import tracking as tracking
from . import visualization as visualization
from .checkpoints import CheckpointError as CheckpointError
from .checkpoints import CheckpointStore as CheckpointStore
from .checkpoints import reopen as reopen
from .checkpoints import restore_optimizer as restore_optimizer
from .checkpoints import resume as resume
from .losses import TaylorGLOLoss as TaylorGLOLoss
from .losses import cross_entropy_like as cross_entropy_like
from .losses import is_trainable as is_trainable
from .losses import taylor_glo_loss as taylor_glo_loss
from .operators import GaussianMutation as GaussianMutation
from .operators import PerturbOrResample as PerturbOrResample
from .operators import TournamentSelection as TournamentSelection
from .operators import Truncation as Truncation
from .operators import UniformCrossover as UniformCrossover
from .pruning import EPBTPruner as EPBTPruner
from .samplers import EPBTSampler as EPBTSampler
from .samplers import GenerationSampler as GenerationSampler
from .samplers import PBTSampler as PBTSampler
from .samplers import ask_generation as ask_generation
from .tracking import MLflowTracker as MLflowTracker

__all__: list[str]
__version__: str
