"""What this package writes into a study: every `epbt:*` key, what it holds, and the one parser.

Nobody else spells such a key or reads its value by hand. A database may hold what another version
wrote, or anybody: fields that this version does not know are passed over, and what it cannot make
sense of is an `AttrError` that names the study or trial and the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import NoneType
from typing import Any, TypeAlias

from optuna import Study, Trial
from optuna.trial import FrozenTrial

from epbt_optuna._internal.optuna import write_study_attr, write_system_attr
from epbt_optuna._internal.text import get_logger

__all__ = [
    "CHECKPOINT",
    "CONTINUED",
    "DEVICE",
    "DRIVEN",
    "ERROR",
    "FORMER_PREFIX",
    "GENERATIONS",
    "LINEAGE",
    "MIXED",
    "PINNED",
    "REPLAYED",
    "REPLAY_POSITION",
    "STUDY",
    "WARNED",
    "Attr",
    "AttrError",
    "pass_over",
]

Types: TypeAlias = tuple[type, ...]

_logger = get_logger("epbt_optuna")


class AttrError(ValueError):
    """An attr does not hold what it must; the message names its study or trial, and its key."""


@dataclass(frozen=True)
class Attr:
    """One key, and what its value is in JSON.

    Attributes:
        key: The key; of a family of keys, what they all begin with.
        holds: The type of the value; or those of a list's items; or those that each field of an
            object may have. Types are exact: a boolean is no integer.
        may_hold: Fields that records of earlier versions lack; they are read as None.
        version: Raised when a field changes its meaning, not when one is added. A record without
            a field `version` is of version 1.
    """

    key: str
    holds: type | Types | Mapping[str, Types]
    may_hold: Mapping[str, Types] = field(default_factory=dict)
    version: int = 1

    def of_trial(self, number: int, system_attrs: Mapping[str, Any]) -> Any:
        """Return what a trial's system attrs hold under this key; None if they lack it.

        Raises:
            AttrError: The value is not what this version can read.
        """
        value = system_attrs.get(self.key)
        return None if value is None else self._parse(value, self.key, f"Trial {number}")

    def of_study(self, study: Study, study_attrs: Mapping[str, Any]) -> Any:
        """Return what the study's system attrs hold under this key; None if they lack it.

        Raises:
            AttrError: The value is not what this version can read.
        """
        value = study_attrs.get(self.key)
        whose = f"Study {study.study_name!r}"
        return None if value is None else self._parse(value, self.key, whose)

    def family(self, study: Study, study_attrs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all keys that begin with this one, by the rest of the key.

        Raises:
            AttrError: A value is not what this version can read.
        """
        whose = f"Study {study.study_name!r}"
        return {
            key.removeprefix(self.key): self._parse(value, key, whose)
            for key, value in sorted(study_attrs.items())
            if key.startswith(self.key)
        }

    def write_to_trial(self, study: Study, trial: Trial | FrozenTrial, value: Any) -> None:
        """Write the value into an unfinished trial."""
        write_system_attr(study, trial, self.key, value)

    def write_to_study(self, study: Study, value: Any, suffix: str = "") -> None:
        """Write the value into the study; `suffix` ends the key of a family."""
        write_study_attr(study, self.key + suffix, value)

    def unreadable(self, whose: str, problem: object) -> AttrError:
        """Return the error for a value of the right types that makes no sense.

        Args:
            whose: Its study or trial, as a message names it.
            problem: What is wrong with it.
        """
        text = str(problem).rstrip(".")
        return AttrError(f"{whose} has an attr {self.key!r} that cannot be read: {text}.")

    def _parse(self, value: Any, key: str, whose: str) -> Any:
        try:
            return self._checked(value)
        except AttrError as error:
            raise replace(self, key=key).unreadable(whose, error) from None

    def _checked(self, value: Any) -> Any:
        if isinstance(self.holds, type):
            if type(value) is not self.holds:
                raise AttrError(f"it must be of type {self.holds.__name__} but is {value!r}")
            return value
        if isinstance(self.holds, tuple):
            if type(value) is not list or tuple(map(type, value)) != self.holds:
                raise AttrError(f"it must be a list of {_names(self.holds)} but is {value!r}")
            return value
        if type(value) is not dict:
            raise AttrError(f"it must be an object but is {value!r}")
        version = value.get("version", 1)
        if type(version) is not int or version > self.version:
            raise AttrError(
                f"it is of version {version!r}, but this release of epbt_optuna knows versions "
                f"up to {self.version}"
            )
        record = {}
        for name, types in self.holds.items():
            if name not in value:
                raise AttrError(f"`{name}` is missing in {value!r}")
            record[name] = _field(name, value[name], types)
        for name, types in self.may_hold.items():
            record[name] = _field(name, value[name], types) if name in value else None
        return record


def _field(name: str, value: Any, types: Types) -> Any:
    if type(value) not in types:
        raise AttrError(f"`{name}` must be of type {_names(types)} but is {value!r}")
    return value


def _names(types: Types) -> str:
    return " or ".join("null" if kind is NoneType else kind.__name__ for kind in types)


@lru_cache(maxsize=1024)  # more kinds of damage than that need not be told
def pass_over(error: str) -> None:
    """Say once that a record is passed over, where nothing depends on it.

    Args:
        error: The message of the `AttrError`.
    """
    _logger.warning("%s It is passed over.", error)


# In a study

STUDY = Attr("epbt:study:", {"id": (int,), "name": (str,)}, {"adopted": (int,), "copied": (list,)})
"""A token of the study ends the key; written at the first ask and by `branch` (`StudyIdentity`)."""

GENERATIONS = Attr(
    "epbt:generations",
    {"population_size": (int,), "n_elites": (int,)},
    {"train_elites": (bool,), "fitness_smoothing": (float,)},
    version=2,
)
"""The arithmetic of trial numbers, and what selection goes by; written at the first ask.

Version 2 has the two fields that it may hold: they change what trial numbers or fitness mean. Where
both are off, version 1 is written, which earlier releases read.
"""

REPLAYED = Attr("epbt:replayed", str)
"""SHA-256 digest of the schedule that the study replays; written at the first ask."""

WARNED = Attr("epbt:warned:", bool)
"""What the study's users have been warned of ends the key; each warning is given once."""

FORMER_PREFIX = Attr("epbt:checkpoints:", bool)
"""Version 0.1: what the names of its checkpoints begin with ends the key; tokens came after."""

# In a trial

LINEAGE = Attr(
    "epbt:lineage",
    {"generation": (int,), "parent": (int, NoneType), "mate": (int, NoneType)},
    {"token": (str,), "number": (int,), "elite": (bool,)},
)
"""Where the individual comes from, with the study's token and the trial's own number; at ask.

`elite` is there, and true, only for an elite that goes on training (`train_elites`).
"""

CHECKPOINT = Attr(
    "epbt:checkpoint",
    {
        "trial": (int,),
        "artifact": (str,),
        "size": (int,),
        "sha256": (str,),
        "kind": (str,),
        "final": (bool,),
        "format": (int,),
    },
    {"token": (str,), "n_reports": (int, NoneType), "inherited": (bool, NoneType)},
)
"""The trial's checkpoint, once its bytes are there; by `CheckpointStore.save`, each time anew."""

CONTINUED = Attr(
    "epbt:continued",
    {"number": (int,), "trial": (int,), "n_reports": (int,)},
    {"token": (str, NoneType)},
)
"""Which trial's training a retry goes on with, and from which of its reports; by `inherit`."""

MIXED = Attr(
    "epbt:mixed",
    {"number": (int,), "mate": (int,), "weight": (float,)},
    {"token": (str, NoneType)},
)
"""Whose weights the trial's were averaged with at its start, and their share; by `inherit`."""

PINNED = Attr("epbt:pinned", bool)
"""The trial's checkpoint is a result and is never collected; by `ReplaySampler`, at ask."""

REPLAY_POSITION = Attr("epbt:replay", (int, int))
"""Which network a trial of a replay trains, and which step; at ask."""

DEVICE = Attr("epbt:device", str)
"""The device that a worker of `parallel.optimize` computes on, if it is not the CPU."""

ERROR = Attr("epbt:error", str)
"""Why a trial of `parallel.optimize` failed; by its worker or the driver, before it is told."""

DRIVEN = Attr(
    "epbt:driven",
    {"number": (int,), "host": (str,), "process": (int,), "start": (str,), "call": (str,)},
)
"""Which process trains the trial as one of a batch; by `batched.optimize`, when it has asked it."""
