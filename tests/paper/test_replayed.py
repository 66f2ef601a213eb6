"""The winner's schedule, replayed on all labelled images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from examples.paper import ExperimentError
from examples.paper.__main__ import main
from examples.paper.arms import ARMS
from examples.paper.configs import CONFIGS, DIGITS
from examples.paper.data import make_split
from examples.paper.kinds import EPBTArm
from examples.paper.replayed import Schedule, run_replay, schedule_for
from examples.paper.results import Job, results_file
from examples.paper.single import run_single
from examples.paper.stopwatch import Stopwatch
from examples.paper.training import Workbench
from tests.paper.test_runs import TINY, run

NAME = "replayed-all-data"


@pytest.fixture
def bench() -> Workbench:
    return Workbench(TINY, 1, make_split(TINY, 1, Path()), Stopwatch())


def schedule(*params: dict[str, float]) -> Schedule:
    return [{"generation": g, "params": of_generation} for g, of_generation in enumerate(params)]


def test_the_winners_schedule_is_trained_to_its_end_and_nothing_is_kept_back(
    tmp_path: Path,
) -> None:
    winner = run(tmp_path, "recommended-noisy")  # `TINY` has wrong labels
    epochs: list[float] = []
    record = run(tmp_path, NAME, progress=epochs.append)
    assert record["ancestry"] == winner["ancestry"]
    n_epochs = 2 * len(winner["ancestry"])
    assert [point[0] for point in record["curve"]] == list(range(1, n_epochs + 1))
    assert all(validation is None for _, validation, _ in record["curve"])
    assert record["epochs_trained"] == sum(epochs) == n_epochs


def test_a_schedule_of_cross_entropy_is_cross_entropy_on_all_data(
    bench: Workbench, tmp_path: Path
) -> None:
    baseline = ARMS["cross-entropy-all-data"]
    expected = run_single(bench, baseline, tmp_path, lambda _: None)  # type: ignore[arg-type]
    assert run_replay(bench, schedule({}, {}, {}), lambda _: None).curve == expected.curve


def test_each_generation_has_its_own_loss_and_learning_rate(bench: Workbench) -> None:
    def last(*params: dict[str, float]) -> float:
        return run_replay(bench, schedule(*params), lambda _: None).curve[-1].test

    base = last({}, {}, {})
    assert last({}, {"q": 0.9}, {}) != base
    assert last({"rate": 0.2}, {}, {}) != base


def test_generations_that_an_elite_stood_still_in_are_left_out(bench: Workbench) -> None:
    skipping = [{"generation": 0, "params": {}}, {"generation": 2, "params": {}}]
    outcome = run_replay(bench, skipping, lambda _: None)
    assert [point.epoch for point in outcome.curve] == [1, 2, 5, 6]


def test_what_is_replayed_follows_from_whether_labels_are_wrong() -> None:
    for config, expected in (("digits-clean", "recommended-clean"),
                             ("digits-noisy", "recommended-noisy")):  # fmt: skip
        assert Job(CONFIGS[config], NAME, ARMS[NAME], 0).replayed.arm_name == expected


def test_a_replay_without_its_winner_does_not_start(tmp_path: Path) -> None:
    command = ["run", DIGITS.name, "--arms", NAME]
    with pytest.raises(SystemExit, match=r"replays recommended-clean-seed0, which .* lacks"):
        main([*command, "--results", str(tmp_path), "--work", str(tmp_path / "work")])
    assert not (tmp_path / "work").exists()


def test_a_winner_of_other_settings_is_not_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(TINY, NAME, ARMS[NAME], 1)
    path = results_file(tmp_path, TINY.name)
    record = {"settings": job.replayed.settings, "seed": 1, "ancestry": []}
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert schedule_for(job, tmp_path) == []
    before, arm = job.digest, ARMS["recommended-noisy"]
    assert isinstance(arm, EPBTArm)
    monkeypatch.setitem(ARMS, "recommended-noisy", replace(arm, sigma=0.7))
    with pytest.raises(ExperimentError, match=r"`sigma` was 0.2 and is 0.7"):
        schedule_for(job, tmp_path)
    assert job.digest != before  # so that results of the old schedule are refused too
