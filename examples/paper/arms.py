"""How it is learnt: the paper's method, its baselines, its ablations and what else is used.

`ARMS` names all arms there are, `GROUPS` those that answer one question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

from examples.label_noise import EMA_DECAY
from examples.paper import ExperimentError
from examples.paper.kinds import Arm, EPBTArm, PBTArm, ReplayArm, SearchArm, SingleNetwork, Tunes

T = TypeVar("T")

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

STOPPED = ("cross-entropy", "generalized-cross-entropy")


def variants(ema: float, rate: float, name: str, described: str) -> dict[str, Arm]:
    """Return the losses that are early-stopped with an average of the weights, or more slowly."""
    arms = {arm: BASELINES[arm] for arm in STOPPED} | ROBUST
    return {
        f"{key}-{name}": replace(arm, description=arm.description + described, ema=ema, rate=rate)
        for key, arm in arms.items()
        if isinstance(arm, SingleNetwork)
    }


EMA = variants(EMA_DECAY, 1.0, "ema", ", EMA of the weights")
SLOW = {
    **variants(0.0, 0.2, "slow", ", a fifth of the learning rate"),
    **variants(EMA_DECAY, 0.2, "slow-ema", ", a fifth of the learning rate, EMA of the weights"),
}


def tuned(space: Literal["sce", "gce", "elr"]) -> dict[str, Arm]:
    """Return searches for the constants of a robust loss and the learning rate."""
    tunes: Tunes = (space, "rate")
    loss = space.upper()
    search = SearchArm(f"Random search on {loss}, EMA", "random", tunes=tunes, ema=EMA_DECAY)
    return {
        f"random-search-{space}": search,
        f"tpe-{space}": replace(search, description=f"TPE on {loss}, EMA", sampler="tpe"),
        f"pbt-{space}": PBTArm(f"PBT on {loss}", tunes=tunes, batched=True),
    }


TUNED = {**tuned("sce"), **tuned("gce")}
TUNED_ELR = tuned("elr")

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

CLEAN = EPBTArm("EPBT as recommended: elites go on training", train_elites=True, batched=True)
NOISY = replace(
    CLEAN,
    description="EPBT as recommended where labels are wrong: fitness smoothed, mates averaged too",
    fitness_smoothing=0.5,
    mate_weight=0.5,
)

# The setting for wrong labels, on the loss that is mostly the strongest of a single network there.
EVOLVED_ELR: dict[str, Arm] = {
    "epbt-elr": replace(NOISY, description="EPBT on ELR, set as recommended", tunes=("elr", "rate"))
}

RECOMMENDED: dict[str, Arm] = {"recommended-clean": CLEAN, "recommended-noisy": NOISY}

REPLAYED: dict[str, Arm] = {
    "replayed-all-data": ReplayArm(
        "The schedule of the recommended setting's winner replayed, on training and validation data"
    )
}

# The three means one by one; without any of them it is `epbt`, with the first `recommended-clean`.
MEANS: dict[str, Arm] = {
    "means-smoothing": EPBTArm("EPBT, fitness smoothed", fitness_smoothing=0.5, batched=True),
    "means-mates": EPBTArm("EPBT, mates averaged", mate_weight=0.5, batched=True),
    "means-smoothing-mates": EPBTArm(
        "EPBT, fitness smoothed, mates averaged",
        fitness_smoothing=0.5,
        mate_weight=0.5,
        batched=True,
    ),
    "means-elites-smoothing": replace(
        CLEAN, description="EPBT, elites trained, fitness smoothed", fitness_smoothing=0.5
    ),
    "means-elites-mates": replace(
        CLEAN, description="EPBT, elites trained, mates averaged", mate_weight=0.5
    ),
}


def gentler(name: str, arm: EPBTArm) -> dict[str, Arm]:
    """Return candidates for how strongly the recommended settings mutate."""
    return {
        f"{name}-sigma-{sigma}-reset-{reset}": replace(
            arm,
            description=f"{arm.description}; σ = {sigma}, reset probability {reset}",
            sigma=sigma,
            reset_probability=reset,
        )
        for sigma, reset in ((0.1, 0.05), (0.1, 0.2), (0.2, 0.05), (0.4, 0.2))
    }


GENTLER = {**gentler("recommended-clean", CLEAN), **gentler("recommended-noisy", NOISY)}

# How to divide one budget: fewer networks and more generations, or generations that are longer. The
# recommended settings themselves are p = 21 and, on most configs, 20 generations.
POPULATION_SIZES = (8, 16, 32)
NUMBERS_OF_GENERATIONS = (5, 10, 40)


def divisions(name: str, arm: EPBTArm) -> dict[str, Arm]:
    """Return a recommended setting with everybody's budget divided otherwise."""
    sizes = {
        f"sweep-{name}-p-{p}": replace(
            arm, description=f"{arm.description}; p = {p}", population_size=p
        )
        for p in POPULATION_SIZES
    }
    lengths = {
        f"sweep-{name}-generations-{n}": replace(
            arm, description=f"{arm.description}; {n} generations", n_generations=n
        )
        for n in NUMBERS_OF_GENERATIONS
    }
    return {**sizes, **lengths}


SWEEPS_CLEAN = divisions("clean", CLEAN)
SWEEPS_NOISY = divisions("noisy", NOISY)

GROUPS = {
    "core": {**BASELINES, **METHODS},
    "robust": ROBUST,
    "ema": EMA,
    "slow": SLOW,
    "tuned": TUNED,
    "elr": {**TUNED_ELR, **EVOLVED_ELR},
    "recommended": RECOMMENDED,
    "means": MEANS,
    "replayed": REPLAYED,
    "gentler": GENTLER,
    "sweeps-clean": SWEEPS_CLEAN,
    "sweeps-noisy": SWEEPS_NOISY,
    "safe": SAFE,
    "ablations": ABLATIONS,
}

ARMS: dict[str, Arm] = {name: arm for group in GROUPS.values() for name, arm in group.items()}


def arms_named(names: Sequence[str]) -> dict[str, Arm]:
    """Return arms by name or group; `"core"` is the baselines and the methods.

    Raises:
        ExperimentError: There is none of that name.
    """
    return named(names, {**GROUPS, "all": ARMS}, ARMS, "Arm")


def named(
    names: Sequence[str], groups: Mapping[str, dict[str, T]], arms: Mapping[str, T], what: str
) -> dict[str, T]:
    """Return those of `arms` that are named, by themselves or by a group; `what` they are.

    Raises:
        ExperimentError: There is none of that name.
    """
    chosen: dict[str, T] = {}
    for name in names:
        if name in groups:
            chosen.update(groups[name])
        elif name in arms:
            chosen[name] = arms[name]
        else:
            known = ", ".join((*groups, *arms))
            raise ExperimentError(f"{what} must be one of {known} but got {name!r}.")
    return chosen
