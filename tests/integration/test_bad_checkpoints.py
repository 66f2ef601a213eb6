"""A checkpoint that somebody has spoilt fails those who would inherit it, and nothing else."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler
from tests.drills.training import RULES
from tests.replay import check_lineage, lineage_of

SPOILT = 2  # the number of the trial whose checkpoint is
N_TRIALS = 21


class Victim:
    """The checkpoint of a running trial, where its owner, or whoever, can reach it.

    Args:
        trial: The trial.
        folder: The folder of the checkpoints. What is beside it is no business of theirs.
    """

    def __init__(self, trial: optuna.Trial, folder: Path) -> None:
        self._trial = trial
        (self.path,) = folder.glob(f"*-{trial.number:06d}-*")

    @property
    def beside(self) -> Path:
        return self.path.parent.parent

    def record(self, **changes: Any) -> None:
        """Change the record, as whoever can write to the database can."""
        storage, trial_id = self._trial.storage, self._trial._trial_id
        record = storage.get_trial_system_attrs(trial_id)["epbt:checkpoint"]
        storage.set_trial_system_attr(trial_id, "epbt:checkpoint", {**record, **changes})

    def replace(self, state: Any, **header: Any) -> None:
        """Replace the bytes by others, and their digest in the record too."""
        file = io.BytesIO()
        torch.save({"format": 1, **header, "state": state}, file)
        self.path.write_bytes(file.getvalue())
        digest = hashlib.sha256(file.getvalue()).hexdigest()
        self.record(size=len(file.getvalue()), sha256=digest)


class MakesFolder:
    """Pickled, it is a program that makes a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def cut_short(victim: Victim) -> None:
    os.truncate(victim.path, 1000)


def flip_a_bit(victim: Victim) -> None:
    data = bytearray(victim.path.read_bytes())
    data[len(data) // 2] ^= 4
    victim.path.write_bytes(data)


def put_another_studys_there(victim: Victim) -> None:
    other, folder = optuna.create_study(), victim.beside / "other"
    for _ in range(SPOILT + 1):
        trial = other.ask()
        CheckpointStore(folder).save(trial, {"weights": torch.zeros(100)})
    Victim(trial, folder).path.replace(victim.path)


def write_as_a_newer_version(victim: Victim) -> None:
    victim.replace({}, format=2)


def record_as_a_newer_version(victim: Victim) -> None:
    victim.record(format=2, kind="shards", shards=["a", "b"])


def write_a_program(victim: Victim) -> None:
    victim.replace({"weights": MakesFolder(victim.beside / "it ran")})


def climb_out_of_the_folder(victim: Victim) -> None:
    victim.record(artifact="../precious.pt")


def scribble_over_the_record(victim: Victim) -> None:
    victim.record(size="many", sha256=None)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda victim: victim.path.unlink(), r"trial 2 \(.*\.pt\) is missing"),
        (cut_short, r"trial 2 \(.*\.pt\) .* it is damaged: 1000 bytes, but \d+ were written"),
        (flip_a_bit, r"trial 2 \(.*\.pt\) .* it is damaged: its SHA-256 is"),
        (put_another_studys_there, r"trial 2 \(.*\.pt\) .* it is damaged"),
        (write_as_a_newer_version, r"trial 2 \(.*\.pt\) .* it has format 2 but this version"),
        (record_as_a_newer_version, r"trial 2 \(.*\.pt\) .* it has format 2 but this version"),
        (write_a_program, r"trial 2 \(.*\.pt\) .* its bytes cannot be read safely"),
        (
            climb_out_of_the_folder,
            r"trial 2 \(.*/precious.pt\) .* not the name of a checkpoint",
        ),
        (
            scribble_over_the_record,
            r"Trial 2 has an attr 'epbt:checkpoint' .* `size` must be .*'many'",
        ),
    ],
)
def test_a_spoilt_checkpoint_fails_those_who_inherit_it_and_the_run_goes_on(
    tmp_path: Path, spoil: Callable[[Victim], object], message: str
) -> None:
    precious = tmp_path / "precious.pt"
    precious.write_text("not ours")
    folder = tmp_path / "checkpoints"
    checkpoints = CheckpointStore(folder)

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 0.0, 1.0)
        parent = trial.study.trials[trial.number].system_attrs["epbt:lineage"]["parent"]
        if parent == SPOILT:
            with pytest.raises(CheckpointError, match=message):
                checkpoints.inherit(trial)
            raise CheckpointError
        checkpoints.inherit(trial)
        checkpoints.save(trial, {"weights": torch.full((100,), rate)})
        if trial.number == SPOILT:
            spoil(Victim(trial, folder))
        return 10.0 if trial.number == SPOILT else rate  # the best, so it has children

    study = optuna.create_study(
        direction=RULES.direction,
        sampler=EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0),
    )
    study.optimize(
        objective, N_TRIALS, callbacks=[checkpoints.collector()], catch=(CheckpointError,)
    )
    trials = study.get_trials()
    children = {t.number for t in trials if (lineage_of(t) or {})["parent"] == SPOILT}
    failed = {trial.number for trial in trials if trial.state == TrialState.FAIL}
    assert failed == children
    assert 0 < len(children) < N_TRIALS // 2
    for trial in check_lineage(trials, RULES)[-1]:
        if trial.number != SPOILT:
            weights = checkpoints.load(trial)["weights"]
            assert torch.equal(weights, torch.full_like(weights, trial.params["rate"]))
    assert not (tmp_path / "it ran").exists()
    assert precious.read_text() == "not ours"
