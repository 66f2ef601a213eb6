"""What `optimize` refuses, before the first trial, and what it shows."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler

from epbt_optuna import EPBTSampler
from epbt_optuna.parallel import optimize
from tests.parallel.runs import quick


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=EPBTSampler(4, seed=0))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "Exactly one of `n_trials` and `n_generations` .* None and None"),
        ({"n_trials": 3, "n_generations": 2}, ValueError, "but got 3 and 2"),
        ({"n_trials": -1}, ValueError, "`n_trials` must be at least 0 but got -1"),
        ({"n_trials": 2.5}, TypeError, "`n_trials` must be an integer but got 2.5"),
        ({"n_generations": 0}, ValueError, "`n_generations` must be at least 1 but got 0"),
        ({"n_trials": 1, "timeout": -1}, ValueError, "`timeout` must be at least 0 but got -1"),
        ({"n_trials": 1, "engine": "loky"}, ValueError, "one of .*'thread'.* but got 'loky'"),
        ({"n_trials": 1, "ray_options": {}}, ValueError, "are for engine='ray' but `engine` is"),
        ({"n_trials": 1, "catch": KeyboardInterrupt}, TypeError, "subclasses of Exception but got"),
        ({"n_trials": 1, "catch": ["KeyError"]}, TypeError, "of Exception but got 'KeyError'"),
        (
            {"n_trials": 1, "engine": "ray", "devices": ["cpu"]},
            ValueError,
            "are not for engine='ray', where Ray gives each trial its device",
        ),
        (
            {"n_trials": 1, "engine": "ray", "workers": 0},
            ValueError,
            "`workers` must be at least 1 but got 0",
        ),
    ],
)
def test_bad_arguments_are_refused_before_the_first_trial(
    study: optuna.Study, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        optimize(study, quick, **{"engine": "thread", **options})
    assert not study.trials


def test_generations_are_refused_where_the_sampler_has_none() -> None:
    study = optuna.create_study(sampler=RandomSampler())
    with pytest.raises(TypeError, match="this one's is a RandomSampler: use `n_trials`"):
        optimize(study, quick, n_generations=3, engine="thread")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO, run: Callable[[], None]) -> str:
    monkeypatch.setattr(sys, "stderr", terminal)
    run()
    return terminal.getvalue()


def test_the_bar_shows_generation_best_median_failed_and_pruned(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.add_trial(optuna.create_trial(value=0.5))

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 2:
            raise ArithmeticError
        return trial.number / 10

    def run() -> None:
        options: dict[str, Any] = {"workers": 1, "catch": ArithmeticError, "engine": "thread"}
        optimize(study, objective, n_generations=2, **options)

    last = shown(monkeypatch, Terminal(), run).split("\r")[-1]
    assert "5/5" in last, "one of six was there"
    assert re.search(r"\d trials/s", last)
    assert "generation=1, best=0.5, median=0.45, failed=1, pruned=1" in last


@pytest.mark.parametrize(("terminal", "show"), [(io.StringIO(), True), (Terminal(), False)])
def test_without_a_terminal_or_a_wish_there_is_no_bar(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO, show: bool
) -> None:
    def run() -> None:
        optimize(study, quick, 2, engine="thread", show_progress_bar=show)

    assert not shown(monkeypatch, terminal, run)


def test_a_program_without_a_standard_error_stream_has_no_bar(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    optimize(study, quick, 2, engine="thread")
    assert len(study.trials) == 2


def test_the_bar_of_a_study_with_several_objectives_has_no_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=RandomSampler())

    def run() -> None:
        optimize(study, lambda _: (1.0, 2.0), 2, engine="thread")

    assert "failed=0, pruned=0" in shown(monkeypatch, Terminal(), run)
    assert [trial.values for trial in study.trials] == [[1.0, 2.0]] * 2


def test_importing_it_imports_neither_torch_nor_ray() -> None:
    script = "import sys, epbt_optuna.parallel; print({'torch', 'ray'} & {*sys.modules} or 'none')"
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert done.stdout == "none\n"
