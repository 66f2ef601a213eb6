"""What is searched: θ of the loss, learning rate and momentum of SGD, and where they start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from optuna import Trial
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it

from epbt_optuna import GaussianMutation, TaylorGLOLoss, batched, cross_entropy_like
from epbt_optuna.genome import Genome
from examples.paper.data import N_CLASSES
from examples.paper.kinds import EPBTArm, PBTArm, Tunes
from examples.paper.losses import (
    AnyLoss,
    EarlyLearningRegularization,
    generalized_cross_entropy,
    weighted_symmetric_cross_entropy,
)

BOUND = 10.0
"""Of every θ, as in the paper."""

THETA: dict[str, BaseDistribution] = {
    f"theta_{i}": FloatDistribution(-BOUND, BOUND) for i in range(8)
}
SGD: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-3, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
}
RATE: dict[str, BaseDistribution] = {"rate": FloatDistribution(0.1, 1.0, log=True)}
SCE: dict[str, BaseDistribution] = {
    "ce_weight": FloatDistribution(0.01, 1.0, log=True),
    "rce_weight": FloatDistribution(0.1, 10.0, log=True),
}
GCE: dict[str, BaseDistribution] = {"q": FloatDistribution(0.05, 1.0)}
ELR: dict[str, BaseDistribution] = {
    "elr_weight": FloatDistribution(0.1, 10.0, log=True),
    "elr_momentum": FloatDistribution(0.0, 0.99),
}

SPACES = {"theta": THETA, "sgd": SGD, "sce": SCE, "gce": GCE, "elr": ELR, "rate": RATE}

_FOUNDERS = 2**32 - 1  # a random stream that no trial's number is


def search_space(tunes: Tunes) -> dict[str, BaseDistribution]:
    """Return the variables and their ranges."""
    return {
        name: distribution
        for space, variables in SPACES.items()
        if space in tunes
        for name, distribution in variables.items()
    }


def suggest(trial: Trial | batched.Generation, tunes: Tunes) -> dict[str, Any]:
    """Suggest the genome of a trial; or of a generation, with a tensor for each variable."""
    params: dict[str, Any] = {}
    for name, distribution in search_space(tunes).items():
        if isinstance(distribution, FloatDistribution):
            params[name] = trial.suggest_float(
                name, distribution.low, distribution.high, log=distribution.log
            )
    return params


def loss_of(
    params: Mapping[str, float], n_samples: int, device: Any, *, normalize: bool = False
) -> AnyLoss:
    """Return the loss of a genome on so many images; cross-entropy where it has none."""
    if "theta_0" in params:
        loss_fn: AnyLoss = TaylorGLOLoss.from_params(params, normalize=normalize).to(device)
        return loss_fn
    return _loss_with_constants(params, n_samples, device) or F.cross_entropy


def losses_of(
    params: Mapping[str, Tensor], n_samples: int, device: Any, *, normalize: bool = False
) -> AnyLoss:
    """Return the losses of a generation's genomes: `loss_of` with a dimension more."""
    if "theta_0" in params:
        theta = torch.stack([params[name] for name in THETA], -1)
        of_labels: Callable[..., Tensor] = TaylorGLOLoss(theta, normalize=normalize)
    else:
        of_labels = batched.cross_entropy
    return _loss_with_constants(params, n_samples, device) or (
        lambda logits, labels: of_labels(logits, batched.each(labels))
    )


def _loss_with_constants(params: Mapping[str, Any], n_samples: int, device: Any) -> AnyLoss | None:
    if "elr_weight" in params:
        return EarlyLearningRegularization(
            n_samples, N_CLASSES, params["elr_weight"], params["elr_momentum"]
        ).to(device)
    if "q" in params:
        return partial(generalized_cross_entropy, q=params["q"])
    if "ce_weight" in params:
        return partial(
            weighted_symmetric_cross_entropy,
            ce_weight=params["ce_weight"],
            rce_weight=params["rce_weight"],
        )
    return None


def loss_genes(params: Mapping[str, Any]) -> tuple[float, ...]:
    """Return what of a genome decides the loss."""
    return tuple(value for name, value in sorted(params.items()) if name not in SGD | RATE)


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
