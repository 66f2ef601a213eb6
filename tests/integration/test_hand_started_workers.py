"""Workers without a driver: processes started by hand on one storage, and `n_jobs`."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import optuna
import pytest
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler
from epbt_optuna.lineage import ancestry
from epbt_optuna.parallel import optimize
from tests.drills.kills import check_inheritance
from tests.drills.storages import opened_study
from tests.drills.training import RULES, Training
from tests.replay import check_lineage

N_GENERATIONS = 5
SAMPLER = EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0)
N_TRIALS = SAMPLER.n_trials(N_GENERATIONS)

pytestmark = pytest.mark.filterwarnings("ignore:Generation .* breeds from")


def work(folder: Path, start: Barrier) -> None:
    """Do what a script does that is started several times."""
    with opened_study(f"journal:///{folder}/log", "study", RULES, SAMPLER) as study:
        training = Training(folder / "checkpoints", seconds=0.05)
        start.wait()
        enough = MaxTrialsCallback(N_TRIALS, states=None)
        study.optimize(training, callbacks=[training.checkpoints.collector(), enough])


def check(study: optuna.Study, at_most: int) -> None:
    trials = study.get_trials()
    assert N_TRIALS <= len(trials) <= at_most
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    check_lineage(trials, RULES, stragglers=True)
    check_inheritance(trials)
    assert ancestry(study)[0].system_attrs["epbt:lineage"]["parent"] is None


def test_processes_started_by_hand_share_a_study_and_hand_weights_to_one_another(
    tmp_path: Path,
) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    processes = [context.Process(target=work, args=(tmp_path, start)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with opened_study(f"journal:///{tmp_path}/log", "study", RULES, SAMPLER) as study:
        check(study, N_TRIALS + 1)  # the other may have begun one when the last one ended


def test_threads_of_study_optimize_share_a_study(tmp_path: Path) -> None:
    study = optuna.create_study(direction=RULES.direction, sampler=SAMPLER)
    training = Training(tmp_path, seconds=0.01)
    collector = training.checkpoints.collector()
    study.optimize(training, n_trials=N_TRIALS, n_jobs=3, callbacks=[collector])
    check(study, N_TRIALS)


def test_a_process_started_by_hand_may_help_a_driver(tmp_path: Path) -> None:
    with opened_study(f"journal:///{tmp_path}/log", "study", RULES, SAMPLER) as study:
        context = multiprocessing.get_context("spawn")
        start = context.Barrier(2)
        helper = context.Process(target=work, args=(tmp_path, start))
        helper.start()
        training = Training(tmp_path / "checkpoints", seconds=0.05)
        own: list[int] = []
        start.wait()
        optimize(
            study,
            training,
            n_generations=N_GENERATIONS,
            barrier=False,
            workers=2,
            engine="thread",
            callbacks=[lambda _, trial: own.append(trial.number)],
        )
        helper.join()
        assert helper.exitcode == 0
        assert 0 < len(own) < N_TRIALS
        check(study, N_TRIALS + 3)  # each may have begun one when the last one was asked
