"""Where an individual comes from, as its trial records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from epbt_optuna._internal.attrs import LINEAGE, AttrError, pass_over
from epbt_optuna._internal.identity import StudyIdentity

__all__ = ["Lineage"]


@dataclass(frozen=True)
class Lineage:
    """Where an individual comes from: the one record its trial carries, written at ask.

    Attributes:
        number: The trial's number.
        generation: The generation that this number makes it part of.
        parent: Number of the trial whose weights and genome are inherited; None for a founder.
        mate: Number of the other parent in crossover, if there was one.
        elite: Whether the individual is its parent, who goes on training with its own genome. It
            has no mate then. An offspring may lack one too, so the record has to say it.
    """

    number: int
    generation: int
    parent: int | None = None
    mate: int | None = None
    elite: bool = False

    @classmethod
    def recorded(
        cls, number: int, system_attrs: Mapping[str, Any], identity: StudyIdentity | None = None
    ) -> Lineage | None:
        """Return the lineage in a trial's system attrs; None if no sampler of ours bred it here.

        Args:
            number: The trial's number.
            system_attrs: Its system attrs. Until it is asked, a retry has those of the trial that
                was cut off.
            identity: The study's. A record that was written in another study says nothing in this
                one. Default: the record is taken as it is.

        Raises:
            AttrError: The attr is no lineage, or names a parent or mate that came later.
        """
        record = LINEAGE.of_trial(number, system_attrs)
        if record is None:
            return None
        token, written_for = record.pop("token"), record.pop("number")
        if identity is not None and not identity.knows(token, written_for, number, system_attrs):
            return None
        lineage = cls(number, **{**record, "elite": bool(record["elite"])})
        for relative in lineage.parents:
            if not 0 <= relative < number:  # so every walk along parents ends
                problem = f"its parent or mate, trial {relative}, does not come before it"
                raise LINEAGE.unreadable(f"Trial {number}", problem)
        return lineage

    @classmethod
    def readable(
        cls, number: int, system_attrs: Mapping[str, Any], identity: StudyIdentity
    ) -> Lineage | None:
        """Return what `recorded` does; None, and one line in the log, where that would raise.

        For whoever can do without it. Who inherits weights by the record is told by an error.
        """
        try:
            return cls.recorded(number, system_attrs, identity)
        except AttrError as error:
            pass_over(str(error))
            return None

    def record(self, token: str | None) -> dict[str, Any]:
        """Return what is recorded in the trial, under the study's token."""
        record = {**vars(self), "token": token}
        if not self.elite:  # as in every study whose elites stand still
            del record["elite"]
        return record

    @property
    def parents(self) -> tuple[int, ...]:
        """The numbers of parent and mate, as far as there are any."""
        return tuple(number for number in (self.parent, self.mate) if number is not None)
