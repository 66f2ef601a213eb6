"""One line of descent: whose weights a trial has."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.lineage import Schedule, ancestry
from tests.constraints import set_constraint
from tests.lineage.studies import BAD_STUDIES, evolve, only_failed
from tests.replay import lineage_of


def parent_of(trial: optuna.trial.FrozenTrial) -> Any:
    record = lineage_of(trial)
    assert record is not None
    return record["parent"]


def add(study: optuna.Study, value: float) -> None:
    study.add_trial(
        optuna.create_trial(
            value=value, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)}
        )
    )


def test_the_chain_of_parents_leads_from_a_founder_to_the_best_trial() -> None:
    study = evolve()
    chain = ancestry(study)
    assert chain[-1] == study.best_trial
    assert parent_of(chain[0]) is None
    assert [parent_of(child) for child in chain[1:]] == [parent.number for parent in chain[:-1]]
    assert len(chain) > 2


def test_a_trial_can_be_given_as_such_or_by_its_number() -> None:
    study = evolve()
    pruned = next(t for t in reversed(study.trials) if t.state == TrialState.PRUNED)
    chain = ancestry(study, pruned.number)
    assert chain == ancestry(study, pruned)
    assert chain[-1] == pruned
    assert all(parent.number < child.number for parent, child in pairwise(chain))


def test_a_running_trial_has_the_ancestry_that_it_trains_on() -> None:
    study = evolve()
    running = study.ask()
    assert [t.number for t in ancestry(study, running.number)][-1] == running.number


@pytest.mark.parametrize("kind", BAD_STUDIES)
def test_a_study_without_a_lineage_is_refused_in_a_sentence(kind: str) -> None:
    make_study, message = BAD_STUDIES[kind]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        ancestry(make_study())


def test_without_a_complete_trial_there_is_no_best_one() -> None:
    message = "Study 'failed' has no best trial: none of its 5 trials is COMPLETE."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ancestry(only_failed())


def test_without_a_feasible_trial_there_is_no_best_one() -> None:
    study = optuna.create_study(study_name="bound", sampler=EPBTSampler(4, seed=0))
    trial = study.ask()
    set_constraint(trial, "memory", 1.0)
    study.tell(trial, 1.0)
    with pytest.raises(ValueError, match="none of its 1 trials is feasible"):
        ancestry(study)


@pytest.mark.parametrize(
    ("trial", "error", "message"),
    [
        (60, ValueError, "`trial` must be one of study 'evolved', whose last is trial 59, but got"),
        (-1, ValueError, "`trial` must be at least 0 but got -1."),
        ("3", TypeError, "`trial` must be an integer but got '3'."),
        (True, TypeError, "`trial` must be an integer but got True."),
    ],
)
def test_a_trial_that_does_not_exist_is_refused(
    trial: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        ancestry(evolve(), trial)


def test_an_added_trial_without_a_checkpoint_has_no_weights_to_trace() -> None:
    study = optuna.create_study(
        study_name="added", direction="maximize", sampler=EPBTSampler(2, seed=0)
    )
    add(study, 9.0)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ValueError, match=r"Trial 0 \(COMPLETE\) of study 'added' has no weights"):
        ancestry(study)


def test_a_waiting_trial_has_no_weights_yet() -> None:
    study = evolve()
    study.enqueue_trial({"share": 0.5})
    with pytest.raises(ValueError, match=r"Trial 60 \(WAITING\) of study 'evolved' has no weights"):
        ancestry(study, 60)


def test_the_line_begins_after_a_parent_that_had_no_weights_to_hand_on(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path)
    study = optuna.create_study(direction="maximize", sampler=EPBTSampler(2, n_elites=1, seed=0))
    add(study, 9.0)
    add(study, 8.0)
    child = study.ask()
    assert checkpoints.inherit(child) is None
    study.tell(child, 10.0)
    assert parent_of(study.trials[2]) in (0, 1)
    assert [trial.number for trial in ancestry(study)] == [2]


def test_a_trial_of_another_sampler_with_a_checkpoint_begins_a_line(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for value in (1.0, 2.0):
        trial = study.ask()
        checkpoints.save(trial, {})
        study.tell(trial, value)
    study.sampler = EPBTSampler(2, n_elites=1, seed=0)
    child = study.ask()
    study.tell(child, 3.0)
    assert [trial.number for trial in ancestry(study)] == [parent_of(study.trials[2]), 2]


def test_a_parent_that_is_gone_is_named() -> None:
    study = evolve()
    best = study.best_trial
    record = {**best.system_attrs["epbt:lineage"], "number": 60, "parent": 1000}
    study.add_trial(optuna.create_trial(value=99.0, system_attrs={"epbt:lineage": record}))
    with pytest.raises(ValueError, match=r"Trial 60 .* trial 1000, does not come before it"):
        ancestry(study)
    assert ancestry(study, best)[-1] == best


@pytest.mark.parametrize("read", [ancestry, Schedule.from_study])
def test_a_trial_of_another_study_is_not_taken_for_the_one_of_its_number(
    read: Callable[[optuna.Study, FrozenTrial], Any],
) -> None:
    study = evolve()
    other, waiting = study.trials[3], study.trials[3]
    other.datetime_start = datetime(2020, 1, 1)
    with pytest.raises(ValueError, match=r"must be one of study '.*' but got trial 3 of another"):
        read(study, other)
    waiting.datetime_start = None  # as it was when it was read
    read(study, waiting)
