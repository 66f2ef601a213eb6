"""Weights that are averaged with the mate's: what is asked for, and what a trial records of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from optuna import Trial

from epbt_optuna._internal.attrs import MIXED
from epbt_optuna._internal.checks import check_probability
from epbt_optuna._internal.extras import needs
from epbt_optuna._internal.identity import StudyIdentity

__all__ = ["Averaging", "Mixed", "NotAveragedError", "averaging_by"]

_T = TypeVar("_T")


class NotAveragedError(ValueError):
    """Two states cannot be averaged; the message says why, as a part of a sentence."""


@dataclass(frozen=True)
class Averaging(Generic[_T]):
    """How a parent's state is averaged with the mate's.

    Attributes:
        weight: The mate's share, in (0, 1].
        average: Returns the average of the parent's state and the mate's, which it reads itself.
    """

    weight: float
    average: Callable[[_T, Callable[[], _T]], _T]


def averaging_by(weight: float, only: Collection[str] | None) -> Averaging[Any] | None:
    """Return how states are averaged with a mate's share of `weight`; None where it is 0.

    Raises:
        TypeError: `weight` is no number, or `only` is no collection of keys.
        ValueError: `weight` is not in [0, 1].
    """
    check_probability("mate_weight", weight)
    if only is not None and (isinstance(only, str) or not isinstance(only, Collection)):
        raise TypeError(f"`only` must be a set of top-level keys or None but got {only!r}.")
    if weight == 0:
        return None
    with needs("torch", "`CheckpointStore.inherit`"):
        from epbt_optuna.checkpoints.averages import averaged
    share = float(weight)
    return Averaging(share, lambda state, read_mate: averaged(state, read_mate, share, only))


@dataclass(frozen=True)
class Mixed:
    """Whose weights are in those that a trial started from, beside its parent's.

    Attributes:
        mate: The mate's number.
        weight: Its share, in (0, 1].
    """

    mate: int
    weight: float

    @classmethod
    def recorded(
        cls, number: int, system_attrs: Mapping[str, Any], identity: StudyIdentity
    ) -> Mixed | None:
        """Return what a trial has recorded; None if it started from its parent's weights alone.

        A retry has the record of the trial that was cut off until it inherits. That says nothing
        of the retry, which may start from its parent alone.

        Args:
            number: The trial's number.
            system_attrs: Its system attrs.
            identity: The study's identity.

        Raises:
            AttrError: The attr is no such record.
        """
        record = MIXED.of_trial(number, system_attrs)
        if record is None or not identity.wrote(record, number):
            return None
        mixed = cls(record["mate"], record["weight"])
        if not (0 <= mixed.mate < number and 0 < mixed.weight <= 1):
            problem = f"trial {mixed.mate} cannot have a share of {mixed.weight} in its weights"
            raise MIXED.unreadable(f"Trial {number}", problem)
        return mixed

    @staticmethod
    def write(
        mixed: Mixed | None,
        trial: Trial,
        system_attrs: Mapping[str, Any],
        identity: StudyIdentity,
    ) -> None:
        """Record what a running trial has started from, unless its attrs say just that.

        Args:
            mixed: None if it is the parent's weights alone. What the trial that it retries, or an
                earlier run of its own, had recorded is taken back then.
            trial: The trial.
            system_attrs: Its system attrs.
            identity: The study's identity.
        """
        record = None
        if mixed is not None:
            record = {**vars(mixed), "number": trial.number, "token": identity.token}
        if system_attrs.get(MIXED.key) != record:
            MIXED.write_to_trial(trial.study, trial, record)
