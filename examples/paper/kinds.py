"""The five kinds of arms: what each can be told.

What an arm does not say, the config says, for all arms alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Tunes = tuple[Literal["theta", "sgd", "sce", "gce", "elr", "rate"], ...]
"""What is searched: TaylorGLO's θ; SGD's learning rate and momentum; the constants of symmetric
cross-entropy, of generalized cross-entropy or of early-learning regularization; the share of the
config's learning rate. Without a loss's constants the loss is cross-entropy."""


ADDED = {"added": True}
"""Marks a field that came after results: those were of its default, and go on to count for it."""


@dataclass(frozen=True)
class SingleNetwork:
    """One network trained from start to end.

    Attributes:
        loss: What `losses.make_loss` calls it.
        on_everything: Train on the validation images too, as the paper's first baseline does;
            then nothing is left to stop early on.
        ema: Measure and stop on an exponential moving average of the weights, which keeps this
            share of itself in every step of SGD; 0 measures the weights themselves.
        rate: Share of the config's learning rate.
    """

    description: str
    loss: str = "cross-entropy"
    on_everything: bool = False
    ema: float = field(default=0.0, metadata=ADDED)
    rate: float = field(default=1.0, metadata=ADDED)


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
        train_elites: Elites go on training, in a population of the same budget.
        fitness_smoothing: Share of the parent's smoothed fitness in an individual's own.
        mate_weight: The mate's share in the weights that an offspring starts from.
        batched: Train a generation as one batch where the config's network is faster so.
        population_size: In place of the one that the config's generations have; then the number of
            generations follows from it, see `Config.divided`.
        n_generations: In place of the config's; then their length follows.
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
    train_elites: bool = field(default=False, metadata=ADDED)
    fitness_smoothing: float = field(default=0.0, metadata=ADDED)
    mate_weight: float = field(default=0.0, metadata=ADDED)
    batched: bool = field(default=False, metadata=ADDED)
    population_size: int | None = field(default=None, metadata=ADDED)
    n_generations: int | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True)
class PBTArm:
    """Population-Based Training as in the paper's baselines: ×1.2, resets, quarter to quarter.

    Attributes:
        tunes: The search space.
        start: Bound of generation 0's θ; the paper's baseline starts around zero.
        paper_population: EPBT's population size, so almost twice its epochs, in place of the
            size that has the same epochs.
        batched: As for `EPBTArm`.
    """

    description: str
    tunes: Tunes = ("theta",)
    start: float = 10.0
    paper_population: bool = False
    batched: bool = field(default=False, metadata=ADDED)


@dataclass(frozen=True)
class SearchArm:
    """Constants for the whole training: as many networks from scratch as EPBT's epochs allow.

    Attributes:
        sampler: `"random"`, or Optuna's `"tpe"`.
        trainable: Do not spend epochs on θ that cannot learn at uniform output.
        tunes: The search space.
        ema: As for `SingleNetwork`.
    """

    description: str
    sampler: Literal["random", "tpe"]
    trainable: bool = True
    tunes: Tunes = field(default=("theta",), metadata=ADDED)
    ema: float = field(default=0.0, metadata=ADDED)


@dataclass(frozen=True)
class ReplayArm:
    """One network on all labelled images, by the schedule of the recommended arm's winner."""

    description: str


Arm: TypeAlias = SingleNetwork | EPBTArm | PBTArm | SearchArm | ReplayArm
