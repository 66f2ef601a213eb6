"""What the examples with wrong labels set, average and say of EPBT beside the others."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from examples import digits, label_noise, runner
from examples.label_noise import Settings


def settings(*arguments: str) -> Settings:
    """Return the settings of the demo with these options."""
    parser = argparse.ArgumentParser()
    label_noise.add_options(
        parser, label_noise=0.4, seeds=5, generations=30, epochs=1, folder=Path("runs/digits")
    )
    return digits.settings_of(parser.parse_args(arguments))


def test_where_labels_are_wrong_epbt_is_set_as_recommended_for_noise() -> None:
    chosen = settings()
    sampler = chosen.sampler(seed=3)
    generations = sampler.generations
    assert (generations.population_size, generations.n_elites) == (21, 10)
    assert (generations.train_elites, generations.fitness_smoothing) == (True, 0.5)
    assert chosen.mate_weight == 0.5


def test_where_labels_are_right_fitness_is_not_smoothed_and_no_weights_are_averaged() -> None:
    chosen = settings("--label-noise", "0")
    assert (chosen.train_elites, chosen.fitness_smoothing, chosen.mate_weight) == (True, 0, 0)


def test_the_papers_letter_is_an_option_that_trains_as_long_and_has_a_folder_of_its_own() -> None:
    ours, paper = settings(), settings("--paper")
    assert (paper.population_size, paper.train_elites) == (40, False)
    assert (paper.fitness_smoothing, paper.mate_weight) == (0, 0)
    assert (ours.n_epochs_of_evolution, paper.n_epochs_of_evolution) == (630, 620)
    assert ours.folder != paper.folder


def outcomes(epbt: list[float], **others: list[float]) -> list[dict[str, Any]]:
    """Return outcomes where all others have these accuracies, or 10 %."""
    worst = [0.1] * len(epbt)
    return [
        {
            **{
                name: dict.fromkeys(("early", "last"), others.get(name, worst)[seed])
                for name in label_noise.SINGLE_NETWORKS
            },
            "EPBT": {"early": accuracy},
        }
        for seed, accuracy in enumerate(epbt)
    ]


def test_epbt_is_set_beside_the_best_of_all_others_whichever_that_is() -> None:
    rival = {"cross-entropy": [0.7, 0.9], "mean absolute error": [0.79, 0.78]}
    said = runner.comparison(outcomes([0.9, 0.8], **rival))
    assert "5.0 points above the best of the others, cross-entropy, early-stopped" in said
    assert said.endswith("Seed by seed: +20.0, -10.0.")


def test_an_epbt_that_is_behind_is_said_to_be_below() -> None:
    made = outcomes([0.7, 0.8])
    for outcome in made:
        outcome["mean absolute error"]["last"] = 0.9
    said = runner.comparison(made)
    assert "15.0 points below the best of the others, mean absolute error, at its last" in said


def test_the_average_follows_weights_and_running_statistics_by_one_minus_its_decay() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    average = label_noise.averaged_model(network, optimizer, decay=0.75)
    expected: dict[str, torch.Tensor] = {}
    for step in range(3):
        optimizer.zero_grad()
        network(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                old = expected.get(name, value) if step else value
                expected[name] = 0.75 * old + 0.25 * value
    measured = average.module.state_dict()
    assert "1.running_mean" in expected
    for name, value in expected.items():
        torch.testing.assert_close(measured[name], value)


def test_early_stopping_measures_the_average_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[type[nn.Module]] = []

    def watch(network: nn.Module, _: label_noise.Part) -> float:
        measured.append(type(network))
        return 0.5

    monkeypatch.setattr(label_noise, "accuracy", watch)
    monkeypatch.setattr(label_noise, "train_epoch", lambda *_: None)
    chosen = settings("--generations", "1")
    train = partial(
        label_noise.train_with,
        settings=chosen, split=digits.make_split(0, 0.4), seed=0, report=lambda *_: None,
    )  # fmt: skip
    train("generalized c.-e. with EMA")
    train("cross-entropy")
    assert [kind.__name__ for kind in measured] == ["AveragedModel"] * 2 + ["Sequential"] * 2
