"""Ask a whole generation, train it as one batched model, tell it: EPBT by ask/tell.

A population of equal networks is one network with stacked weights: `torch.func` trains all of
them in one call, each under its own evolved TaylorGLO loss. Digits with 40 % wrong labels, as in
`examples.digits`, whose loop this is without `study.optimize`.

    python -m examples.ask_tell
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import optuna
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from tqdm import tqdm

from epbt_optuna import CheckpointStore, EPBTSampler, ask_generation, is_trainable, taylor_glo_loss
from examples.digits import make_split
from examples.label_noise import Part

Weights = dict[str, Tensor]
"""Parameters by name, each of shape (individuals, *shape in one network)."""

SPACE: dict[str, BaseDistribution] = {
    f"theta_{i}": FloatDistribution(-10.0, 10.0) for i in range(8)
}


def make_network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 128), nn.LayerNorm(128), nn.ReLU(),
        nn.Linear(128, 64), nn.LayerNorm(64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip


def loss_of_one(weights: Weights, theta: Tensor, network: nn.Module, batch: Part) -> Tensor:
    """Compute the loss of one individual; `vmap` makes it that of all."""
    images, labels = batch
    return taylor_glo_loss(functional_call(network, weights, images), labels, theta)


def train_epoch(
    network: nn.Module, weights: Weights, momentum: Weights, theta: Tensor, train: Part
) -> None:
    """Train all individuals for one epoch of SGD, in place; `theta` has shape (individuals, 8)."""
    images, labels = train
    gradients_of_all = vmap(grad(partial(loss_of_one, network=network)), in_dims=(0, 0))
    for batch in torch.randperm(len(labels)).split(32):
        gradients = gradients_of_all(weights, theta, batch=(images[batch], labels[batch]))
        for name, gradient in gradients.items():
            momentum[name].mul_(0.9).add_(gradient)
            weights[name].sub_(momentum[name], alpha=0.1)


def accuracies(network: nn.Module, weights: Weights, part: Part) -> list[float]:
    """Return the accuracy of every individual."""
    images, labels = part
    logits = vmap(partial(functional_call, network), in_dims=(0, None))(weights, images)
    return [float(share) for share in (logits.argmax(-1) == labels).float().mean(-1)]


def fresh_weights(n_individuals: int) -> tuple[Weights, Weights]:
    """Return stacked initial weights, and momentum of zero."""
    stacked, _ = stack_module_state([make_network() for _ in range(n_individuals)])
    weights = {name: value.detach() for name, value in stacked.items()}
    return weights, {name: torch.zeros_like(value) for name, value in weights.items()}


def inherit_all(
    trials: list[optuna.Trial], checkpoints: CheckpointStore
) -> tuple[Weights, Weights]:
    """Stack what the trials inherit; founders get fresh weights."""
    weights, momentum = fresh_weights(len(trials))
    for i, trial in enumerate(trials):
        if (state := checkpoints.inherit(trial)) is not None:
            for name in weights:
                weights[name][i] = state["weights"][name]
                momentum[name][i] = state["momentum"][name]
    return weights, momentum


def run_generation(
    study: optuna.Study, checkpoints: CheckpointStore, network: nn.Module, train: Part, valid: Part
) -> None:
    """Ask a generation, train it together, save and tell every trial."""
    trials = ask_generation(study, SPACE)
    theta = torch.tensor([[trial.params[name] for name in SPACE] for trial in trials])
    weights, momentum = inherit_all(trials, checkpoints)
    for _ in range(2):
        train_epoch(network, weights, momentum, theta, train)
    fitness = accuracies(network, weights, valid)
    for i, trial in enumerate(trials):
        state = {"weights": weights, "momentum": momentum}
        checkpoints.save(
            trial, {kind: {n: v[i] for n, v in w.items()} for kind, w in state.items()}
        )
        study.tell(trial, fitness[i])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--population", type=int, default=40)
    parser.add_argument("--generations", type=int, default=20)
    options = parser.parse_args(arguments)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the networks are too small to share
    split = make_split(seed=0, label_noise=0.4)
    sampler = EPBTSampler(
        options.population,
        feasible=partial(is_trainable, n_classes=10),
        search_space=SPACE,
        seed=0,
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    network = make_network()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = CheckpointStore(Path(folder))
        for _ in tqdm(range(options.generations), unit=" generations"):
            run_generation(study, checkpoints, network, split.train, split.validation)
        best = checkpoints.load(study.best_trial)["weights"]
    (test,) = accuracies(network, {name: value[None] for name, value in best.items()}, split.test)
    print(f"Trial {study.best_trial.number} of {len(study.trials)} is the fittest:", end=" ")
    print(f"{study.best_value:.1%} on noisy validation labels, {test:.1%} on clean test labels.")


if __name__ == "__main__":
    main()
