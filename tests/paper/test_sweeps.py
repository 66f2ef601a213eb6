"""One budget divided otherwise: populations of other sizes, generations of other lengths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it

from examples.paper.arms import ARMS, CLEAN, SWEEPS_CLEAN, SWEEPS_NOISY
from examples.paper.configs import CONFIGS, Config
from examples.paper.data import make_split
from examples.paper.evolution import bench_of, make_sampler
from examples.paper.kinds import EPBTArm
from examples.paper.stopwatch import Stopwatch
from examples.paper.training import Workbench
from tests.paper.test_runs import TINY

SWEPT = [CONFIGS[name] for name in ("digits-clean", "digits-noisy", "fashion-5000-noisy")]


def bench(config: Config) -> Workbench:
    return Workbench(config, 1, make_split(TINY, 1, Path()), Stopwatch())


def as_divided(arm: EPBTArm, config: Config) -> Workbench:
    return bench_of(arm, bench(config))


@pytest.mark.parametrize("config", SWEPT)
@pytest.mark.parametrize("name", [*SWEEPS_CLEAN, *SWEEPS_NOISY])
def test_every_division_has_everybodys_budget_and_half_of_its_networks_are_elites(
    config: Config, name: str
) -> None:
    arm = ARMS[name]
    assert isinstance(arm, EPBTArm)
    sampler, divided = make_sampler(arm, config, seed=0), as_divided(arm, config).config
    n_epochs = sampler.n_trials(divided.n_generations) * divided.epochs_per_generation
    assert n_epochs == pytest.approx(config.n_epochs_of_epbt, rel=0.01)
    assert sampler.population_size == (arm.population_size or 21)
    assert sampler.n_elites == sampler.population_size // 2
    assert divided.n_generations == arm.n_generations or arm.n_generations is None


def test_fewer_networks_train_longer_and_the_rate_falls_at_half_of_their_epochs() -> None:
    config = CONFIGS["digits-clean"]
    divided = as_divided(replace(CLEAN, population_size=8), config)
    assert divided.config.n_epochs == 156  # 8 networks' share of 1260, in generations of 3
    assert divided.learning_rate(77) == config.learning_rate
    assert divided.learning_rate(78) == pytest.approx(config.learning_rate / 10)


def test_generations_of_part_of_an_epoch_follow_each_other_without_a_gap() -> None:
    divided = as_divided(replace(CLEAN, n_generations=40), CONFIGS["digits-clean"]).config
    assert [divided.passes(g) for g in range(3)] == [
        [(0, 1), (1, 0.5)],
        [(1.5, 1), (2.5, 0.5)],
        [(3, 1), (4, 0.5)],
    ]
    assert divided.n_epochs == CONFIGS["digits-clean"].n_epochs


@pytest.mark.parametrize(("share", "n_images"), [(1.0, 120), (0.5, 60), (0.15, 18)])
def test_a_share_of_an_epoch_is_trained_on_that_share_of_the_images(
    share: float, n_images: int
) -> None:
    own = bench(TINY)
    seen: list[int] = []

    def loss_fn(logits: Tensor, labels: Tensor) -> Tensor:
        seen.append(len(labels))
        return F.cross_entropy(logits, labels)

    network = own.network(0)
    optimizer = own.optimizer(network)
    own.train_epoch(network, optimizer, loss_fn, own.split.train, own.generator(0, 0), share)
    assert sum(seen) == n_images
