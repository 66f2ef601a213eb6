"""What a driver leaves behind: the next one goes on with it, and touches nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import CheckpointStore, EPBTSampler, resume
from epbt_optuna._internal.attrs import DRIVEN
from epbt_optuna._internal.processes import start_of
from epbt_optuna.batched import Generation, optimize, recovery
from epbt_optuna.journal import journal_storage
from tests.batched import killed
from tests.batched.separate import RULES, history_of, make_study
from tests.replay import check_lineage, lineage_of


def quick(generation: Generation) -> Any:
    return -generation.suggest_float("x", -1, 1).double().abs()


def interrupted_in(number: int, error: type[BaseException]) -> Callable[[Generation], Any]:
    def objective(generation: Generation) -> Any:
        values = quick(generation)
        if generation.number == number:
            raise error
        return values

    return objective


def states_of(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.trials]


RUNNING, COMPLETE, FAIL = TrialState.RUNNING, TrialState.COMPLETE, TrialState.FAIL


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("number", [0, 1])
def test_an_interrupted_generation_is_not_lost(
    error: type[BaseException], number: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole, study = make_study(), make_study()
    optimize(whole, quick, n_generations=3)
    with pytest.raises(error):
        optimize(study, interrupted_in(number, error), n_generations=3)
    assert states_of(study) == [RUNNING] * 6 if number == 0 else [COMPLETE] * 6 + [RUNNING] * 3
    assert "stay RUNNING: the next call" in caplog.text
    optimize(study, quick, n_generations=3)
    assert history_of(study) == history_of(whole)
    check_lineage(study.trials, RULES)


class InterruptedTelling(EPBTSampler):
    """Somebody presses Ctrl-C while trial 2 is told."""

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, *arguments: Any) -> None:
        if trial.number == 2:
            os.kill(os.getpid(), signal.SIGINT)
        super().after_trial(study, trial, *arguments)


def test_ctrl_c_while_trials_are_told_ends_the_run_once_all_are() -> None:
    study = make_study(sampler=InterruptedTelling(6, n_elites=3, seed=0))
    with pytest.raises(KeyboardInterrupt):
        optimize(study, quick, n_generations=3)
    assert states_of(study) == [COMPLETE] * 6


def test_ctrl_c_in_the_objective_ends_the_run_at_once() -> None:
    def objective(generation: Generation) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return quick(generation)

    study = make_study()
    with pytest.raises(KeyboardInterrupt):
        optimize(study, objective, n_generations=3)
    assert states_of(study) == [RUNNING] * 6


@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_another_process_goes_on_with_what_is_left_in_a_storage(
    storage: str, tmp_path: Path
) -> None:
    def opened() -> optuna.Study:
        url = f"sqlite:///{tmp_path}/study.db"
        place = url if storage == "sqlite" else journal_storage(tmp_path / "study.log")
        return make_study(storage=place, study_name="study", load_if_exists=True)

    def objective(generation: Generation) -> Any:
        x = generation.suggest_float("x", 0, 1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return x + generation.suggest_int("n", 0, 3)

    calls = [0]
    with pytest.raises(KeyboardInterrupt):
        optimize(opened(), objective, n_generations=2)
    calls.clear()
    study = opened()
    optimize(study, objective, n_generations=2)
    assert states_of(study) == [COMPLETE] * 9
    assert all(trial.params.keys() == {"x", "n"} for trial in study.trials)


def test_who_goes_on_with_a_trial_is_recorded_in_it() -> None:
    study = make_study()
    calls = []

    def objective(generation: Generation) -> Any:
        records = [trial.system_attrs[DRIVEN.key] for trial in study.trials]
        calls.append({record["call"] for record in records})
        assert {record["process"] for record in records} == {os.getpid()}
        assert [record["number"] for record in records] == list(range(6))
        return interrupted_in(0, KeyboardInterrupt)(generation) if len(calls) < 3 else [0.0] * 6

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            optimize(study, objective, n_generations=1)
    optimize(study, objective, n_generations=1)
    assert len(calls) == len(set.union(*calls)) == 3


def test_what_is_left_is_trained_with_those_that_were_not_asked_yet() -> None:
    whole, study = make_study(), make_study()
    optimize(whole, quick, n_generations=2)
    with pytest.raises(KeyboardInterrupt):
        optimize(study, interrupted_in(0, KeyboardInterrupt), n_generations=2, max_batch=4)
    study.tell(1, state=FAIL)
    batches = []

    def objective(generation: Generation) -> Any:
        batches.append([trial.number for trial in generation.trials])
        return quick(generation)

    optimize(study, objective, n_generations=2)
    assert batches == [[0, 2, 3, 4, 5], [6, 7, 8]]


def test_what_is_left_goes_on_from_what_it_saved_and_keeps_its_reports(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path)
    epochs: list[list[int]] = []

    def objective(generation: Generation) -> Any:
        epoch = generation.inherit(epoch=0)["epoch"]
        epochs.append(epoch.tolist())
        for step in range(2):
            generation.report([float(step)] * len(generation), step)
            generation.save(epoch=epoch + step + 1, final=step == 1)
            if step == 0 and len(epochs) == 2:
                raise KeyboardInterrupt
        return quick(generation)

    study = make_study()
    with pytest.raises(KeyboardInterrupt):
        optimize(study, objective, n_generations=2, checkpoints=checkpoints)
    optimize(study, objective, n_generations=2, checkpoints=checkpoints)
    assert epochs == [[0] * 6, [2] * 3, [3] * 3]
    assert all(trial.intermediate_values == {0: 0.0, 1: 1.0} for trial in study.trials)


def test_left_trials_of_a_generation_that_is_over_are_retried_with_their_parents() -> None:
    study = make_study()
    with pytest.raises(KeyboardInterrupt):
        optimize(study, interrupted_in(1, KeyboardInterrupt), n_generations=2)
    lineages = [lineage_of(trial) for trial in study.trials[6:9]]
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1), n_trials=3)
    optimize(study, quick, n_generations=5)
    assert states_of(study) == [COMPLETE] * 6 + [FAIL] * 3 + [COMPLETE] * 9
    retries = study.trials[12:15]
    for trial, cut_off, lineage in zip(retries, study.trials[6:9], lineages, strict=True):
        record = lineage_of(trial)
        assert record is not None
        assert lineage is not None
        assert {**record, "generation": 1} == lineage
        assert trial.params == cut_off.params
    check_lineage(study.trials, RULES)


def test_nothing_is_queued_beyond_the_last_generation() -> None:
    study = make_study()
    with pytest.raises(KeyboardInterrupt):
        optimize(study, interrupted_in(1, KeyboardInterrupt), n_generations=2)
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1), n_trials=3)
    optimize(study, quick, n_generations=3)
    assert states_of(study) == [COMPLETE] * 6 + [FAIL] * 3 + [COMPLETE] * 3


def test_trials_of_others_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    study = make_study()
    asked = [study.ask() for _ in range(2)]
    optimize(study, quick, n_generations=2)
    assert states_of(study) == [RUNNING] * 2 + [COMPLETE] * 7
    assert "Trials [0, 1] are RUNNING, and nothing shows" in caplog.text
    for trial in asked:
        study.tell(trial, 0.0)


def test_a_retry_that_another_worker_runs_is_not_taken_for_the_drivers() -> None:
    study = make_study()
    with pytest.raises(KeyboardInterrupt):
        optimize(study, interrupted_in(0, KeyboardInterrupt), n_generations=1)
    for trial in study.trials:
        resume(study, trial)
    retry = study.ask()
    assert DRIVEN.key in study.trials[retry.number].system_attrs
    optimize(study, quick, n_generations=3)
    assert study.trials[retry.number].state == RUNNING


def record_of(study: optuna.Study, **fields: Any) -> None:
    """Let RUNNING trials say that another call asked them."""
    for trial in study.get_trials(states=(RUNNING,)):
        record = trial.system_attrs[DRIVEN.key]
        DRIVEN.write_to_trial(study, trial, {**record, **fields})


@pytest.fixture
def left() -> optuna.Study:
    study = make_study()
    with pytest.raises(KeyboardInterrupt):
        optimize(study, interrupted_in(1, KeyboardInterrupt), n_generations=2)
    return study


def test_trials_of_another_machine_are_left_alone(left: optuna.Study) -> None:
    record_of(left, host="elsewhere")
    optimize(left, quick, n_generations=3)
    assert states_of(left) == [COMPLETE] * 6 + [RUNNING] * 3 + [COMPLETE] * 3


def test_a_later_process_of_the_same_number_is_not_the_driver(left: optuna.Study) -> None:
    record_of(left, start="1")
    optimize(left, quick, n_generations=2)
    assert states_of(left) == [COMPLETE] * 9


def test_a_driver_that_lives_is_not_robbed(left: optuna.Study) -> None:
    process = os.getppid()
    record_of(left, process=process, start=start_of(process))
    with pytest.raises(RuntimeError, match=rf"in process {process} is training trial 6: one"):
        optimize(left, quick, n_generations=2)
    assert states_of(left)[6:] == [RUNNING] * 3


def test_a_call_that_runs_in_another_thread_is_not_robbed(left: optuna.Study) -> None:
    with recovery.driving() as other:
        record_of(left, **other)
        with pytest.raises(RuntimeError, match="one process drives a study"):
            optimize(left, quick, n_generations=2)
    optimize(left, quick, n_generations=2)
    assert states_of(left) == [COMPLETE] * 9


def test_where_the_system_tells_nothing_only_the_own_process_is_known(
    left: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "start_of", lambda _: None)
    record_of(left, start="")
    record_of(left, process=os.getppid())
    optimize(left, quick, n_generations=2)
    assert states_of(left)[6:] == [RUNNING] * 3
    record_of(left, process=os.getpid())
    optimize(left, quick, n_generations=2)
    assert states_of(left)[6:] == [COMPLETE] * 3


@pytest.fixture(scope="module")
def folder_of_the_dead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run has left behind that was killed in the middle of generation 1."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "tests.batched.killed", str(folder)]
    died = subprocess.run(command, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    return folder


@pytest.fixture
def folder(folder_of_the_dead: Path, tmp_path: Path) -> Path:
    """A copy of that."""
    return Path(shutil.copytree(folder_of_the_dead, tmp_path / "copy"))


def test_killed_in_mid_generation_then_a_loop_then_batched_again(folder: Path) -> None:
    study = killed.open_study(folder)
    assert states_of(study) == [COMPLETE] * 6 + [RUNNING] * 3
    one, batch = killed.objectives(folder)
    study.optimize(one, n_trials=2)
    optimize(study, batch, n_generations=5, checkpoints=killed.store(folder))
    assert states_of(study) == [COMPLETE] * 6 + [FAIL] * 3 + [COMPLETE] * 9
    check_lineage(study.trials, RULES)
    killed.check_weights(study, folder)


def test_killed_in_mid_generation_a_batch_goes_on_as_if_nothing_had_happened(
    folder: Path, tmp_path: Path
) -> None:
    whole, study = killed.open_study(tmp_path / "whole"), killed.open_study(folder)
    for each, path in ((whole, tmp_path / "whole"), (study, folder)):
        _, batch = killed.objectives(path)
        optimize(each, batch, n_generations=3, checkpoints=killed.store(path))
        killed.check_weights(each, path)
    assert history_of(study) == history_of(whole)
