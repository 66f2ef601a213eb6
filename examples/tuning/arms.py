"""How hyperparameters are found: populations, searches from scratch, and constants.

An arm is a frozen dataclass; `ARMS` names those of each task, first the one that the report
compares with all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from examples.paper.arms import named
from examples.paper.kinds import ADDED


@dataclass(frozen=True)
class EPBTArm:
    """Enhanced Population-Based Training.

    Attributes:
        train_elites: Whether elites go on training; in the paper they stand still, and the
            population is as much larger as makes the number of steps the same.
        tournament_size: Entrants in a tournament.
        sigma: Of the Gaussian mutation.
        reset_probability: Of the Gaussian mutation.
        fitness_smoothing: How much ancestors count in selection.
        cosine: Whether the learning rate is that times a cosine from 1 to 0.
        mate_weight: The mate's share of the weights that a child starts from.
        elites: Their share of the population.
        steps_per_generation: Steps that an individual trains before it is selected by the last.
    """

    description: str
    train_elites: bool = True
    tournament_size: int = 2
    sigma: float = 0.2
    reset_probability: float = 0.2
    fitness_smoothing: float = 0.0
    cosine: bool = False
    mate_weight: float = field(default=0.0, metadata=ADDED)
    elites: float = field(default=0.5, metadata=ADDED)
    steps_per_generation: int = field(default=1, metadata=ADDED)


@dataclass(frozen=True)
class PBTArm:
    """Population-Based Training by `PBTSampler`, with its defaults."""

    description: str


@dataclass(frozen=True)
class RayPBTArm:
    """Ray Tune's `PopulationBasedTraining` with its defaults; values are kept in their ranges."""

    description: str


@dataclass(frozen=True)
class SearchArm:
    """Networks from scratch, one after the other, until the steps are used up.

    Attributes:
        sampler: `"random"`, Optuna's `"tpe"`, or `"constants"`: the same for all networks, which
            then differ by their seed.
        hyperband: Whether Optuna's `HyperbandPruner` stops networks early.
        cosine: Whether the learning rate falls as a cosine from the one that was found to 0.
        constants: Name and value of each.
    """

    description: str
    sampler: Literal["random", "tpe", "constants"]
    hyperband: bool = False
    cosine: bool = False
    constants: tuple[tuple[str, float], ...] = ()


Arm: TypeAlias = EPBTArm | PBTArm | RayPBTArm | SearchArm

_EPBT = EPBTArm("EPBT, elites go on training")
_FIVE_STEPS = EPBTArm(
    "EPBT, elites go on training, generations of five steps", steps_per_generation=5
)
_PAPER = EPBTArm("EPBT by the paper's letter", train_elites=False)
_PBT = PBTArm("PBT")
_RANDOM = SearchArm("Random search, constants", "random")

CANDIDATES: dict[str, Arm] = {
    "epbt-gentle": EPBTArm(
        "EPBT, elites go on training, σ = 0.1, resets 0.05", sigma=0.1, reset_probability=0.05
    ),
    "epbt-tournament-4": EPBTArm(
        "EPBT, elites go on training, tournaments of 4", tournament_size=4
    ),
    "epbt-smoothed": EPBTArm(
        "EPBT, elites go on training, smoothed fitness", fitness_smoothing=0.5
    ),
    "epbt-averaged": EPBTArm(
        "EPBT, elites go on training, smoothed fitness, averaged mates",
        fitness_smoothing=0.5,
        mate_weight=0.5,
    ),
    "epbt-cosine": EPBTArm("EPBT, elites go on training, over a cosine", cosine=True),
    "epbt-cosine-gentle": EPBTArm(
        "EPBT, elites go on training, over a cosine, σ = 0.1, resets 0.05",
        sigma=0.1,
        reset_probability=0.05,
        cosine=True,
    ),
    "epbt-more-elites": EPBTArm("EPBT, elites go on training, three quarters elites", elites=0.75),
    "epbt-two-steps": EPBTArm(
        "EPBT, elites go on training, generations of two steps", steps_per_generation=2
    ),
    "epbt-five-steps": _FIVE_STEPS,
}
"""Settings to choose among, on seeds of their own."""

ARMS: dict[str, dict[str, Arm]] = {
    "cnn": {
        "epbt": _EPBT,
        "epbt-paper": _PAPER,
        "pbt": _PBT,
        "ray-pbt": RayPBTArm("PBT, Ray Tune's"),
        "random": _RANDOM,
        "random-cosine": SearchArm("Random search, cosine", "random", cosine=True),
        "tpe-hyperband": SearchArm("TPE + Hyperband, constants", "tpe", hyperband=True),
        "tpe-hyperband-cosine": SearchArm(
            "TPE + Hyperband, cosine", "tpe", hyperband=True, cosine=True
        ),
    },
    "ppo": {
        "epbt-five-steps": _FIVE_STEPS,  # chosen among the candidates
        "epbt": _EPBT,
        "pbt": _PBT,
        "defaults": SearchArm(
            "Stable-Baselines3's defaults, the best of as many seeds",
            "constants",
            constants=(("learning_rate", 3e-4), ("ent_coef", 0.0), ("clip_range", 0.2)),
        ),
        "zoo": SearchArm(
            "RL Baselines3 Zoo's constants, the best of as many seeds",
            "constants",
            constants=(("learning_rate", 1e-3), ("ent_coef", 0.0), ("clip_range", 0.2)),
        ),
        "random": _RANDOM,
    },
}


def arms_of(task: str) -> dict[str, Arm]:
    """Return all arms of a task, candidates last; a file's arms are those of its name."""
    return {**ARMS[task], **CANDIDATES}


def arms_named(task: str, names: Sequence[str]) -> dict[str, Arm]:
    """Return arms by name or group; `"core"` is what the report compares.

    Raises:
        ExperimentError: There is none of that name.
    """
    groups = {"core": ARMS[task], "candidates": CANDIDATES}
    return named(names, groups, arms_of(task), f"Arm of {task}")
