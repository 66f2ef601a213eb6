"""What `collect` keeps and what it removes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import numpy as np
import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler, PBTSampler, resume
from epbt_optuna.checkpoints.retention import Retention

_T = TypeVar("_T")


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path)


def make_study(population_size: int = 4, n_elites: int = 2) -> optuna.Study:
    """A study whose generations are the trials 0–3, 4–5, 6–7, …"""
    sampler = EPBTSampler(population_size, n_elites=n_elites, seed=0)
    return optuna.create_study(direction="maximize", sampler=sampler)


def run(study: optuna.Study, checkpoints: CheckpointStore, *values: float | None) -> None:
    """Ask and save a trial for each value, and tell it; None fails."""
    for value in values:
        trial = study.ask()
        checkpoints.save(trial, {"number": trial.number})
        study.tell(trial, value, state=TrialState.FAIL if value is None else None)


def population(study: optuna.Study, generation: int) -> set[int]:
    assert isinstance(study.sampler, EPBTSampler)
    return {trial.number for trial in study.sampler.get_population(study, generation)}


def kept(study: optuna.Study, checkpoints: CheckpointStore) -> set[int]:
    """Return the trials whose checkpoint can be loaded."""
    numbers = set()
    for trial in study.trials:
        with suppress(CheckpointError):
            numbers.add(checkpoints.load(trial)["number"])
    return numbers


def test_the_population_is_kept_and_the_others_removed(checkpoints: CheckpointStore) -> None:
    study = make_study()
    run(study, checkpoints, 1, 2, 3, 4, 0, 5, 6, 7)
    assert sorted(checkpoints.collect(study)) == [0, 1, 2, 4]
    assert kept(study, checkpoints) == {3, 5, 6, 7}  # M_2: generation 2 and the elites of M_1
    assert checkpoints.collect(study) == []


def test_whoever_the_generation_in_progress_may_breed_from_is_kept(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    run(study, checkpoints, 1, 2, 3, 4, 9)
    checkpoints.collect(study)
    assert kept(study, checkpoints) == {0, 1, 2, 3, 4}  # trial 5 will breed from M_0


def test_with_the_lineage_every_ancestor_is_kept(checkpoints: CheckpointStore) -> None:
    study = make_study()
    run(study, checkpoints, *range(20))
    checkpoints.collect(study, keep="lineage")
    ancestors: set[int] = set()
    frontier = list(population(study, 8))
    while frontier:
        number = frontier.pop()
        ancestors.add(number)
        lineage = study.trials[number].system_attrs["epbt:lineage"]
        frontier += [n for n in (lineage["parent"], lineage["mate"]) if n is not None]
    assert kept(study, checkpoints) == ancestors
    assert len(ancestors) < 20


def test_with_all_nothing_is_removed(checkpoints: CheckpointStore) -> None:
    study = make_study()
    run(study, checkpoints, *range(12))
    assert checkpoints.collect(study, keep="all") == []
    assert kept(study, checkpoints) == set(range(12))


def test_the_best_trial_is_kept_though_no_elite_is(checkpoints: CheckpointStore) -> None:
    study = optuna.create_study(direction="maximize", sampler=PBTSampler(2, seed=0))
    run(study, checkpoints, 9, 1, 2, 3, 4, 5)
    checkpoints.collect(study)
    assert kept(study, checkpoints) == {0, 4, 5}


def test_of_several_best_trials_the_one_named_best_and_the_newest_are_kept(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    run(study, checkpoints, *[9] * 12, 1, 2)
    assert study.best_trial.number == 0
    checkpoints.collect(study)
    assert kept(study, checkpoints) == {0, 10, 11, 12, 13}


def test_the_parent_of_a_running_trial_is_kept_however_old(checkpoints: CheckpointStore) -> None:
    study = make_study()
    run(study, checkpoints, 1, 2, 3, 4)
    straggler = study.ask()
    parent = study.trials[straggler.number].system_attrs["epbt:lineage"]["parent"]
    run(study, checkpoints, *range(10, 30))
    checkpoints.collect(study)
    assert parent in kept(study, checkpoints)
    assert checkpoints.inherit(straggler) == {"number": parent}
    study.tell(straggler, 0.0)
    checkpoints.collect(study)
    assert parent not in kept(study, checkpoints)


def test_an_enqueued_trial_still_finds_those_it_may_breed_from(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    run(study, checkpoints, 1, 2, 3, 4)
    study.enqueue_trial({})
    assert checkpoints.collect(study) == []
    child = study.ask()
    assert checkpoints.inherit(child) is not None


class LeastFit:
    """Selects whom the next one to finish will displace."""

    def __call__(self, population: Sequence[_T], rng: np.random.Generator) -> _T:  # noqa: ARG002
        return population[-1]


def test_a_trial_asked_while_collecting_loses_nothing(
    checkpoints: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = EPBTSampler(4, n_elites=2, selection=LeastFit(), seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    straggler = study.ask()
    run(study, checkpoints, 2, 3, 4, 50, 60)
    asked: list[optuna.Trial] = []
    alive = Retention._alive

    def ask_meanwhile(self: Retention, study: optuna.Study) -> list[int]:
        asked.append(study.ask())  # breeds from trial 2, the less fit elite of M_0…
        study.tell(straggler, 100.0)  # …whom the straggler now displaces
        return list(alive(self, study))

    monkeypatch.setattr(Retention, "_alive", ask_meanwhile)
    checkpoints.collect(study)
    assert checkpoints.inherit(asked[0]) == {"number": 2}


def test_a_trial_that_ends_while_somebody_collects_keeps_its_checkpoint(
    checkpoints: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    run(study, checkpoints, 1, 2, 3, 4, 5)
    trial = study.ask()
    checkpoints.save(trial, {"number": trial.number})
    alive = Retention._alive

    def end_meanwhile(self: Retention, study: optuna.Study) -> list[int]:
        seen = list(alive(self, study))
        study.tell(trial, 100.0)  # too late to be seen alive, and soon no more unfinished
        return seen

    monkeypatch.setattr(Retention, "_alive", end_meanwhile)
    checkpoints.collect(study)
    assert checkpoints.load(study.best_trial) == {"number": trial.number}


@pytest.mark.parametrize("is_retried", [False, True])
def test_a_failed_trial_keeps_its_parent_until_the_next_collection_or_while_it_is_retried(
    checkpoints: CheckpointStore, is_retried: bool
) -> None:
    study = make_study()
    run(study, checkpoints, 1, 2, 3, 4)
    cut_off = study.ask()
    checkpoints.save(cut_off, {"number": cut_off.number}, final=False)
    study.tell(cut_off, state=TrialState.FAIL)
    run(study, checkpoints, *range(10, 30))
    parent = study.trials[cut_off.number].system_attrs["epbt:lineage"]["parent"]
    would = checkpoints.collect(study, dry_run=True)
    assert checkpoints.collect(study) == [garbage.trial for garbage in would]
    assert {parent, cut_off.number} <= kept(study, checkpoints)
    if is_retried:
        resume(study, study.trials[cut_off.number])
    checkpoints.collect(study)
    still = {parent, cut_off.number} & kept(study, checkpoints)
    assert still == ({parent, cut_off.number} if is_retried else set())


def test_two_collectors_do_not_disturb_each_other(tmp_path: Path) -> None:
    study = make_study()
    stores = CheckpointStore(tmp_path), CheckpointStore(tmp_path)
    for round_ in range(5):
        run(study, stores[round_ % 2], *range(10 * round_, 10 * round_ + 4))
        for store in stores:
            store.collect(study)
    assert kept(study, stores[0]) == population(study, 8)


def test_the_callback_collects_at_the_end_of_each_generation(tmp_path: Path) -> None:
    study, checkpoints = make_study(), CheckpointStore(tmp_path)
    sizes = []

    def objective(trial: optuna.Trial) -> float:
        checkpoints.save(trial, {"number": trial.number})
        return trial.number

    study.optimize(
        objective,
        n_trials=40,
        callbacks=[
            checkpoints.collector(),
            lambda *_: sizes.append(len(list(tmp_path.iterdir()))),
        ],
    )
    assert max(sizes[3:]) <= 6
    assert sizes[5::2] == [4] * 18


def leave_behind(folder: Path, study: optuna.Study, seconds_ago: float, suffix: str) -> Path:
    """Put a file there as a crashed writer of this study would have."""
    keys = study._storage.get_study_system_attrs(study._study_id)
    (token,) = (k.split(":")[-1] for k in keys if k.startswith("epbt:study:"))
    prefix = f"epbt-{token}-"
    hidden, ending = ("", "pt") if suffix == "pt" else (".", "pt.tmp")
    path = folder / f"{hidden}{prefix}000099-{uuid4().hex}.{ending}"
    path.write_bytes(b"cut off")
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


@pytest.mark.parametrize("suffix", ["pt", "tmp"])
def test_what_crashed_writers_left_is_swept_after_the_grace_period(
    tmp_path: Path, suffix: str
) -> None:
    study, checkpoints = make_study(), CheckpointStore(tmp_path)
    run(study, checkpoints, 1, 2, 3, 4)
    old = leave_behind(tmp_path, study, 7200, suffix)
    young = leave_behind(tmp_path, study, 10, suffix)
    checkpoints.collect(study, keep="all")
    assert not old.exists()
    assert young.exists()
    checkpoints.collect(study, keep="all", grace=5)
    assert not young.exists()
    assert kept(study, checkpoints) == {0, 1, 2, 3}


def test_files_of_others_are_never_touched(tmp_path: Path) -> None:
    mine, other = make_study(), make_study()
    checkpoints = CheckpointStore(tmp_path)
    run(mine, checkpoints, *range(10))
    run(other, checkpoints, *range(10))
    foreign = [tmp_path / "notes.txt", tmp_path / "epbt-mine.pt", tmp_path / ".hidden.tmp"]
    for path in foreign:
        path.write_text("not the store's own")
        os.utime(path, (0, 0))
    checkpoints.collect(mine, grace=0)
    assert all(path.exists() for path in foreign)
    assert kept(other, checkpoints) == set(range(10))


def test_a_trial_added_from_another_study_lends_its_checkpoint_and_keeps_it(
    checkpoints: CheckpointStore,
) -> None:
    old, new = make_study(), make_study()
    run(old, checkpoints, 1, 2, 3, 4)
    new.add_trials(old.trials)
    child = new.ask()
    parent = new.trials[child.number].system_attrs["epbt:lineage"]["parent"]
    assert checkpoints.inherit(child) == {"number": parent}
    run(new, checkpoints, *range(10, 30))
    new.tell(child, 0.0)
    removed = checkpoints.collect(new, grace=0)
    assert min(removed) > 3
    assert kept(old, checkpoints) == {0, 1, 2, 3}


def test_a_trial_that_is_added_to_its_own_study_again_keeps_its_checkpoint(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study(6, 3)
    run(study, checkpoints, 7, 9, 1, 1, 1, 1)
    study.add_trial(study.trials[0])  # number 6, which lives on when 0 no longer does
    run(study, checkpoints, 8, 1, 1, 1, 1)
    assert population(study, 2) == {1, 6, 7, 9, 10, 11}
    checkpoints.collect(study)
    assert checkpoints.load(study.trials[6]) == {"number": 0}
    run(study, checkpoints, 8, 8, 8, 8, 8, 8)
    checkpoints.collect(study)
    assert 0 not in kept(study, checkpoints)


def test_two_workers_that_begin_at_the_same_moment_collect_each_others_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, one, other = make_study(), CheckpointStore(tmp_path), CheckpointStore(tmp_path)
    run(study, one, 1)
    monkeypatch.setattr("epbt_optuna.samplers.generation.read_study_attrs", lambda _: {})
    monkeypatch.setattr("epbt_optuna._internal.artifact_names.uuid.uuid4", lambda: UUID(int=0))
    run(study, other, 2)  # of several tokens, the first in order is used: this one
    monkeypatch.undo()
    assert len({path.name[:18] for path in tmp_path.iterdir()}) == 2, "they drew one name"
    (of_the_other,) = tmp_path.glob("*-000001-*")
    orphan = of_the_other.with_name(f"{of_the_other.name[:25]}{uuid4().hex}.pt")
    orphan.write_bytes(b"cut off")
    run(study, one, 3, 4, 5, 6, 7, 8)
    assert {0, 1} <= {*one.collect(study, grace=0)}
    assert kept(study, one) == population(study, 2)
    assert not orphan.exists()


def test_an_artifact_store_is_collected_too(tmp_path: Path) -> None:
    study, checkpoints = make_study(), CheckpointStore(FileSystemArtifactStore(tmp_path))
    run(study, checkpoints, 1, 2, 3, 4, 0, 5, 6, 7)
    assert sorted(checkpoints.collect(study, grace=0)) == [0, 1, 2, 4]
    assert kept(study, checkpoints) == {3, 5, 6, 7}


def test_what_cannot_be_removed_now_is_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study, checkpoints = make_study(), CheckpointStore(tmp_path)
    run(study, checkpoints, 1, 2, 3, 4, 0, 5, 6, 7)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not now")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert checkpoints.collect(study) == []
    assert "could not be removed: not now" in caplog.text
    monkeypatch.undo()
    assert sorted(checkpoints.collect(study)) == [0, 1, 2, 4]


def test_bad_arguments_are_refused_before_anything_is_removed(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    run(study, checkpoints, *range(10))
    with pytest.raises(ValueError, match=r"`keep` must be one of .* but got 'elites'"):
        checkpoints.collect(study, keep="elites")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="`grace` must be at least 0 but got -1"):
        checkpoints.collect(study, grace=-1)
    with pytest.raises(ValueError, match="has no generations"):
        checkpoints.collect(optuna.create_study())
    assert kept(study, checkpoints) == set(range(10))
