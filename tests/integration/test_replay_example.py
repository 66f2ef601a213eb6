"""The replay example runs to its table, resumes, and compares what it says it compares."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import TrialState
from torch.nn import functional as F  # noqa: N812, PyTorch's own name for it

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.lineage import ReplaySampler, Schedule, ScheduleStep
from examples import digits, evolving, label_noise, replay
from examples.label_noise import Settings, mlp, train_epoch

SMALL = ["--population", "4", "--generations", "4", "--epochs", "2", "--workers", "1"]


def study_of(folder: Path, name: str, file: str) -> optuna.Study:
    storage = journal_storage(folder / file)
    return optuna.load_study(study_name=name, storage=storage)


@pytest.fixture
def run(tmp_path: Path) -> replay.Run:
    """Two networks along a schedule of three steps, with the learning rates of generations."""
    theta = {f"theta_{i}": 0.0 for i in range(8)}
    steps = tuple(
        ScheduleStep(generation, generation, 1 + generation, {**theta, "theta_5": 5.0 + generation})
        for generation in range(3)
    )
    space = {name: optuna.distributions.FloatDistribution(-10, 10) for name in theta}
    settings = Settings(
        make_split=digits.make_split, make_network=lambda: mlp(64, 8), folder=tmp_path,
        learning_rate=0.1, batch_size=64, population_size=4, n_generations=4,
        epochs_per_generation=1, label_noise=0.4, n_seeds=1, n_workers=1, tournament_size=2,
    )  # fmt: skip
    (tmp_path / "seed-0").mkdir()
    return replay.Run(
        settings, 0, digits.make_split(0, 0.4), Schedule("made", space, steps), 2, lambda *_: None
    )


def test_the_example_runs_to_its_table_and_trains_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda _: None)  # the demo's test looks at MLflow
    replay.main([*SMALL, "--seeds", "1", "--networks", "2", "--folder", str(tmp_path)])
    printed = capsys.readouterr().out
    for name in (*replay.FRESH_ARMS, replay.EVOLVED):
        assert name in printed
    (folder,) = tmp_path.glob("*/seed-0")
    schedule = Schedule.load(folder / "schedule.json")
    study = study_of(folder, "label-noise", "study.log")
    fittest = EPBTSampler(4, train_elites=True, fitness_smoothing=0.5).fittest(study)
    assert schedule == Schedule.from_study(study, fittest)
    replayed = study_of(folder, "replay", "replay.log")
    assert [t.params for t in replayed.trials] == 2 * [dict(s.params) for s in schedule.steps]

    monkeypatch.setattr(replay, "train_epoch", pytest.fail)
    monkeypatch.setattr(evolving, "train_epoch", pytest.fail)
    settings = digits.settings_of(
        argparse.Namespace(
            folder=tmp_path, label_noise=0.4, population=4, generations=4, epochs=2, tournament=4,
            seeds=1, workers=1, paper=False,
        )
    )  # fmt: skip
    outcome = replay.run_seed(settings, 2, 0, lambda *_: None)
    assert {name: len(curves) for name, curves in outcome.items()} == {
        **dict.fromkeys(replay.FRESH_ARMS, 2),
        replay.EVOLVED: 1,
    }
    for name in replay.FRESH_ARMS:
        assert f"{sum(map(replay.last, outcome[name])) / 2:.1f}" in printed


def test_with_the_seeds_of_evolution_a_replay_is_the_evolved_network(
    run: replay.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, evolved = evolving.evolve(run.settings, run.seed, run.split, run.report)
    schedule = Schedule.from_study(study)
    assert len(schedule) > 1
    run = replace(run, schedule=schedule, n_networks=1)

    def seed_of_evolution(_: replay.Run, __: int, step: int = 0) -> int:
        return schedule.steps[step].trial

    monkeypatch.setattr(replay.Run, "torch_seed", seed_of_evolution)
    sampler = ReplaySampler(schedule)
    replayed = replay.open_replay(run, sampler)
    (curve,) = replay.replay(run, sampler, replayed)
    assert curve[-1] == [study.best_value, label_noise.accuracy(evolved, run.split.test)]
    checkpoints = CheckpointStore(run.folder / "replay-checkpoints")
    for name, weights in checkpoints.load(replayed.trials[-1])["network"].items():
        assert torch.equal(weights, evolved.state_dict()[name])


def test_all_fresh_arms_train_as_long_at_the_same_rates_from_the_same_weights(
    run: replay.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    begun: list[torch.Tensor] = []

    def watching(network: torch.nn.Module, optimizer: torch.optim.Optimizer, *rest: object) -> None:
        if len(rates) % run.schedule.n_epochs == 0:
            begun.append(next(network.parameters()).detach().clone())
        rates.append(optimizer.param_groups[0]["lr"])
        train_epoch(network, optimizer, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(replay, "train_epoch", watching)
    sampler = ReplaySampler(run.schedule)
    curves = replay.replay(run, sampler, replay.open_replay(run, sampler))
    curves += [replay.train_static(run, F.cross_entropy, network) for network in range(2)]
    assert [len(curve) for curve in curves] == [6] * 4
    assert rates == pytest.approx(4 * [0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
    assert torch.equal(begun[0], begun[2])
    assert torch.equal(begun[1], begun[3])
    assert not torch.equal(begun[0], begun[1])


def test_a_replay_that_was_cut_off_goes_on_with_the_step_it_was_at(run: replay.Run) -> None:
    sampler = ReplaySampler(run.schedule)
    study = replay.open_replay(run, sampler)
    checkpoints = CheckpointStore(run.folder / "replay-checkpoints")
    trial = study.ask()
    study.tell(trial, replay.replay_step(trial, run, sampler, checkpoints))
    study.ask()  # and killed
    curves = replay.replay(run, sampler, replay.open_replay(run, sampler))
    assert [len(curve) for curve in curves] == [6, 6]
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL] + [TrialState.COMPLETE] * 5


def test_early_stopping_looks_at_the_validation_labels_alone() -> None:
    curve: replay.Curve = [(0.5, 0.9), (0.7, 0.6), (0.6, 0.8)]
    assert replay.last(curve) == pytest.approx(80)
    assert replay.early_stopped(curve) == pytest.approx(60)
