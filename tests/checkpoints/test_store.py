from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler

MakeStore = Callable[[Path], CheckpointStore]


@pytest.fixture(params=["folder", "artifact store"])
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointStore:
    if request.param == "folder":
        return CheckpointStore(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").mkdir()
    return CheckpointStore(FileSystemArtifactStore(tmp_path / "checkpoints"))


def make_study(**settings: Any) -> optuna.Study:
    return optuna.create_study(sampler=EPBTSampler(population_size=2, seed=0), **settings)


def parent_and_child(study: optuna.Study, save: Callable[[optuna.Trial], None]) -> optuna.Trial:
    """Finish generation 0, saving trial 0 alone and making it the fittest; ask its child."""
    for value in (0.0, 1.0):
        trial = study.ask()
        if trial.number == 0:
            save(trial)
        study.tell(trial, value if trial.number == 0 else None, state=_state(trial.number))
    return study.ask()


def _state(number: int) -> TrialState:
    return TrialState.COMPLETE if number == 0 else TrialState.FAIL


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_a_child_inherits_what_its_parent_saved(checkpoints: CheckpointStore) -> None:
    state: dict[str, Any] = {
        "weight": torch.arange(6.0).reshape(2, 3),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "epoch": 3,
        "nested": [{"lr": 0.1}, ("text", None, True)],
    }
    child = parent_and_child(make_study(), lambda trial: checkpoints.save(trial, state))
    inherited = checkpoints.inherit(child)
    assert inherited is not None
    assert torch.equal(inherited["weight"], state["weight"])
    assert torch.equal(inherited["half"], state["half"])
    assert inherited["half"].dtype == torch.bfloat16
    assert {k: inherited[k] for k in ("epoch", "nested")} == {
        k: state[k] for k in ("epoch", "nested")
    }


def test_a_founder_inherits_nothing(checkpoints: CheckpointStore) -> None:
    assert checkpoints.inherit(make_study().ask()) is None


def test_a_trial_of_another_sampler_inherits_nothing(checkpoints: CheckpointStore) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert checkpoints.inherit(study.ask()) is None


def test_a_model_and_its_optimizer_go_on_exactly_where_the_parent_stopped(
    checkpoints: CheckpointStore,
) -> None:
    def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.arange(15.0).reshape(5, 3)).square().sum().backward()
        optimizer.step()

    model, optimizer = make()
    step(model, optimizer)
    child = parent_and_child(
        make_study(),
        lambda trial: checkpoints.save(
            trial, {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        ),
    )
    state = checkpoints.inherit(child)
    assert state is not None
    assert state["model"]._metadata == model.state_dict()._metadata  # type: ignore[attr-defined]
    child_model, child_optimizer = make()
    child_model.load_state_dict(state["model"])
    child_optimizer.load_state_dict(state["optimizer"])
    step(model, optimizer)
    step(child_model, child_optimizer)
    for name, value in model.state_dict().items():
        assert torch.equal(child_model.state_dict()[name], value)


def test_training_on_from_an_inherited_state_leaves_the_checkpoint_as_it_was(
    checkpoints: CheckpointStore,
) -> None:
    child = parent_and_child(
        make_study(), lambda trial: checkpoints.save(trial, {"w": torch.zeros(1000)})
    )
    first = checkpoints.inherit(child)
    assert first is not None
    first["w"].add_(1.0)
    second = checkpoints.inherit(child)
    assert second is not None
    assert torch.equal(second["w"], torch.zeros(1000))


def test_a_parent_that_saved_nothing_is_an_error_unless_fresh_weights_are_meant(
    checkpoints: CheckpointStore,
) -> None:
    child = parent_and_child(make_study(), save=lambda _: None)
    with pytest.raises(CheckpointError, match=r"Trial 0, the parent of trial 2, saved no checkp"):
        checkpoints.inherit(child)
    assert checkpoints.inherit(child, missing="fresh") is None


def test_a_parent_that_was_added_may_lack_a_checkpoint(checkpoints: CheckpointStore) -> None:
    study = make_study()
    for value in (0.0, 1.0):
        study.add_trial(optuna.create_trial(value=value))
    assert checkpoints.inherit(study.ask()) is None


def test_missing_must_be_error_or_fresh(checkpoints: CheckpointStore) -> None:
    with pytest.raises(ValueError, match="`missing` must be 'error' or 'fresh' but got 'new'"):
        checkpoints.inherit(make_study().ask(), missing="new")  # type: ignore[arg-type]


def test_saving_twice_keeps_the_second_state_and_one_file(tmp_path: Path) -> None:
    checkpoints, trial = CheckpointStore(tmp_path), make_study().ask()
    checkpoints.save(trial, {"epoch": 1})
    checkpoints.save(trial, {"epoch": 2})
    assert checkpoints.load(trial) == {"epoch": 2}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_finished_trial_can_be_loaded_by_what_the_study_shows_of_it(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    trial = study.ask()
    checkpoints.save(trial, {"epoch": 1})
    study.tell(trial, 0.0)
    assert checkpoints.load(study.best_trial) == {"epoch": 1}


def test_loading_a_trial_that_saved_nothing_names_it(checkpoints: CheckpointStore) -> None:
    with pytest.raises(CheckpointError, match=r"Trial 0 saved no checkpoint\."):
        checkpoints.load(make_study().ask())


def test_saving_after_the_trial_was_told_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    checkpoints, study = CheckpointStore(tmp_path), make_study()
    trial = study.ask()
    study.tell(trial, 0.0)
    with pytest.raises(CheckpointError, match="Trial 0 has ended"):
        checkpoints.save(trial, {"epoch": 1})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # the retry callback
def test_a_retried_trial_does_not_pass_its_predecessors_checkpoint_off_as_its_own(
    checkpoints: CheckpointStore,
) -> None:
    study = make_study()
    trial = study.ask()
    checkpoints.save(trial, {"epoch": 1})
    study.tell(trial, state=TrialState.FAIL)
    RetryHeartbeatStaleTrialCallback()(study, study.trials[0])
    retried = study.ask()
    assert retried.number == 1
    with pytest.raises(CheckpointError, match="Trial 1 saved no checkpoint"):
        checkpoints.load(retried)
    checkpoints.save(retried, {"epoch": 2})
    assert checkpoints.load(study.trials[0]) == {"epoch": 1}


def test_a_view_is_saved_without_the_memory_it_is_a_view_of(tmp_path: Path) -> None:
    checkpoints, trial = CheckpointStore(tmp_path), make_study().ask()
    stacked = torch.randn(100, 1000)
    checkpoints.save(trial, {"weight": stacked[7], "bias": stacked[8:, 3]})
    assert only_file(tmp_path).stat().st_size < 20_000
    loaded = checkpoints.load(trial)
    assert torch.equal(loaded["weight"], stacked[7])
    assert torch.equal(loaded["bias"], stacked[8:, 3])


@pytest.mark.parametrize("final", [1, "no"])
def test_what_is_merely_true_is_not_final(tmp_path: Path, final: Any) -> None:
    checkpoints, trial = CheckpointStore(tmp_path / "checkpoints"), make_study().ask()
    saves: list[Callable[..., None]] = [checkpoints.save, checkpoints.save_path]
    for save in saves:
        with pytest.raises(TypeError, match=f"`final` must be True or False but got {final!r}"):
            save(trial, str(tmp_path), final=final)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("store", [None, 3, object()])
def test_a_store_must_be_a_path_or_an_artifact_store(store: Any) -> None:
    with pytest.raises(TypeError, match="`store` must be a path or an Optuna artifact store"):
        CheckpointStore(store)


def damaged_by(damage: Callable[[Path], object], tmp_path: Path) -> None:
    """Save two trials, damage the first one's file, and load it; the second must stay good."""
    checkpoints, study = CheckpointStore(tmp_path), make_study()
    first, second = study.ask(), study.ask()
    checkpoints.save(first, {"w": torch.arange(100.0)})
    file = only_file(tmp_path)
    checkpoints.save(second, {"w": torch.ones(3)})
    damage(file)
    try:
        checkpoints.load(first)
    finally:
        assert torch.equal(checkpoints.load(second)["w"], torch.ones(3))


def test_a_missing_file_names_trial_and_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"trial 0 \(.*/epbt-.*-000000-.*\.pt\) is missing"):
        damaged_by(Path.unlink, tmp_path)


def test_a_file_cut_short_is_reported_with_both_sizes(tmp_path: Path) -> None:
    def cut(file: Path) -> None:
        os.truncate(file, 10)

    with pytest.raises(
        CheckpointError, match=r"trial 0 .*cannot be read: it is damaged: 10 bytes, but \d+ were"
    ):
        damaged_by(cut, tmp_path)


def test_flipped_bits_are_reported_with_both_digests(tmp_path: Path) -> None:
    def flip(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)

    with pytest.raises(CheckpointError, match=r"its SHA-256 is [0-9a-f]{64}, but [0-9a-f]{64}"):
        damaged_by(flip, tmp_path)


def rewrite_record(study: optuna.Study, number: int, **changes: Any) -> None:
    """Change a trial's record as somebody with access to the database could."""
    attrs = study._storage.get_trial_system_attrs(number)
    record = {**attrs["epbt:checkpoint"], **changes}
    study._storage.set_trial_system_attr(number, "epbt:checkpoint", record)


def load_bytes_as_trial_0(tmp_path: Path, data: bytes) -> Any:
    """Load foreign bytes that a record vouches for."""
    import hashlib

    checkpoints, study = CheckpointStore(tmp_path), make_study()
    trial = study.ask()
    checkpoints.save(trial, {})
    only_file(tmp_path).write_bytes(data)
    rewrite_record(study, 0, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    return checkpoints.load(trial)


class Malicious:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._marker),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    file = tmp_path / "evil.pt"
    torch.save({"format": 1, "state": Malicious(marker)}, file)
    with pytest.raises(CheckpointError, match="cannot be read safely"):
        load_bytes_as_trial_0(tmp_path / "folder", file.read_bytes())
    with pytest.raises(CheckpointError, match="cannot be read safely"):
        load_bytes_as_trial_0(tmp_path / "folder2", pickle.dumps(Malicious(marker)))
    assert not marker.exists()


def test_a_file_of_a_newer_format_says_so(tmp_path: Path) -> None:
    file = tmp_path / "newer.pt"
    torch.save({"format": 99, "state": {}}, file)
    with pytest.raises(CheckpointError, match=r"has format 99 but this version .* reads up to 1"):
        load_bytes_as_trial_0(tmp_path / "folder", file.read_bytes())


@pytest.mark.parametrize("content", [[1, 2], {"format": 1}, {"format": True, "state": {}}])
def test_a_torch_file_that_is_no_checkpoint_says_so(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "other.pt"
    torch.save(content, file)
    with pytest.raises(CheckpointError, match="was not written by a CheckpointStore"):
        load_bytes_as_trial_0(tmp_path / "folder", file.read_bytes())


@pytest.mark.parametrize("artifact", ["../outside.pt", "/etc/passwd", "..", ""])
def test_a_record_that_climbs_out_of_the_folder_is_refused(
    checkpoints: CheckpointStore, tmp_path: Path, artifact: str
) -> None:
    (tmp_path / "outside.pt").write_bytes(b"secret")
    study = make_study()
    trial = study.ask()
    checkpoints.save(trial, {})
    rewrite_record(study, 0, artifact=artifact)
    with pytest.raises(CheckpointError, match=r"checkpoint of trial 0"):
        checkpoints.load(trial)


def test_a_write_that_fails_names_trial_and_place_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints, trial = CheckpointStore(tmp_path), make_study().ask()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match=r"trial 0 could not be .*No space left on device"):
        checkpoints.save(trial, {"w": torch.zeros(10)})
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    checkpoints.save(trial, {"w": torch.zeros(10)})
    assert torch.equal(checkpoints.load(trial)["w"], torch.zeros(10))


def test_the_file_has_its_name_only_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    fsync = os.fsync

    def observe(descriptor: int) -> None:
        seen.append([path.suffix for path in tmp_path.iterdir()])
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", observe)
    CheckpointStore(tmp_path).save(make_study().ask(), {})
    assert seen == [[".tmp"], [".pt"]]  # the bytes are synchronised before, the name after


def test_the_store_can_be_pickled_for_other_processes(checkpoints: CheckpointStore) -> None:
    trial = make_study().ask()
    pickle.loads(pickle.dumps(checkpoints)).save(trial, {"epoch": 1})
    assert checkpoints.load(trial) == {"epoch": 1}
