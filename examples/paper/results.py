"""Result files: one a config, with a line of JSON for each job, sorted by arm and seed.

A line is all that a table or a figure is made of, and carries the settings it was made with and
their digest. A line of other settings is never mixed in: it is an error that names the file, the
job and what differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from filelock import FileLock

from examples.paper import ExperimentError
from examples.paper.arms import ARMS
from examples.paper.configs import CONFIGS, Config
from examples.paper.kinds import Arm, EPBTArm, PBTArm, ReplayArm, SingleNetwork
from examples.paper.outcome import Outcome, Point

FORMAT = 1
"""Raise it when what is measured changes: results of another format are refused."""

Record: TypeAlias = dict[str, Any]
"""A line of a result file as read: what `jobs.record_of` makes."""


class Named(Protocol):
    """What every config has, besides being a dataclass."""

    @property
    def name(self) -> str:
        """What the command line and the folders call it."""


ConfigT = TypeVar("ConfigT", bound=Named)
ArmT = TypeVar("ArmT")


@dataclass(frozen=True)
class AnyJob(Generic[ConfigT, ArmT]):
    """One arm of one config on one seed; both are frozen dataclasses.

    Attributes:
        config: What is learnt.
        arm_name: What the command line and the folders call the arm.
        arm: How it is learnt.
        seed: Decides data, wrong labels, weights, batches and evolution.
    """

    config: ConfigT
    arm_name: str
    arm: ArmT
    seed: int

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the outcome, but the seed, the device and the versions."""
        config: Any = self.config
        arm: Any = self.arm
        own = {
            field.name: getattr(arm, field.name)
            for field in fields(arm)
            if field.name not in ("description", "batched")
            and not (field.metadata.get("added") and getattr(arm, field.name) == field.default)
        }
        settings = {
            "format": FORMAT,
            "config": asdict(config),
            "arm": {"name": self.arm_name, "kind": type(self.arm).__name__, **own},
            **({"batched": True} if self.is_batched else {}),
        }
        settings_as_read: dict[str, Any] = json.loads(json.dumps(settings))
        return settings_as_read

    @property
    def is_batched(self) -> bool:
        """Whether a generation is trained as one batch."""
        return False

    @property
    def digest(self) -> str:
        """A short name for the settings."""
        return digest_of(self.settings)

    @property
    def name(self) -> str:
        """What messages and the job's folder call it."""
        return f"{self.arm_name}-seed{self.seed}"


JobT = TypeVar("JobT", bound=AnyJob[Any, Any])


class Job(AnyJob[Config, Arm]):
    """A job of the paper's experiments."""

    @property
    def settings(self) -> dict[str, Any]:
        """Those of any job; what replays another arm's schedule has that arm's as well."""
        if not isinstance(self.arm, ReplayArm):
            return super().settings
        return {**super().settings, "replayed": self.replayed.settings["arm"]}

    @property
    def replayed(self) -> Job:
        """The job whose schedule this one replays."""
        name = self.config.recommended
        return Job(self.config, name, ARMS[name], self.seed)

    @property
    def is_batched(self) -> bool:
        """Whether a generation is trained as one batch; the numbers are the same but rounding."""
        may_be = isinstance(self.arm, EPBTArm | PBTArm) and self.arm.batched
        return may_be and self.config.is_faster_in_batches

    @property
    def n_epochs(self) -> int:
        """Epochs the job trains, about: for the progress bar."""
        single = isinstance(self.arm, SingleNetwork | ReplayArm)
        return self.config.n_epochs if single else self.config.n_epochs_of_epbt


@dataclass(frozen=True)
class Result:
    """What a job left.

    Attributes:
        arm: The arm's name.
        seed: The seed.
        outcome: What was measured.
        seconds: Time by stage.
        record: The whole line.
    """

    arm: str
    seed: int
    outcome: Outcome
    seconds: dict[str, float]
    record: Record

    @property
    def accuracy(self) -> float:
        """Test accuracy in % of the network chosen on validation images."""
        return 100 * self.outcome.selected.test

    @property
    def epochs_of_chosen(self) -> float:
        """Epochs that the weights of the chosen network were trained, ancestors' included."""
        if self.outcome.ancestry and "epochs" in self.outcome.ancestry[-1]:
            return float(self.outcome.ancestry[-1]["epochs"])
        return self.outcome.selected.epoch


def digest_of(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def results_file(results: Path, config: str) -> Path:
    """Return the result file of a config."""
    return results / f"{config}.jsonl"


def add_record(path: Path, record: Record) -> None:
    """Add a job's record to its config's file, in place of an older one of the same job.

    Raises:
        ExperimentError: The file holds something else than records.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Jobs end at the same time, in the workers of one program or of several. Each replaces the
    # file by one with its own line more; without the lock, the second of two that had read the
    # same file would drop the first one's line. The lock ends with the process that holds it, and
    # one that dies here leaves the old file or the new one. So readers need no lock.
    with FileLock(f"{path}.lock"):
        records = {**read_records(path), key_of(record): record}
        write_whole(path, "".join(line_of(records[key]) for key in sorted(records)))


def key_of(record: Record) -> tuple[str, int]:
    """Return whose record it is: arm and seed."""
    return record["settings"]["arm"]["name"], record["seed"]


def line_of(record: Record) -> str:
    """Return a record as a line: its own keys in their order, sorted ones within."""
    items = (f"{json.dumps(key)}: {json.dumps(record[key], sort_keys=True)}" for key in record)
    return "{" + ", ".join(items) + "}\n"


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def read_records(path: Path) -> dict[tuple[str, int], Record]:
    """Read a result file by arm and seed; there are none before a job has ended.

    Raises:
        ExperimentError: A line is no record, or two are of the same arm and seed.
    """
    records: dict[tuple[str, int], Record] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            key = key_of(record)
        except (KeyError, TypeError, ValueError) as error:
            raise ExperimentError(f"{path}, line {number}, is not a result: {error}") from error
        if key in records:
            raise ExperimentError(f"{path}, line {number}, is a second {key[0]}-seed{key[1]}.")
        records[key] = record
    return records


def check_settings(place: str, found: Any, job: AnyJob[Any, Any]) -> None:
    """Raise unless what is in a place was made with the settings that the job has now."""
    if found == job.settings:
        return
    differences = "; ".join(differences_between(found, job.settings))
    raise ExperimentError(
        f"{place} was made with other settings than config {job.config.name!r} and arm "
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


def not_done(jobs: Sequence[JobT], path: Path) -> list[JobT]:
    """Return the jobs of a config that its result file lacks.

    Raises:
        ExperimentError: It has one, of other settings.
    """
    records = read_records(path)
    for job in jobs:
        if record := records.get((job.arm_name, job.seed)):
            check_settings(f"{job.name} in {path}", record["settings"], job)
    return [job for job in jobs if (job.arm_name, job.seed) not in records]


def read_results(results: Path, config: str) -> list[Result]:
    """Read all results of a config, by arm and seed.

    Raises:
        ExperimentError: A line is foreign: of another config, arm or settings.
    """
    path = results_file(results, config)
    records = read_records(path)
    return [
        read_result(f"{arm}-seed{seed} in {path}", config, records[arm, seed])
        for arm, seed in sorted(records)
    ]


def read_result(place: str, config: str, record: Record) -> Result:
    arm, seed = key_of(record)
    try:
        outcome = Outcome(
            curve=[Point(*point) for point in record["curve"]],
            epochs_trained=record["epochs_trained"],
            losses_explored=record["losses_explored"],
            ancestry=record["ancestry"],
        )
        result = Result(arm, seed, outcome, record["seconds"], record)
    except (KeyError, TypeError) as error:
        raise ExperimentError(f"{place} is not a result: it lacks {error}.") from error
    if arm not in ARMS or config not in CONFIGS:
        raise ExperimentError(f"{place} is of config {config!r} and arm {arm!r}, not both known.")
    job = Job(CONFIGS[config], arm, ARMS[arm], seed)
    check_settings(place, record["settings"], job)
    if record.get("digest") != job.digest:
        raise ExperimentError(
            f"{place} has digest {record.get('digest')!r}, but its settings have {job.digest!r}."
        )
    return result
