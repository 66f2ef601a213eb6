"""Both of a copied study go on, each with its collector, and neither touches the other's bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import FrozenTrial

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler, branch
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna.journal import journal_storage
from epbt_optuna.lineage import ancestry

P, K = 6, 3
TRUNK = 15  # trials before the copy is made

Copy = Callable[[Path], optuna.Study]


def opened(storage: Any, name: str = "a", seed: int = 0) -> optuna.Study:
    sampler = EPBTSampler(P, n_elites=K, seed=seed)
    return optuna.create_study(
        study_name=name,
        storage=storage,
        sampler=sampler,
        direction="maximize",
        load_if_exists=True,
    )


def train(study: optuna.Study, checkpoints: CheckpointStore, n_trials: int, branch: str) -> None:
    """Each trial's state is the line of those it was trained from, each with its branch."""

    def objective(trial: optuna.Trial) -> float:
        state = checkpoints.inherit(trial) or {"line": []}
        line = [*state["line"], f"{branch}{trial.number}"]
        checkpoints.save(trial, {"line": line})
        return trial.suggest_float("x", 0, 1) + len(line)

    study.optimize(objective, n_trials=n_trials, callbacks=[checkpoints.collector()])


def age(folder: Path) -> None:
    """Make all that is there look left behind, if no trial records it."""
    for path in folder.iterdir():
        os.utime(path, (0, 0))


def check(study: optuna.Study, checkpoints: CheckpointStore, branch: str) -> None:
    """Fail unless the whole population is there, with the weights that its lineage says."""
    assert isinstance(study.sampler, EPBTSampler)
    generation = study.sampler.generation_of(len(study.trials) - 1)
    trials: list[FrozenTrial] = [*study.sampler.get_population(study, generation)]
    assert len(trials) == P
    for trial in (*trials, study.best_trial):
        numbers = [ancestor.number for ancestor in ancestry(study, trial)]
        line = [f"{branch if number >= TRUNK else 'trunk'}{number}" for number in numbers]
        assert checkpoints.load(trial) == {"line": line}


def begun(folder: Path, checkpoints: CheckpointStore) -> optuna.Study:
    """A study of `TRUNK` trials, in a journal."""
    study = opened(journal_storage(folder / "a.log"))
    train(study, checkpoints, TRUNK, "trunk")
    return study


def copied_file(folder: Path, former: str = "a.log", to: str = "b.log") -> optuna.Study:
    shutil.copy(folder / former, folder / to)
    return opened(journal_storage(folder / to), seed=1)


def copied_study(folder: Path, name: str = "a") -> optuna.Study:
    storage = journal_storage(folder / "c.log")
    former = journal_storage(folder / "a.log")
    optuna.copy_study(
        from_study_name="a", from_storage=former, to_storage=storage, to_study_name=name
    )
    return opened(storage, name, seed=1)


def copied_into_a_database(folder: Path) -> optuna.Study:
    url = f"sqlite:///{folder}/c.db"
    former = journal_storage(folder / "a.log")
    optuna.copy_study(from_study_name="a", from_storage=former, to_storage=url)
    return opened(url, seed=1)


def study_of_another_name(folder: Path) -> optuna.Study:
    return copied_study(folder, "b")


@pytest.mark.parametrize(
    ("copy", "kind"),
    [
        (copied_file, "folder"),
        (copied_file, "artifact store"),
        (copied_study, "folder"),
        (copied_into_a_database, "folder"),
        (study_of_another_name, "folder"),
    ],
)
def test_both_of_a_copied_study_go_on_and_keep_their_whole_population(
    tmp_path: Path, copy: Copy, kind: str
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    checkpoints = CheckpointStore(folder if kind == "folder" else FileSystemArtifactStore(folder))
    original = begun(tmp_path, checkpoints)
    other = copy(tmp_path)
    copied = branch(other, checkpoints)
    assert isinstance(other.sampler, EPBTSampler)
    assert {trial.number for trial in other.sampler.get_population(other, 3)} <= set(copied)
    assert not set(StudyIdentity.of(other).own) & set(StudyIdentity.of(original).own)
    for _ in range(2):
        train(original, checkpoints, 9, "original")
        train(other, checkpoints, 9, "other")
        age(folder)
        for study in (original, other):
            checkpoints.collect(study)
    check(original, checkpoints, "original")
    check(other, checkpoints, "other")
    of_other = [
        path.name
        for path in folder.iterdir()
        if path.name.startswith(StudyIdentity.of(other).prefixes)
    ]
    assert len(of_other) <= 2 * P - K  # what was copied is its own to remove


def test_without_a_branch_the_copies_take_each_others_checkpoints_for_garbage(
    tmp_path: Path,
) -> None:
    checkpoints = CheckpointStore(tmp_path / "checkpoints")
    original = begun(tmp_path, checkpoints)
    other = copied_file(tmp_path)
    train(original, checkpoints, 21, "original")
    with pytest.raises(CheckpointError, match="is missing"):
        train(other, checkpoints, 21, "other")


def test_a_branch_of_a_branch_is_one_too(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path / "checkpoints")
    first = begun(tmp_path, checkpoints)
    second = copied_file(tmp_path)
    branch(second, checkpoints)
    third = copied_file(tmp_path, "b.log", "d.log")
    branch(third, checkpoints)
    for _ in range(2):
        for name, study in (("one", first), ("two", second), ("three", third)):
            train(study, checkpoints, 9, name)
            age(tmp_path / "checkpoints")
            checkpoints.collect(study)
    for name, study in (("one", first), ("two", second), ("three", third)):
        check(study, checkpoints, name)


def test_what_the_original_has_removed_since_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = CheckpointStore(tmp_path / "checkpoints")
    original = begun(tmp_path, checkpoints)
    other = copied_file(tmp_path)
    train(original, checkpoints, 30, "original")
    copied = branch(other, checkpoints)
    assert "which are gone or damaged: their children cannot inherit" in caplog.text
    assert isinstance(other.sampler, EPBTSampler)
    alive = {trial.number for trial in other.sampler.get_population(other, 3)}
    for number in alive - set(copied):
        assert str(number) in caplog.text.split("trials ")[1]
        with pytest.raises(CheckpointError, match="is missing"):
            checkpoints.load(other.trials[number])


def test_a_branch_that_fails_leaves_study_and_folder_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoints"
    checkpoints = CheckpointStore(folder)
    study = begun(tmp_path, checkpoints)
    before = set(folder.iterdir()), StudyIdentity.of(study)
    synchronise, n_left = os.fsync, 5

    def fill_up(file: int) -> None:
        nonlocal n_left
        n_left -= 1
        if n_left == 0:
            raise OSError(28, "No space left on device")
        synchronise(file)

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(CheckpointError, match="No space left"):
        branch(study, checkpoints)
    assert (set(folder.iterdir()), StudyIdentity.of(study)) == before


def test_a_branch_needs_generations_and_the_store_of_what_was_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no generations"):
        branch(optuna.create_study())
    study = opened(None)
    study.ask()
    own = StudyIdentity.of(study).own
    assert branch(study) == []
    assert StudyIdentity.of(study).lent == own
    train(study, CheckpointStore(tmp_path), P, "trunk")
    with pytest.raises(ValueError, match="`checkpoints` must be the store of study 'a'"):
        branch(study)
