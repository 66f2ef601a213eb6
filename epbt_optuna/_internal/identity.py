"""Which study this is, and which of the records found in it are its own.

Records travel: `add_trials` brings the trials of another study along with all that they say,
`copy_study` a whole study; and a storage hands out the id of a deleted study again. So a study is
known by a token, drawn at its first ask and written into it together with the study's id and name.
Every record that a trial carries names the token it was written under.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna import Study

from epbt_optuna._internal.artifact_names import ArtifactName, new_token, prefix_of
from epbt_optuna._internal.attrs import FORMER_PREFIX, GENERATIONS, STUDY
from epbt_optuna._internal.optuna import read_study_attrs, study_id_of

__all__ = ["StudyIdentity", "retried_numbers"]

_NO_STUDY = -1  # an id that no storage gives


@dataclass(frozen=True)
class StudyIdentity:
    """A study's tokens, as they were when it was read. Nothing is cached by an id: see `_Latest`.

    Attributes:
        own: The tokens drawn for this very study, sorted. Storages cannot set an attr only where
            there is none, so workers that begin at one moment may each draw one; all are good.
        lent: Tokens that came with a copy of another study. Trial numbers are equal in a copy, so
            lineages of that token count; the bytes of checkpoints stay the other study's.
        n_adopted: Trials with lower numbers than this one need no token. They were asked before
            there were tokens; infinity in a study that has none yet.
        prefixes: What the names of the study's own checkpoints begin with.
        copied: For each token of a branch, its own first, the trials of which it has a copy.
    """

    own: tuple[str, ...]
    lent: tuple[str, ...]
    n_adopted: float
    prefixes: tuple[str, ...]
    copied: tuple[tuple[str, frozenset[int]], ...]

    @classmethod
    def of(cls, study: Study, study_attrs: Mapping[str, Any] | None = None) -> StudyIdentity:
        """Return the identity of a study, for readers: none is drawn.

        Args:
            study: The study.
            study_attrs: Its system attrs, if they have just been read.

        Raises:
            AttrError: An attr of the study does not hold what it must.
        """
        attrs = read_study_attrs(study) if study_attrs is None else study_attrs
        return _latest.of(study_id_of(study), study.study_name, attrs) or cls._parsed(study, attrs)

    @classmethod
    def _parsed(cls, study: Study, attrs: Mapping[str, Any]) -> StudyIdentity:
        tokens = STUDY.family(study, attrs)
        own = tuple(token for token, record in tokens.items() if _is_of(study, record))
        lent = tuple(token for token in tokens if token not in own)
        n_adopted = max((r["adopted"] or 0 for r in tokens.values()), default=math.inf)
        adopts = not tokens or any(tokens[token]["adopted"] for token in own)
        former = FORMER_PREFIX.family(study, attrs) if adopts else ()
        copied = tuple((t, frozenset(tokens[t]["copied"] or ())) for t in (*own, *lent))
        identity = cls(own, lent, n_adopted, (*map(prefix_of, own), *former), copied)
        _latest.keep(study_id_of(study), study.study_name, attrs, identity)
        return identity

    @classmethod
    def drawn(
        cls, study: Study, n_trials: int, study_attrs: Mapping[str, Any] | None = None
    ) -> StudyIdentity:
        """Return the identity of a study, for writers: with a token of its own.

        Args:
            study: The study.
            n_trials: How many trials were asked before; adopted if there were no tokens then.
            study_attrs: Its system attrs, if they have just been read.

        Raises:
            AttrError: An attr of the study does not hold what it must.
        """
        attrs = read_study_attrs(study) if study_attrs is None else study_attrs
        identity = cls.of(study, attrs)
        if identity.own:
            return identity
        # The generations are recorded after the token: who sees them without one sees a study of
        # version 0.1, and not one that another worker is just beginning.
        is_former = GENERATIONS.of_study(study, attrs) is not None and not identity.lent
        record = {
            "id": study_id_of(study),
            "name": study.study_name,
            "adopted": n_trials if is_former else 0,
        }
        STUDY.write_to_study(study, record, suffix=new_token())
        return cls.of(study)

    @classmethod
    def branch_off(cls, study: Study, token: str, n_trials: int, copied: Iterable[int]) -> None:
        """Give a study a token of its own, where it looks like another study from inside.

        All tokens that it has are lent from now on.

        Args:
            study: The study.
            token: Its new token.
            n_trials: How many trials were asked.
            copied: Those of which there are copies, at the places that `located` says.

        Raises:
            AttrError: An attr of the study does not hold what it must.
        """
        identity = cls.of(study)
        if not identity.own and not identity.lent:  # of version 0.1: it is to adopt its trials
            cls.drawn(study, n_trials)
        # Cut off between these writes, the study has no token of its own. Then it reads all bytes
        # that it had and removes none, and can be branched again.
        for former, record in STUDY.family(study, read_study_attrs(study)).items():
            known = {name: value for name, value in record.items() if value is not None}
            STUDY.write_to_study(study, {**known, "id": _NO_STUDY}, suffix=former)
        record = {"id": study_id_of(study), "name": study.study_name, "copied": sorted(copied)}
        STUDY.write_to_study(study, record, suffix=token)

    def located(self, number: int, record_token: str | None, artifact: str) -> str:
        """Return the name under which this study has the bytes that a trial's record names.

        A finished trial's record cannot be changed. So a branch copies lent bytes to names that
        follow from those in the records.

        Args:
            number: The trial's number.
            record_token: The token in the record.
            artifact: The name in the record.
        """
        name = ArtifactName.parsed(artifact)
        if name is not None and record_token not in self.own:
            for token, numbers in self.copied:
                if number in numbers:
                    return str(name.copied(token, number))
        return artifact

    def owns(self, artifact: str, trial: int) -> bool:
        """Return whether bytes that a trial's record names are the study's own, to be removed.

        A trial that was added from another study brings the record of that one's bytes along, and
        so does a copy of a whole study.
        """
        name = ArtifactName.parsed(artifact)
        return name is not None and name.prefix in self.prefixes and name.trial == trial

    @property
    def token(self) -> str | None:
        """The token that is written into new records; None for a study without any."""
        return self.own[0] if self.own else None

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens under which lineages are the study's, its own first."""
        return (*self.own, *self.lent)

    def knows(
        self,
        record_token: str | None,
        record_number: int | None,
        number: int,
        system_attrs: Mapping[str, Any],
    ) -> bool:
        """Return whether a trial's record was written for this trial, or one that it retries.

        Args:
            record_token: The token in the record; None in records from before tokens.
            record_number: The number of the trial that it was written for.
            number: The number of the trial that has it.
            system_attrs: What else that one has; Optuna copies the attrs of a trial that was cut
                off to the one that retries it.
        """
        numbers = {number, *retried_numbers(system_attrs)}
        if record_token is None:
            return min(numbers) < self.n_adopted and record_number in (None, *numbers)
        return record_token in self.tokens and record_number in numbers

    def wrote(self, record: Mapping[str, Any], number: int) -> bool:
        """Return whether a record with a number and a token is of this very trial of this study.

        It is not where the trial has it from the one that it retries, or from another study.
        """
        return record["number"] == number and record["token"] in self.tokens


class _Latest:
    """The identities that were read last, as long as all attrs they were read from are the same.

    Reading takes a tenth of an ask. An id alone would not do, since storages give it again.
    """

    def __init__(self) -> None:
        self._latest: dict[tuple[int, str], tuple[Mapping[str, Any], StudyIdentity]] = {}

    def of(self, study_id: int, name: str, attrs: Mapping[str, Any]) -> StudyIdentity | None:
        latest = self._latest.get((study_id, name))  # read once: another thread may keep another
        return latest[1] if latest is not None and latest[0] == attrs else None

    def keep(
        self, study_id: int, name: str, attrs: Mapping[str, Any], identity: StudyIdentity
    ) -> None:
        if len(self._latest) >= 16:  # studies that take turns are few
            self._latest.clear()
        self._latest[study_id, name] = dict(attrs), identity


_latest = _Latest()


def retried_numbers(system_attrs: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the trials that one with these attrs runs again, if it does.

    Optuna's heartbeat writes `failed_trial`, the first of them, and `retry_history`, all of them.
    """
    history = system_attrs.get("retry_history")
    recorded = [system_attrs.get("failed_trial"), *(history if isinstance(history, list) else ())]
    return [number for number in recorded if isinstance(number, int)]


def _is_of(study: Study, record: Mapping[str, Any]) -> bool:
    return bool(record["id"] == study_id_of(study) and record["name"] == study.study_name)
