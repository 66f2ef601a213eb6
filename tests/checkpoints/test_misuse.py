"""What an objective forgets is said once a study, at the first trial that shows it."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from epbt_optuna import CheckpointStore, EPBTSampler, PBTSampler, resume
from epbt_optuna.journal import journal_storage
from epbt_optuna.parallel import optimize

FORGOT_TO_SAVE = "has called `inherit` and completed without `save`"
FORGOT_TO_INHERIT = "has called `save` and never `inherit`"


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "said once" in r.getMessage()]


def never_saves(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    checkpoints.inherit(trial, missing="fresh")


def saves_partially(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    checkpoints.inherit(trial, missing="fresh")
    checkpoints.save(trial, {}, final=False)


def never_inherits(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    checkpoints.save(trial, {})


def inherits_too_late(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    checkpoints.save(trial, {})
    checkpoints.inherit(trial)


def never_inherits_files(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    checkpoints.save_path(trial, __file__)


def uses_no_checkpoints(_: CheckpointStore, trial: optuna.Trial) -> None: ...


def does_both(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    checkpoints.inherit(trial)
    checkpoints.save(trial, {}, final=False)
    checkpoints.save(trial, {})


def with_a_new_store_each_time(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    pickle.loads(pickle.dumps(checkpoints)).inherit(trial)
    checkpoints.save(trial, {})


def saves_only_what_is_good(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    if trial.number == 0:
        checkpoints.save(trial, {})


def only_offspring_save(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    if trial.number >= 4:  # so their parents have nothing that they could inherit
        checkpoints.save(trial, {})


def run(
    use: Callable[[CheckpointStore, optuna.Trial], None],
    checkpoints: CheckpointStore,
    study: optuna.Study,
    n_trials: int,
) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        use(checkpoints, trial)
        return x

    study.optimize(objective, n_trials=n_trials)


@pytest.mark.parametrize(
    ("use", "first", "text"),
    [
        (never_saves, 0, FORGOT_TO_SAVE),
        (saves_partially, 0, FORGOT_TO_SAVE),
        (never_inherits, 4, FORGOT_TO_INHERIT),
        (inherits_too_late, 4, FORGOT_TO_INHERIT),
        (never_inherits_files, 4, FORGOT_TO_INHERIT),
    ],
)
@pytest.mark.parametrize("sampler", [EPBTSampler(4, seed=0), PBTSampler(4, seed=0)])
def test_one_warning_at_the_first_trial_that_shows_it(
    checkpoints: CheckpointStore,
    caplog: pytest.LogCaptureFixture,
    use: Callable[..., None],
    first: int,
    text: str,
    sampler: Any,
) -> None:
    study = optuna.create_study(sampler=sampler)
    run(use, checkpoints, study, first)
    assert warnings_in(caplog) == []
    run(use, checkpoints, study, 1)
    (message,) = warnings_in(caplog)
    assert message.startswith(f"Trial {first} {text}")
    run(use, checkpoints, study, 12)
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize(
    "use", [uses_no_checkpoints, does_both, with_a_new_store_each_time, saves_only_what_is_good]
)
def test_nobody_else_is_warned(
    checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture, use: Callable[..., None]
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    run(use, checkpoints, study, 12)
    assert warnings_in(caplog) == []


def test_trials_that_did_not_complete_need_not_have_saved(
    checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    for state in (optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL):
        trial = study.ask()
        checkpoints.inherit(trial)
        study.tell(trial, state=state)
    assert warnings_in(caplog) == []


def test_a_retry_has_not_saved_what_it_goes_on_from(
    checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    checkpoints.save(study.ask(), {}, final=False)
    resume(study, study.trials[0])
    run(never_saves, checkpoints, study, 1)
    assert [text[:8] for text in warnings_in(caplog)] == ["Trial 1 "]


def test_a_damaged_record_is_no_reason_to_end_a_run(
    checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    trial = study.ask()
    checkpoints.inherit(trial)
    study._storage.set_trial_system_attr(trial._trial_id, "epbt:checkpoint", {"trial": "x"})
    study.tell(trial, 1.0)
    assert warnings_in(caplog) == []


def trained_elsewhere(checkpoints: CheckpointStore, trial: optuna.Trial) -> None:
    checkpoints.inherit_path(trial, Path(f"{trial.number}"), missing="fresh")
    checkpoints.save_path(trial, __file__)


def test_nothing_is_said_of_what_another_process_has_inherited(
    checkpoints: CheckpointStore,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = journal_storage(tmp_path / "study.log")
    study = optuna.create_study(storage=storage, sampler=EPBTSampler(2, n_elites=1, seed=0))
    for _ in range(4):
        trial = study.ask()
        context = multiprocessing.get_context("fork")
        child = context.Process(target=trained_elsewhere, args=(checkpoints, trial))
        child.start()
        child.join()
        assert child.exitcode == 0
        study.tell(trial, 1.0)
    assert warnings_in(caplog) == []


def test_several_workers_warn_once(
    checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        never_inherits(checkpoints, trial)
        return x

    for workers in (1, 4):
        optimize(study, objective, n_trials=6, workers=workers, engine="thread")
    assert len(warnings_in(caplog)) == 1


def test_nor_offspring_whose_parents_have_no_checkpoint(
    checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0))
    run(only_offspring_save, checkpoints, study, 6)
    assert warnings_in(caplog) == []
