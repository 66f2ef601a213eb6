"""What a run says of its trials, with and without a terminal."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler, PBTSampler
from epbt_optuna.parallel import optimize
from epbt_optuna.parallel.progress import Progress
from epbt_optuna.samplers import GenerationSampler
from tests.parallel.test_optimize import Terminal


@pytest.fixture(autouse=True)
def _optunas_lines(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let Optuna say what it says by default."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    yield
    optuna.logging.set_verbosity(verbosity)
    caplog.clear()


def study_with(sampler: GenerationSampler) -> optuna.Study:
    pruner = optuna.pruners.NopPruner()
    return optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)


def objective(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise ArithmeticError
    return rate + (kind == "a")


def run(study: optuna.Study, **options: Any) -> None:
    options = {"n_generations": 3, "workers": 1, "catch": ArithmeticError, **options}
    optimize(study, objective, engine="thread", **options)


def lines(caplog: pytest.LogCaptureFixture, beginning: str) -> list[str]:
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    return [message for message in messages if re.match(beginning, message)]


def test_every_trial_has_the_line_that_optuna_gives_it(caplog: pytest.LogCaptureFixture) -> None:
    study = study_with(EPBTSampler(4, n_elites=2, seed=0))
    run(study)
    ours = lines(caplog, r"Trial \d+ finished")
    caplog.clear()
    other = study_with(EPBTSampler(4, n_elites=2, seed=0))
    other.optimize(objective, n_trials=8, catch=ArithmeticError)
    assert ours == lines(caplog, r"Trial \d+ finished")
    assert len(ours) == 6


@pytest.mark.parametrize("shown", [True, False])
def test_until_the_first_trial_has_finished_a_file_says_that_workers_start(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    if shown:  # there, the bar says so
        monkeypatch.setattr(sys, "stderr", Terminal())
    progress = Progress(study_with(EPBTSampler(4, seed=0)), 8, shown=True)
    for n_ready in (0, 1, 2):
        progress.show_start(n_ready, 2)
    progress.close()
    told = lines(caplog, ".*worker processes")
    assert told == ([] if shown else ["8 trials with 2 worker processes, which start."])


def test_every_generation_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    study = study_with(EPBTSampler(4, n_elites=2, seed=0))
    run(study)
    told = lines(caplog, "Generation")
    assert len(told) == 3
    values = [trial.value for trial in study.trials]
    best, worst = sorted(v for v in (values[0], values[3]) if v is not None)[::-1]
    number = values.index(best)
    start = f"Generation 0 finished: best {best:.4g} (trial {number}), "
    assert told[0].startswith(f"{start}median {(best + worst) / 2:.4g}, 1 pruned, 1 failed, ")
    assert re.fullmatch(r"Generation 2 finished: .*, \d+\.\d s\.", told[2])


def test_a_generation_that_two_runs_shared_has_one_line(caplog: pytest.LogCaptureFixture) -> None:
    study = study_with(EPBTSampler(4, n_elites=2, seed=0))
    run(study, n_generations=None, n_trials=3)
    assert not lines(caplog, "Generation")
    run(study, n_generations=2)
    assert [line[:12] for line in lines(caplog, "Generation")] == ["Generation 0", "Generation 1"]


def test_a_trial_says_whose_weights_it_goes_on_with_and_what_it_changed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = study_with(EPBTSampler(4, n_elites=2, seed=0))
    run(study)
    told = lines(caplog, r"Trial \d+ takes")
    offspring = [trial for trial in study.trials if trial.number >= 4]
    assert len(told) == len(offspring) == 4
    for line, trial in zip(told, offspring, strict=True):
        parent = study.trials[trial.system_attrs["epbt:lineage"]["parent"]]
        start = f"Trial {trial.number} takes weights of {parent.number} ({parent.value:.4g}), "
        assert line.startswith(f"{start}rate {parent.params['rate']:.3g} → ")
        kind = f"kind {parent.params['kind']} → {trial.params['kind']}"
        assert (kind in line) == (parent.params["kind"] != trial.params["kind"])


def test_a_member_of_pbt_is_mentioned_when_it_takes_anothers_weights(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = study_with(PBTSampler(8, seed=0))
    run(study)
    told = {int(line.split()[1]) for line in lines(caplog, r"Trial \d+ takes")}
    taken = {
        trial.number
        for trial in study.trials[8:]
        if trial.system_attrs["epbt:lineage"]["parent"] % 8 != trial.number % 8
    }
    assert taken
    assert told == taken


def test_a_damaged_record_costs_its_line_and_not_the_run(caplog: pytest.LogCaptureFixture) -> None:
    study = study_with(EPBTSampler(4, n_elites=2, seed=0))

    def damaging(trial: optuna.Trial) -> float:
        if trial.number == 5:
            study._storage.set_trial_system_attr(trial._trial_id, "epbt:lineage", "?")
        return trial.suggest_float("rate", 0, 1)

    optimize(study, damaging, n_trials=6, engine="thread", workers=1)
    assert study.trials[5].state == TrialState.COMPLETE
    assert len(lines(caplog, r"Trial \d+ takes")) == 1


def test_optunas_verbosity_holds(caplog: pytest.LogCaptureFixture) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run(study_with(EPBTSampler(4, seed=0)))
    assert not lines(caplog, "")


def test_a_bar_has_lines_of_generations_above_it_and_none_of_trials(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    handler = logging.StreamHandler(terminal)
    optuna_logger = logging.getLogger("optuna")
    optuna_logger.addHandler(handler)
    try:
        run(study_with(EPBTSampler(4, seed=0)))
        assert handler in optuna_logger.handlers, "the user's own handler is back"
    finally:
        optuna_logger.removeHandler(handler)
    written = terminal.getvalue()
    assert len(lines(caplog, "Generation")) == 3
    assert not lines(caplog, "Trial")
    # A line begins where the bar has been wiped out, not behind it.
    assert len(re.findall(r"(?:^|[\r\n]) *\r?Generation \d finished", written)) == 3
