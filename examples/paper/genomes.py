"""What is searched: θ of the loss, learning rate and momentum of SGD, and where they start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna import Trial
from optuna.distributions import BaseDistribution, FloatDistribution
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it

from epbt_optuna import GaussianMutation, TaylorGLOLoss, cross_entropy_like
from epbt_optuna.genome import Genome
from examples.label_noise import Loss
from examples.paper.arms import EPBTArm, PBTArm, Tunes
from examples.paper.data import N_CLASSES

BOUND = 10.0
"""Of every θ, as in the paper."""

THETA: dict[str, BaseDistribution] = {
    f"theta_{i}": FloatDistribution(-BOUND, BOUND) for i in range(8)
}
SGD: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-3, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
}

_FOUNDERS = 2**32 - 1  # a random stream that no trial's number is


def search_space(tunes: Tunes) -> dict[str, BaseDistribution]:
    """Return the variables and their ranges."""
    return {**(THETA if "theta" in tunes else {}), **(SGD if "sgd" in tunes else {})}


def suggest(trial: Trial, tunes: Tunes) -> dict[str, float]:
    """Suggest the genome of a trial."""
    params: dict[str, float] = {}
    for name, distribution in search_space(tunes).items():
        if isinstance(distribution, FloatDistribution):
            params[name] = trial.suggest_float(
                name, distribution.low, distribution.high, log=distribution.log
            )
    return params


def loss_of(params: Mapping[str, float], device: Any, *, normalize: bool = False) -> Loss:
    """Return the TaylorGLO loss of a genome; cross-entropy where it has no θ."""
    if "theta_0" not in params:
        return F.cross_entropy
    loss_fn: Loss = TaylorGLOLoss.from_params(params, normalize=normalize).to(device)
    return loss_fn


def founders(arm: EPBTArm | PBTArm, population_size: int, seed: int) -> list[dict[str, float]]:
    """Return the θ that the first founders are given; the others' are drawn."""
    rng = np.random.default_rng([seed, _FOUNDERS])
    if "theta" not in arm.tunes:
        return []
    if isinstance(arm, PBTArm):
        near_zero = arm.start < BOUND
        return [
            dict(zip(THETA, rng.uniform(-arm.start, arm.start, 8).tolist(), strict=True))
            for _ in range(population_size if near_zero else 0)
        ]
    sound = Genome(TaylorGLOLoss.to_params(cross_entropy_like(N_CLASSES, bound=BOUND)), THETA)
    mutate = GaussianMutation(arm.sigma, reset_probability=0.0)
    n_sound = round(arm.sound_founders * population_size)
    return [dict((mutate(sound, rng) if i else sound).params) for i in range(n_sound)]
