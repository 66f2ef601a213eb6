"""Result files: one small JSON a job, with all that a table or a figure is made of.

A file carries the settings it was made with and their digest. A file of other settings is never
mixed in or overwritten: it is an error that names the file and what differs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from examples.paper import ExperimentError
from examples.paper.arms import ARMS, Arm, SingleNetwork
from examples.paper.configs import CONFIGS, Config
from examples.paper.outcome import Outcome, Point

FORMAT = 1
"""Raise it when what is measured changes: results of another format are refused."""


@dataclass(frozen=True)
class Job:
    """One arm of one config on one seed.

    Attributes:
        config: What is learnt.
        arm_name: The arm's key in `arms.ARMS`.
        arm: How it is learnt.
        seed: Decides data, wrong labels, weights, batches and evolution.
    """

    config: Config
    arm_name: str
    arm: Arm
    seed: int

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the outcome, but the seed, the device and the versions."""
        arm = {key: value for key, value in asdict(self.arm).items() if key != "description"}
        settings = {
            "format": FORMAT,
            "config": asdict(self.config),
            "arm": {"name": self.arm_name, "kind": type(self.arm).__name__, **arm},
        }
        settings_as_read: dict[str, Any] = json.loads(json.dumps(settings))
        return settings_as_read

    @property
    def digest(self) -> str:
        """A short name for the settings."""
        return digest_of(self.settings)

    @property
    def name(self) -> str:
        """What files and folders of the job are called."""
        return f"{self.arm_name}-seed{self.seed}"

    @property
    def n_epochs(self) -> int:
        """Epochs the job trains, about: for the progress bar."""
        single = isinstance(self.arm, SingleNetwork)
        return self.config.n_epochs if single else self.config.n_epochs_of_epbt

    def path(self, results: Path) -> Path:
        """Return where the result file is, within the folder of all results."""
        return results / self.config.name / f"{self.name}.json"


@dataclass(frozen=True)
class Result:
    """A result file as read.

    Attributes:
        path: Where it is.
        arm: The arm's name.
        seed: The seed.
        outcome: What was measured.
        seconds: Time by stage.
        record: The whole file.
    """

    path: Path
    arm: str
    seed: int
    outcome: Outcome
    seconds: dict[str, float]
    record: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """Test accuracy in % of the network chosen on validation images."""
        return 100 * self.outcome.selected.test

    @property
    def epochs_of_chosen(self) -> int:
        """Epochs that the weights of the chosen network were trained, ancestors' included."""
        if self.outcome.ancestry and "epochs" in self.outcome.ancestry[-1]:
            return int(self.outcome.ancestry[-1]["epochs"])
        return self.outcome.selected.epoch


def digest_of(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a file whole or not at all, each key on a line of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    lines = [f"{json.dumps(key)}: {json.dumps(record[key], sort_keys=True)}" for key in record]
    part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    part.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ExperimentError: It is none.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ExperimentError(f"{path} is not a result file: {error}") from error
    if not isinstance(record, dict):
        raise ExperimentError(f"{path} is not a result file: it holds no object.")
    return record


def check_settings(path: Path, found: Any, job: Job) -> None:
    """Raise unless a file was made with the settings that the job has now."""
    if found == job.settings:
        return
    differences = "; ".join(differences_between(found, job.settings))
    raise ExperimentError(
        f"{path} was made with other settings than config {job.config.name!r} and arm "
        f"{job.arm_name!r} have now: {differences}. Move it away, or undo the change."
    )


def differences_between(old: Any, new: Any, name: str = "settings") -> list[str]:
    """Say, leaf by leaf, what differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted(old.keys() | new.keys())
            for line in differences_between(old.get(key), new.get(key), key)
        ]
    return [] if old == new else [f"`{name}` was {old!r} and is {new!r}"]


def is_done(job: Job, results: Path) -> bool:
    """Return whether the job's result is there.

    Raises:
        ExperimentError: A result is there, of other settings.
    """
    path = job.path(results)
    if not path.exists():
        return False
    check_settings(path, read_json(path).get("settings"), job)
    return True


def read_results(results: Path, config: str) -> list[Result]:
    """Read all results of a config, by arm and seed.

    Raises:
        ExperimentError: A file is foreign: of another config, arm, seed or settings.
    """
    return [read_result(path, config) for path in sorted((results / config).glob("*.json"))]


def read_result(path: Path, config: str) -> Result:
    record = read_json(path)
    try:
        arm, seed = record["settings"]["arm"]["name"], record["seed"]
        outcome = Outcome(
            curve=[Point(*point) for point in record["curve"]],
            epochs_trained=record["epochs_trained"],
            losses_explored=record["losses_explored"],
            ancestry=record["ancestry"],
        )
        result = Result(path, arm, seed, outcome, record["seconds"], record)
    except (KeyError, TypeError) as error:
        raise ExperimentError(f"{path} is not a result file: it lacks {error}.") from error
    if arm not in ARMS or config not in CONFIGS:
        raise ExperimentError(f"{path} is of config {config!r} and arm {arm!r}, not both known.")
    job = Job(CONFIGS[config], arm, ARMS[arm], seed)
    check_settings(path, record["settings"], job)
    if path.name != job.path(path.parent).name or record.get("digest") != job.digest:
        raise ExperimentError(
            f"{path} holds {job.name} with digest {record.get('digest')!r}, not what its name and "
            f"settings say ({path.stem}, {job.digest!r})."
        )
    return result
