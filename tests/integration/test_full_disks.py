"""A disk that is full fails the trial that wanted to save, and nothing else."""

from __future__ import annotations

import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler
from tests.drills.training import RULES
from tests.replay import check_lineage

TOO_LARGE = (7, 10, 15)  # the numbers of the trials whose states do not fit


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 2 MB."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder],
            capture_output=True,
            check=False,
        )
        if mounted.returncode != 0:
            pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode()}")
        try:
            yield Path(folder)
        finally:
            # What is still mapped from it stays readable until nobody needs it.
            subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def file_size_limit(tmp_path: Path) -> Iterator[Path]:
    """A folder in which this process cannot write files above 2 MB."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        yield tmp_path
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
    ("disk", "reason"),
    [("small_disk", "No space left on device"), ("file_size_limit", "File too large")],
)
def test_a_full_disk_fails_the_trial_and_leaves_study_checkpoints_and_population_good(
    disk: str, reason: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(disk)
    checkpoints = CheckpointStore(folder)
    errors: dict[int, str] = {}

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 0.0, 1.0)
        checkpoints.inherit(trial)
        size = 3_000_000 if trial.number in TOO_LARGE else 10_000
        try:
            checkpoints.save(trial, {"weights": torch.full((size // 4,), rate)})
        except CheckpointError as error:
            errors[trial.number] = str(error)
            assert not list(folder.glob(".*")), "a temporary file was left"
            raise
        return rate

    study = optuna.create_study(
        direction=RULES.direction,
        sampler=EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=0),
    )
    collector = checkpoints.collector()
    study.optimize(objective, n_trials=21, callbacks=[collector], catch=(CheckpointError,))
    trials = study.get_trials()
    failed = {trial.number for trial in trials if trial.state == TrialState.FAIL}
    assert failed == errors.keys() == set(TOO_LARGE)
    for number, message in errors.items():
        assert f"trial {number} could not be written to {folder}" in message
        assert reason in message
    for trial in check_lineage(trials, RULES)[-1]:
        weights = checkpoints.load(trial)["weights"]
        assert torch.equal(weights, torch.full_like(weights, trial.params["rate"]))
