"""Whose a record is: copies, added trials, ids that are used again, and studies from before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler, resume
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_study_attrs
from epbt_optuna.lineage import ancestry, lineage_graph
from epbt_optuna.population import Lineage
from tests.replay import lineage_of

P, K = 6, 3


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def create(storage: Any = None, name: str = "a", **settings: Any) -> optuna.Study:
    sampler = EPBTSampler(P, n_elites=K, seed=0)
    return optuna.create_study(
        study_name=name, storage=storage, sampler=sampler, direction="maximize", **settings
    )


def train(
    study: optuna.Study, checkpoints: CheckpointStore, n_trials: int, *, collect: bool = False
) -> None:
    """Each trial's state is the numbers of its ancestors, with its study's name, and itself."""

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        line = (checkpoints.inherit(trial) or {"line": []})["line"]
        line = [*line, f"{trial.study.study_name}{trial.number}"]
        checkpoints.save(trial, {"line": line})
        return x + len(line)

    callbacks = [checkpoints.collector()] if collect else []
    study.optimize(objective, n_trials=n_trials, callbacks=callbacks)


def line(checkpoints: CheckpointStore, trial: FrozenTrial) -> list[str]:
    """Return whose weights a trial was trained from, and itself."""
    numbers: list[str] = checkpoints.load(trial)["line"]
    return numbers


def said_line(study: optuna.Study, trial: FrozenTrial) -> list[int]:
    return [ancestor.number for ancestor in ancestry(study, trial)]


def test_the_first_ask_draws_one_token_and_says_whose_it_is() -> None:
    study = create()
    assert StudyIdentity.of(study).token is None
    for _ in range(3):
        study.ask()
    identity = StudyIdentity.of(study)
    assert len(identity.own) == 1
    assert identity.n_adopted == 0
    assert identity.prefixes == (f"epbt-{identity.token}-",)


def test_readers_draw_no_token(checkpoints: CheckpointStore) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler())
    study.optimize(lambda _: 1.0, n_trials=2)
    with pytest.raises(ValueError, match="no generations"):
        checkpoints.collect(study)
    with pytest.raises(ValueError, match="no generations"):
        lineage_graph(study)
    assert not read_study_attrs(study)


def test_workers_that_begin_at_one_moment_both_draw_a_token_and_both_are_the_studys(
    monkeypatch: pytest.MonkeyPatch, checkpoints: CheckpointStore
) -> None:
    study = create()
    train(study, checkpoints, 1)
    monkeypatch.setattr("epbt_optuna.samplers.generation.read_study_attrs", lambda _: {})
    train(study, checkpoints, 1)  # as the other one saw the study
    monkeypatch.undo()
    assert len(StudyIdentity.of(study).own) == 2
    train(study, checkpoints, 16, collect=True)
    for trial in study.trials:
        assert Lineage.recorded(trial.number, trial.system_attrs, StudyIdentity.of(study))
    alive = EPBTSampler(P, n_elites=K).get_population(study, 4)
    assert {trial.number for trial in alive} == loadable(study, checkpoints)


def loadable(study: optuna.Study, checkpoints: CheckpointStore) -> set[int]:
    there = set()
    for trial in study.trials:
        try:
            checkpoints.load(trial)
        except CheckpointError:
            continue
        there.add(trial.number)
    return there


@pytest.mark.parametrize("filtered", [False, True])
def test_added_trials_are_founders_whose_checkpoints_are_lent(
    checkpoints: CheckpointStore, filtered: bool
) -> None:
    old, new = create(name="old"), create(name="new")
    train(old, checkpoints, 20)
    kept = old.trials[1::2] if filtered else old.trials
    new.add_trials(kept)
    train(new, checkpoints, 10)
    for trial in new.trials:
        if trial.number < len(kept):
            assert said_line(new, trial) == [trial.number]
            continue
        trained_from = line(checkpoints, trial)
        of_new = [number for number in trained_from if number.startswith("new")]
        said = said_line(new, trial)
        assert [f"new{number}" for number in said if number >= len(kept)] == of_new
        assert trained_from[-len(of_new) - 1] == line(checkpoints, new.trials[said[0]])[-1]
    checkpoints.collect(new)
    assert loadable(old, checkpoints) == set(range(20))


def test_a_retry_that_was_added_is_an_enqueued_trial_like_any_other(
    checkpoints: CheckpointStore,
) -> None:
    old, new = create(name="old"), create(name="new")
    train(old, checkpoints, 9)
    cut_off = old.ask()
    x = cut_off.suggest_float("x", 0, 1)
    checkpoints.save(cut_off, {"line": ["a stranger's"]}, final=False)
    resume(old, old.trials[cut_off.number])
    train(new, checkpoints, 7)
    new.add_trials(t for t in old.trials if t.state == TrialState.WAITING)
    train(new, checkpoints, 1)
    retry = new.trials[7]
    assert retry.params == {"x": x}
    parent = (lineage_of(retry) or {})["parent"]
    assert parent in range(P)
    assert line(checkpoints, retry) == [*line(checkpoints, new.trials[parent]), "new7"]


def test_a_copy_reads_the_originals_checkpoints_and_never_removes_them(
    url: str, checkpoints: CheckpointStore
) -> None:
    original = create(url)
    train(original, checkpoints, 15)
    optuna.copy_study(from_study_name="a", from_storage=url, to_storage=url, to_study_name="b")
    copy = create(url, "b", load_if_exists=True)
    train(copy, checkpoints, 9, collect=True)
    identity, of_original = StudyIdentity.of(copy), StudyIdentity.of(original)
    assert identity.lent == of_original.own
    assert not set(identity.own) & set(of_original.own)
    for trial in copy.trials[15:]:
        names = [f"{'ab'[number >= 15]}{number}" for number in said_line(copy, trial)]
        if trial.number in loadable(copy, checkpoints):
            assert line(checkpoints, trial) == names
    assert loadable(original, checkpoints) == set(range(15))


def test_a_study_that_has_the_id_of_a_deleted_one_starts_from_nothing(
    url: str, checkpoints: CheckpointStore
) -> None:
    storage = optuna.storages.get_storage(url)
    sampler = EPBTSampler(P, n_elites=K, seed=0)
    old = create(storage)
    old.sampler = sampler
    train(old, checkpoints, 18, collect=True)
    optuna.delete_study(study_name="a", storage=storage)
    new = optuna.create_study(
        study_name="a", storage=optuna.storages.get_storage(url), sampler=sampler
    )
    assert new._study_id == old._study_id
    train(new, checkpoints, 18, collect=True)
    assert new.trials[0].system_attrs["epbt:lineage"]["token"] == StudyIdentity.of(new).token
    fresh = EPBTSampler(P, n_elites=K)
    for trial in new.trials[P:]:
        alive = fresh.get_population(new, fresh.generation_of(trial.number) - 1)
        assert (lineage_of(trial) or {})["parent"] in {parent.number for parent in alive}


def test_a_worker_of_a_deleted_study_that_works_on_in_a_new_one_loses_nothing_of_it(
    url: str, checkpoints: CheckpointStore
) -> None:
    old = create(optuna.storages.get_storage(url))
    train(old, checkpoints, 12, collect=True)
    elsewhere = optuna.storages.get_storage(url)  # as of another process
    optuna.delete_study(study_name="a", storage=elsewhere)
    new = create(elsewhere)
    train(new, checkpoints, 9, collect=True)
    train(old, checkpoints, 9, collect=True)  # trials 9 to 17 of the new one
    checkpoints.collect(old)
    alive = EPBTSampler(P, n_elites=K).get_population(new, 4)
    assert len(alive) == P
    assert {trial.number for trial in alive} <= loadable(new, checkpoints)


@pytest.mark.parametrize("number", [3, 4])
def test_a_lineage_counts_only_for_the_trial_it_was_written_for(number: int) -> None:
    study = create()
    for _ in range(5):
        study.tell(study.ask(), 1.0)
    record = study.trials[4].system_attrs
    lineage = Lineage.recorded(number, record, StudyIdentity.of(study))
    assert (lineage is not None) == (number == 4)
    retried = {**record, "failed_trial": 4, "retry_history": [4]}
    assert Lineage.recorded(number + 5, retried, StudyIdentity.of(study)) is not None
