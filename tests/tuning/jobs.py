"""Jobs of seconds, and what is left of a record when its times are taken out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from examples.paper.results import Record, read_records
from examples.tuning.arms import arms_of
from examples.tuning.jobs import run_job
from examples.tuning.results import Job, results_file
from examples.tuning.tasks import TASKS, CNNTask, PPOTask

CNN, PPO = TASKS["cnn"], TASKS["ppo"]
assert isinstance(CNN, CNNTask)
assert isinstance(PPO, PPOTask)
TINY = replace(
    CNN, n_members=4, n_steps=3, n_train=50, n_validation=30, batch_size=25, epochs_per_step=1
)
TINY_PPO = replace(
    PPO,
    n_members=2,
    n_steps=5,
    n_rollout=16,
    n_epochs=1,
    n_validation_episodes=2,
    n_test_episodes=2,
)


def run(
    folder: Path, arm: str, data: Path = Path(), task: CNNTask | PPOTask = TINY, seed: int = 1
) -> Record:
    job = Job(task, arm, arms_of(task.name)[arm], seed)
    run_job(job, folder / "results", folder / "work", data, lambda _: None)
    assert not (folder / "work" / task.name / job.name).exists()
    return read_records(results_file(folder / "results", task.name))[arm, seed]


def without_times(record: Record) -> dict[str, Any]:
    rest = {key: value for key, value in record.items() if key != "seconds"}
    rest["incumbents"] = [[n, *scores] for n, _, *scores in record["incumbents"]]
    return rest
