"""How it is learnt: the paper's method, its baselines, its ablations and what else is used.

An arm is a frozen dataclass of one of four kinds; `ARMS` names them all. What an arm does not
say, the config says, for all arms alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from examples.paper import ExperimentError

Tunes = tuple[Literal["theta", "sgd"], ...]
"""What is searched: TaylorGLO's θ, SGD's learning rate and momentum; without θ the loss is
cross-entropy."""


@dataclass(frozen=True)
class SingleNetwork:
    """One network trained from start to end.

    Attributes:
        loss: What `losses.make_loss` calls it.
        on_everything: Train on the validation images too, as the paper's first baseline does;
            then nothing is left to stop early on.
    """

    description: str
    loss: str = "cross-entropy"
    on_everything: bool = False


@dataclass(frozen=True)
class EPBTArm:
    """Enhanced Population-Based Training. The defaults are the demo's; `paper` is the letter.

    Attributes:
        tunes: The search space.
        tournament_size: Entrants in a tournament.
        truncation: In place of tournaments, parents are any of this share of the fittest.
        elites: Share of the population that survives; the population's size follows from it.
        sigma: Of the Gaussian mutation.
        reset_probability: Of the Gaussian mutation.
        crossover: Probability that a variable comes from the mate.
        trainable: Breed until θ can learn at uniform output.
        normalize: Scale losses to cross-entropy's gradient at uniform output.
        sound_founders: Share of generation 0 whose θ stands in for cross-entropy; the first as
            it is, the others mutated.
        more_validation: Share of the training images that are selected on, not trained on.
    """

    description: str
    tunes: Tunes = ("theta",)
    tournament_size: int = 4
    truncation: float | None = None
    elites: float = 0.5
    sigma: float = 0.2
    reset_probability: float = 0.2
    crossover: float = 0.5
    trainable: bool = True
    normalize: bool = False
    sound_founders: float = 0.0
    more_validation: float = 0.0


@dataclass(frozen=True)
class PBTArm:
    """Population-Based Training as in the paper's baselines: ×1.2, resets, quarter to quarter.

    Attributes:
        tunes: The search space.
        start: Bound of generation 0's θ; the paper's baseline starts around zero.
        paper_population: EPBT's population size, so almost twice its epochs, in place of the
            size that has the same epochs.
    """

    description: str
    tunes: Tunes = ("theta",)
    start: float = 10.0
    paper_population: bool = False


@dataclass(frozen=True)
class SearchArm:
    """A θ for the whole training: as many networks from scratch as EPBT's epochs allow.

    Attributes:
        sampler: `"random"`, or Optuna's `"tpe"`.
        trainable: Do not spend epochs on θ that cannot learn at uniform output.
    """

    description: str
    sampler: Literal["random", "tpe"]
    trainable: bool = True


Arm: TypeAlias = SingleNetwork | EPBTArm | PBTArm | SearchArm

BASELINES: dict[str, Arm] = {
    "cross-entropy-all-data": SingleNetwork(
        "Cross-entropy on training and validation data, never stopped (the paper's baseline 1)",
        on_everything=True,
    ),
    "cross-entropy": SingleNetwork("Cross-entropy"),
    "label-smoothing": SingleNetwork("Label smoothing, 0.1", "label smoothing 0.1"),
    "generalized-cross-entropy": SingleNetwork(
        "Generalized cross-entropy, q = 0.7", "generalized cross-entropy"
    ),
    "mean-absolute-error": SingleNetwork("Mean absolute error", "mean absolute error"),
    "pbt-theta": PBTArm("PBT on θ, starting around zero (the paper's baseline 2)", start=1.0),
    "pbt-theta-uniform": PBTArm("PBT on θ, starting from U[−10, 10]"),
    "pbt-theta-40": PBTArm(
        "PBT on θ, starting around zero, EPBT's population and so more epochs",
        start=1.0,
        paper_population=True,
    ),
    "pbt-sgd": PBTArm(
        "PBT on SGD's learning rate and momentum (the paper's baseline 3)", tunes=("sgd",)
    ),
    "random-search": SearchArm("Random search for one θ", "random"),
    "tpe": SearchArm("TPE for one θ", "tpe"),
}

# What others propose for wrong labels, and the name that `losses` has for each.
ROBUST: dict[str, Arm] = {
    "symmetric-cross-entropy": SingleNetwork(
        "Symmetric cross-entropy (SCE)", "symmetric cross-entropy"
    ),
    "nce-rce": SingleNetwork("NCE + RCE", "NCE and RCE"),
    "nce-agce": SingleNetwork("NCE + AGCE", "NCE and AGCE"),
    "epsilon-softmax-mae": SingleNetwork("CE_ε + MAE (ε-softmax)", "ε-softmax and MAE"),
    "early-learning": SingleNetwork(
        "Early-learning regularization (ELR)", "early-learning regularization"
    ),
}

METHODS: dict[str, Arm] = {
    "epbt": EPBTArm("EPBT on θ"),
    "epbt-paper": EPBTArm(
        "EPBT on θ as in the paper: tournaments of 2, any θ", tournament_size=2, trainable=False
    ),
    "epbt-sgd": EPBTArm("EPBT on SGD's learning rate and momentum", tunes=("sgd",)),
    "epbt-theta-and-sgd": EPBTArm("EPBT on θ and SGD's", tunes=("theta", "sgd")),
    "selection-alone": EPBTArm("EPBT with cross-entropy, nothing to evolve", tunes=()),
}

# Candidates for a setting that does not lose to cross-entropy where labels are right. Founders like
# cross-entropy start from what works; without elites no network stands still, so that the last has
# been trained in every generation. The report chooses on digits and looks at the others.
SAFE: dict[str, Arm] = {
    "safe-founders": EPBTArm("EPBT, half of the founders like cross-entropy", sound_founders=0.5),
    "safe-normalized": EPBTArm(
        "EPBT, founders like cross-entropy, gradients normalised",
        sound_founders=0.5,
        normalize=True,
    ),
    "safe-selection": EPBTArm(
        "EPBT, founders like cross-entropy, a quarter of the training images to select on",
        sound_founders=0.5,
        more_validation=0.25,
    ),
    "safe-no-elites": EPBTArm("EPBT without elites", elites=0.0),
    "safe-no-elites-founders": EPBTArm(
        "EPBT without elites, half of the founders like cross-entropy",
        elites=0.0,
        sound_founders=0.5,
    ),
    "safe-no-elites-selection": EPBTArm(
        "EPBT without elites, founders like cross-entropy, more images to select on",
        elites=0.0,
        sound_founders=0.5,
        more_validation=0.25,
    ),
    "safe-no-elites-gentle": EPBTArm(
        "EPBT without elites, founders like cross-entropy, resets rare",
        elites=0.0,
        sound_founders=0.5,
        reset_probability=0.02,
    ),
}

ABLATIONS: dict[str, Arm] = {
    "epbt-no-crossover": EPBTArm("No crossover", crossover=0.0),
    "epbt-truncation": EPBTArm("Parents from the fittest quarter, no tournament", truncation=0.25),
    "epbt-tournament-2": EPBTArm("Tournaments of 2", tournament_size=2),
    "epbt-elites-0": EPBTArm("No elites, in a population of the same budget", elites=0.0),
    "epbt-elites-25": EPBTArm("A quarter elites, same budget", elites=0.25),
    "epbt-elites-75": EPBTArm("Three quarters elites, same budget", elites=0.75),
    "epbt-sigma-0.1": EPBTArm("σ = 0.1", sigma=0.1),
    "epbt-sigma-0.4": EPBTArm("σ = 0.4", sigma=0.4),
    "epbt-reset-0": EPBTArm("No resets", reset_probability=0.0),
    "epbt-reset-0.4": EPBTArm("Reset probability 0.4", reset_probability=0.4),
    "epbt-any-theta": EPBTArm("Any θ, also what cannot learn", trainable=False),
    "epbt-normalize": EPBTArm("Gradients normalised", normalize=True),
}

ARMS: dict[str, Arm] = {**BASELINES, **ROBUST, **METHODS, **SAFE, **ABLATIONS}

GROUPS = {"core": {**BASELINES, **METHODS}, "robust": ROBUST, "safe": SAFE, "ablations": ABLATIONS}


def arms_named(names: Sequence[str]) -> dict[str, Arm]:
    """Return arms by name or group; `"core"` is the baselines and the methods.

    Raises:
        ExperimentError: There is none of that name.
    """
    groups = {**GROUPS, "all": ARMS}
    chosen: dict[str, Arm] = {}
    for name in names:
        if name in groups:
            chosen.update(groups[name])
        elif name in ARMS:
            chosen[name] = ARMS[name]
        else:
            known = ", ".join((*groups, *ARMS))
            raise ExperimentError(f"Arm must be one of {known} but got {name!r}.")
    return chosen
