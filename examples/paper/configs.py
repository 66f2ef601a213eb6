"""What is learnt: data set, network, label noise and how long; one budget for all arms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from epbt_optuna import EPBTSampler
from examples.paper import ExperimentError

BATCHED_MODELS = frozenset({"mlp"})
"""Networks so small that a batch of them takes less time than one after the other."""

NoiseKind = Literal["symmetric", "pair-flip", "instance-dependent"]


def trials_per_individual(n_generations: int, elites: float, *, train_elites: bool) -> float:
    """Return the trials of a run over the size of its population, a share of which are elites.

    An elite that stands still is not trained again: G generations of p individuals, a share e of
    them elites, are p + (G − 1)·(1 − e)·p trials.
    """
    return 1 + (n_generations - 1) * (1 - (0 if train_elites else elites))


@dataclass(frozen=True)
class Config:
    """One experiment; every arm of it has the same data, network, batches and number of epochs.

    Attributes:
        name: What the command line and the folders call it.
        dataset: A key of `data.DATASETS`.
        model: A key of `models.MODELS`.
        n_train: Images to train on; None takes all that are not for validation.
        n_validation: Images to choose on: fitness, and early stopping.
        augment: Whether training images are flipped and shifted at random.
        noise: How wrong labels come about: any other class, the next one, or one that the image
            decides, more or less likely by image (see `data.wrong_labels`).
        noise_rate: Share of training and validation labels that are wrong.
        population_size: Individuals in EPBT's populations, p, where half of them are elites.
        n_generations: Generations, generation 0 included.
        epochs_per_generation: Epochs that an individual trains in one; a part of one where a
            config is `divided`.
        learning_rate: At the start; a tenth after half of the epochs, a hundredth after 3/4.
        batch_size: Images in a step of SGD.
        momentum: Of SGD.
    """

    name: str
    dataset: str
    model: str
    n_validation: int
    n_generations: int
    n_train: int | None = None
    augment: bool = False
    noise: NoiseKind = "symmetric"
    noise_rate: float = 0.0
    population_size: int = 40
    epochs_per_generation: float = 1
    learning_rate: float = 0.1
    batch_size: int = 128
    momentum: float = 0.9

    @property
    def n_epochs(self) -> int:
        """Epochs that a network trained from start to end sees, and an unbroken lineage too."""
        return round(self.n_generations * self.epochs_per_generation)

    @property
    def n_epochs_of_epbt(self) -> int:
        """Epochs that EPBT's population trains with half of it as elites: everybody's budget."""
        sampler = EPBTSampler(self.population_size)
        return round(sampler.n_trials(self.n_generations) * self.epochs_per_generation)

    def population_size_with(self, elites: float, *, train_elites: bool = False) -> int:
        """Return the p with which EPBT has this share of elites and everybody's budget.

        An elite is not trained, so the fewer there are, the smaller the population: 21 without
        elites in place of 40 with half of them, over 20 generations. If elites are trained as well,
        it is 21 whatever their share.
        """
        n_trained = trials_per_individual(self.n_generations, elites, train_elites=train_elites)
        return round(self.n_epochs_of_epbt / (self.epochs_per_generation * n_trained))

    def divided(self, population_size: int | None, n_generations: int | None) -> Config:
        """Return the config with everybody's budget divided otherwise, for elites that train too.

        Fewer networks train longer: a population of another size has as many generations, of the
        same length, as the budget allows. More generations are shorter: a lineage has the same
        epochs in all. The learning rate falls after the same shares of a lineage's epochs.
        """
        if population_size is not None:
            n_trained = self.n_epochs_of_epbt / self.epochs_per_generation
            return replace(self, n_generations=max(1, round(n_trained / population_size)))
        if n_generations is not None:
            n_epochs = self.n_epochs / n_generations
            whole = round(n_epochs) if n_epochs.is_integer() else n_epochs
            return replace(self, n_generations=n_generations, epochs_per_generation=whole)
        return self

    def passes(self, generation: int) -> list[tuple[float, float]]:
        """Return the passes over the images: the epoch by the clock, and the share of them."""
        n_epochs = self.epochs_per_generation
        first = generation * n_epochs
        return [(first + i, min(1, n_epochs - i)) for i in range(ceil(n_epochs))]

    @property
    def is_faster_in_batches(self) -> bool:
        """Whether a generation of its networks trains faster as one batch (`suggest_mode`)."""
        return self.model in BATCHED_MODELS and not self.augment

    @property
    def recommended(self) -> str:
        """The arm that counts as recommended here; who knows of wrong labels chooses the second."""
        return "recommended-noisy" if self.noise_rate else "recommended-clean"

    @property
    def n_lineages(self) -> int:
        """Networks that can be trained from start to end for EPBT's epochs, rounded up."""
        return ceil(self.n_epochs_of_epbt / self.n_epochs)


DIGITS = Config("digits-clean", "digits", "mlp", 450, 20, n_train=900, epochs_per_generation=3)
FASHION = Config("fashion-clean", "fashion-mnist", "mlp", 5_000, 20, n_train=15_000)
FASHION_5000 = replace(FASHION, name="fashion-5000", n_train=5_000, n_validation=2_500)
FASHION_RESNET = replace(FASHION, name="fashion-resnet32", model="resnet32")
CIFAR10 = Config(
    "cifar10-resnet32", "cifar10", "resnet32", 5_000, 25, augment=True, epochs_per_generation=8
)
SVHN = Config("svhn-resnet32", "svhn", "resnet32", 30_000, 40)


def noisy(config: Config, name: str, noise: NoiseKind = "symmetric", rate: float = 0.4) -> Config:
    return replace(config, name=name, noise=noise, noise_rate=rate)


CONFIGS = {
    config.name: config
    for config in (
        DIGITS,
        noisy(DIGITS, "digits-noisy"),
        noisy(DIGITS, "digits-pair-flip", "pair-flip"),
        noisy(DIGITS, "digits-pair-flip-20", "pair-flip", 0.2),
        noisy(DIGITS, "digits-instance", "instance-dependent", 0.3),
        FASHION,
        noisy(FASHION, "fashion-noisy"),
        FASHION_5000,
        noisy(FASHION_5000, "fashion-5000-noisy"),
        noisy(FASHION_5000, "fashion-5000-pair-flip-20", "pair-flip", 0.2),
        noisy(FASHION_5000, "fashion-5000-instance", "instance-dependent", 0.3),
        replace(FASHION, name="fashion-cnn", model="cnn"),
        FASHION_RESNET,
        noisy(FASHION_RESNET, "fashion-resnet32-noisy"),
        CIFAR10,
        replace(CIFAR10, name="cifar10-wrn-16-8", model="wrn-16-8"),
        SVHN,
    )
}


def config_named(name: str) -> Config:
    """Return a config by its name.

    Raises:
        ExperimentError: There is none of that name.
    """
    if name not in CONFIGS:
        raise ExperimentError(f"Config must be one of {', '.join(CONFIGS)} but got {name!r}.")
    return CONFIGS[name]
