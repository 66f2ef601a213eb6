"""`inherit(trial, mate_weight=...)`: when the mate's weights count, and what is recorded of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler, PBTSampler, reopen, resume
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_system_attrs, write_system_attr
from epbt_optuna.checkpoints.mixed import Mixed
from epbt_optuna.population import Lineage

MIXED = "epbt:mixed"


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def state_of(number: int) -> dict[str, Any]:
    return {"model": {"w": torch.full((3,), float(2**number))}, "epoch": number}


def make_study(sampler: Any = None, **settings: Any) -> optuna.Study:
    return optuna.create_study(sampler=sampler or EPBTSampler(4, seed=0), **settings)


def finish(study: optuna.Study, checkpoints: CheckpointStore, n: int, **special: Any) -> None:
    """Ask, save and tell trials; `special` is what `t0`, `t1`, … save in place of their own."""
    for _ in range(n):
        trial = study.ask()
        checkpoints.save(trial, special.get(f"t{trial.number}", state_of(trial.number)))
        study.tell(trial, trial.number)


def file_of(study: optuna.Study, number: int, folder: Path) -> Path:
    artifact: str = study.trials[number].system_attrs["epbt:checkpoint"]["artifact"]
    return folder / "checkpoints" / artifact


def lineage_of(trial: optuna.Trial) -> tuple[int, int]:
    """Return a trial's parent and mate."""
    lineage = Lineage.recorded(trial.number, read_system_attrs(trial.study, trial))
    assert lineage is not None
    assert lineage.parent is not None
    assert lineage.mate is not None
    return lineage.parent, lineage.mate


def mixed_in(trial: optuna.Trial) -> Mixed | None:
    attrs = read_system_attrs(trial.study, trial)
    return Mixed.recorded(trial.number, attrs, StudyIdentity.of(trial.study))


@pytest.mark.parametrize("mmap", [False, True])
def test_a_child_starts_between_its_parent_and_its_mate(
    checkpoints: CheckpointStore, mmap: bool
) -> None:
    study = make_study()
    finish(study, checkpoints, 4)
    child = study.ask()
    parent, mate = lineage_of(child)
    state = checkpoints.inherit(child, mate_weight=0.25, mmap=mmap)
    assert state is not None
    assert torch.equal(state["model"]["w"], torch.full((3,), 0.75 * 2**parent + 0.25 * 2**mate))
    assert state["epoch"] == parent
    assert mixed_in(child) == Mixed(mate, 0.25)
    for number in (parent, mate):  # the checkpoints stay as they were
        saved = checkpoints.load(study.trials[number])["model"]["w"]
        assert torch.equal(saved, state_of(number)["model"]["w"])


def test_without_a_share_the_mate_is_not_looked_at_and_nothing_is_recorded(
    checkpoints: CheckpointStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study()
    finish(study, checkpoints, 4)
    child = study.ask()
    parent, mate = lineage_of(child)
    file_of(study, mate, tmp_path).unlink()
    before = dict(read_system_attrs(study, child))
    for settings in ({}, {"mate_weight": 0}, {"mate_weight": 0.0, "only": {"model"}}):
        state = checkpoints.inherit(child, **settings)
        assert state is not None
        assert state["epoch"] == parent
    assert read_system_attrs(study, child) == before
    assert not caplog.records


def test_with_all_of_the_share_the_weights_are_the_mates(checkpoints: CheckpointStore) -> None:
    study = make_study()
    finish(study, checkpoints, 4)
    child = study.ask()
    parent, mate = lineage_of(child)
    state = checkpoints.inherit(child, mate_weight=1)
    assert state is not None
    assert torch.equal(state["model"]["w"], state_of(mate)["model"]["w"])
    assert state["epoch"] == parent
    assert mixed_in(child) == Mixed(mate, 1.0)


@pytest.mark.parametrize("weight", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_share_outside_of_0_and_1_is_refused_before_anything_is_read(
    checkpoints: CheckpointStore, weight: float
) -> None:
    founder = make_study().ask()
    with pytest.raises(ValueError, match="`mate_weight` must be"):
        checkpoints.inherit(founder, mate_weight=weight)


@pytest.mark.parametrize("weight", [None, True, "0.5"])
def test_a_share_that_is_no_number_is_refused(checkpoints: CheckpointStore, weight: Any) -> None:
    with pytest.raises(TypeError, match="`mate_weight` must be a number"):
        checkpoints.inherit(make_study().ask(), mate_weight=weight)


def test_only_must_be_a_collection_of_keys_that_the_state_has(checkpoints: CheckpointStore) -> None:
    study = make_study()
    with pytest.raises(TypeError, match="`only` must be a set of top-level keys"):
        checkpoints.inherit(study.ask(), mate_weight=0.5, only="model")
    study = make_study()
    finish(study, checkpoints, 4)
    with pytest.raises(ValueError, match=r"`only`.*'modle'"):
        checkpoints.inherit(study.ask(), mate_weight=0.5, only={"modle"})


def test_an_elite_that_goes_on_training_has_no_mate_and_nothing_is_said_of_it(
    checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study(EPBTSampler(4, n_elites=1, train_elites=True, seed=0))
    finish(study, checkpoints, 4)
    elite = study.ask()
    state = checkpoints.inherit(elite, mate_weight=0.5)
    assert state is not None
    assert torch.equal(state["model"]["w"], state_of(0)["model"]["w"])  # the fittest: least is best
    assert mixed_in(elite) is None
    assert not caplog.records
    offspring = study.ask()
    checkpoints.inherit(offspring, mate_weight=0.5)
    assert mixed_in(offspring) == Mixed(lineage_of(offspring)[1], 0.5)


def test_founders_and_members_of_pbt_have_no_mate_and_nothing_is_said_of_it(
    checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoints.inherit(make_study().ask(), mate_weight=0.5) is None
    study = make_study(PBTSampler(4, seed=0))
    finish(study, checkpoints, 4)
    child = study.ask()
    state = checkpoints.inherit(child, mate_weight=0.5)
    assert state is not None
    assert torch.equal(state["model"]["w"], state_of(state["epoch"])["model"]["w"])
    assert mixed_in(child) is None
    assert not caplog.records


UNFIT = {
    "is missing in the mate's state": {"model": {}, "epoch": 0},
    "is missing in the parent's state": {"model": {"w": torch.ones(3), "v": torch.ones(1)}},
    "of torch.float32 and shape (4,) in the mate's": {"model": {"w": torch.ones(4)}},
    "of torch.float16 and shape (3,) in the mate's": {"model": {"w": torch.ones(3).half()}},
    "would not be finite": {"model": {"w": torch.tensor([1.0, torch.nan, 1])}},
}


@pytest.mark.parametrize("why", UNFIT)
def test_a_mate_that_does_not_fit_leaves_the_parent_alone_and_one_line(
    checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    mate = lineage_of_the_first_child()[1]
    study = make_study()
    finish(study, checkpoints, 4, **{f"t{mate}": UNFIT[why]})
    child = study.ask()
    assert_parent_alone(checkpoints, child, caplog, why)


def lineage_of_the_first_child() -> tuple[int, int]:
    study = make_study()
    for number in range(4):
        study.tell(study.ask(), number)
    return lineage_of(study.ask())


def assert_parent_alone(
    checkpoints: CheckpointStore, child: optuna.Trial, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    parent, mate = lineage_of(child)
    caplog.clear()
    state = checkpoints.inherit(child, mate_weight=0.5)
    assert state is not None
    assert torch.equal(state["model"]["w"], state_of(parent)["model"]["w"])
    assert mixed_in(child) is None
    (record,) = caplog.records
    message = record.getMessage()
    assert f"Trial {child.number} starts from its parent alone" in message
    assert f"its mate, trial {mate}: " in message
    assert why in message


@pytest.mark.parametrize("missing", ["no checkpoint", "partial", "gone", "damaged", "files"])
def test_a_mate_without_a_readable_checkpoint_leaves_the_parent_alone_and_one_line(
    checkpoints: CheckpointStore, caplog: pytest.LogCaptureFixture, tmp_path: Path, missing: str
) -> None:
    mate = lineage_of_the_first_child()[1]
    study = make_study()
    for number in range(4):
        trial = study.ask()
        if number != mate or missing in ("gone", "damaged"):
            checkpoints.save(trial, state_of(number))
        elif missing == "partial":
            checkpoints.save(trial, state_of(number), final=False)
        elif missing == "files":
            (tmp_path / "weights").write_text("weights")
            checkpoints.save_path(trial, tmp_path / "weights")
        study.tell(trial, number)
    if missing in ("gone", "damaged"):
        file = file_of(study, mate, tmp_path)
        file.unlink() if missing == "gone" else file.write_bytes(b"x" * file.stat().st_size)
    why = {"gone": "is missing", "damaged": "damaged", "files": "holds files"}
    assert_parent_alone(checkpoints, study.ask(), caplog, why.get(missing, "saved no checkpoint"))


def test_a_parents_files_cannot_be_averaged_and_the_error_names_what_reads_them(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    (tmp_path / "weights").write_text("weights")
    study = make_study()
    for number in range(4):
        trial = study.ask()
        checkpoints.save_path(trial, tmp_path / "weights")
        study.tell(trial, number)
    child = study.ask()
    with pytest.raises(CheckpointError, match="holds files: use `inherit_path`"):
        checkpoints.inherit(child, mate_weight=0.5)
    with pytest.raises(TypeError, match="mate_weight"):
        checkpoints.inherit_path(child, mate_weight=0.5)  # type: ignore[call-arg]


def test_a_parent_without_a_checkpoint_means_fresh_weights_where_these_are_meant(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    for number in range(4):
        study.tell(study.ask(), number)
    child = study.ask()
    assert checkpoints.inherit(child, mate_weight=0.5, missing="fresh") is None
    assert mixed_in(child) is None


def test_inheriting_again_gives_the_same_and_is_recorded_once(
    checkpoints: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    finish(study, checkpoints, 4)
    child = study.ask()
    written: list[str] = []
    real = write_system_attr

    def write(of: optuna.Study, trial: Any, key: str, value: Any) -> None:
        written.append(key)
        real(of, trial, key, value)

    monkeypatch.setattr("epbt_optuna._internal.attrs.write_system_attr", write)
    states: Any = [checkpoints.inherit(child, mate_weight=0.5) for _ in range(3)]
    assert all(torch.equal(state["model"]["w"], states[0]["model"]["w"]) for state in states)
    assert written == [MIXED]
    checkpoints.inherit(child)  # the last one holds
    assert mixed_in(child) is None


def test_ones_own_partial_state_is_never_averaged_and_says_what_is_in_it(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    finish(study, checkpoints, 4)
    child = study.ask()
    _, mate = lineage_of(child)
    checkpoints.inherit(child, mate_weight=0.5)
    checkpoints.save(child, {"model": {"w": torch.full((3,), 7.0)}}, final=False)
    resume(study, study.trials[child.number])
    retry = study.ask()
    assert mixed_in(retry) is None  # what Optuna copied says nothing of this one yet
    state = checkpoints.inherit(retry, mate_weight=0.25)
    assert state is not None
    assert torch.equal(state["model"]["w"], torch.full((3,), 7.0))
    assert mixed_in(retry) == Mixed(mate, 0.5)


def test_a_retry_without_a_partial_state_is_averaged_as_the_first_try_was(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    finish(study, checkpoints, 4)
    child = study.ask()
    _, mate = lineage_of(child)
    first = checkpoints.inherit(child, mate_weight=0.5)
    resume(study, study.trials[child.number])
    retry = study.ask()
    assert mixed_in(retry) is None
    second = checkpoints.inherit(retry, mate_weight=0.5)
    assert first is not None
    assert second is not None
    assert torch.equal(first["model"]["w"], second["model"]["w"])
    assert mixed_in(retry) == Mixed(mate, 0.5)


def test_a_trial_that_is_reopened_goes_on_with_what_it_has_recorded(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    finish(study, checkpoints, 4)
    child = study.ask()
    _, mate = lineage_of(child)
    checkpoints.inherit(child, mate_weight=0.5)
    checkpoints.save(child, state_of(9), final=False)
    again = reopen(study, study.trials[child.number])
    state = checkpoints.inherit(again)
    assert state is not None
    assert state["epoch"] == 9
    assert mixed_in(again) == Mixed(mate, 0.5)


def test_a_record_of_another_study_says_nothing_here(checkpoints: CheckpointStore) -> None:
    study = make_study()
    finish(study, checkpoints, 4)
    child = study.ask()
    checkpoints.inherit(child, mate_weight=0.5)
    study.tell(child, 0.0)
    other = make_study()
    other.ask()
    other.add_trials(study.trials[:4])
    attrs = study.trials[4].system_attrs
    assert Mixed.recorded(4, attrs, StudyIdentity.of(study)) is not None
    assert Mixed.recorded(4, attrs, StudyIdentity.of(other)) is None


@pytest.mark.parametrize(
    ("field", "value"), [("mate", 4), ("mate", -1), ("weight", 0.0), ("weight", 1.5)]
)
def test_a_record_that_makes_no_sense_names_its_trial_and_key(
    checkpoints: CheckpointStore, field: str, value: Any
) -> None:
    study = make_study()
    finish(study, checkpoints, 4)
    child = study.ask()
    checkpoints.inherit(child, mate_weight=0.5)
    record = read_system_attrs(study, child)[MIXED]
    write_system_attr(study, child, MIXED, {**record, field: value})
    with pytest.raises(ValueError, match="Trial 4 has an attr 'epbt:mixed' that cannot be read"):
        mixed_in(child)


def test_a_failed_trials_mate_is_kept_until_the_collection_after_it(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study(EPBTSampler(4, n_elites=1, seed=0))
    finish(study, checkpoints, 4)
    child = study.ask()
    parent, mate = lineage_of(child)
    for _ in range(2):  # its siblings complete, and so does the next generation
        study.tell(study.ask(), -9)
    assert mate != study.best_trial.number
    for _ in range(3):
        sibling = study.ask()
        checkpoints.save(sibling, state_of(sibling.number))
        study.tell(sibling, -10)
    checkpoints.collect(study)
    assert checkpoints.load(study.trials[mate])["epoch"] == mate  # the child still runs
    study.tell(child, state=TrialState.FAIL)
    checkpoints.collect(study)
    resume(study, study.trials[child.number])
    retry = study.ask()
    state = checkpoints.inherit(retry, mate_weight=0.5)
    assert state is not None
    assert mixed_in(retry) == Mixed(mate, 0.5)
    assert lineage_of(retry) == (parent, mate)
    study.tell(retry, 10)
    checkpoints.collect(study)
    checkpoints.collect(study)
    with pytest.raises(CheckpointError, match="missing"):
        checkpoints.load(study.trials[mate])
