"""Studies whose records anybody wrote: what readers must survive, or name."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import optuna
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial

from epbt_optuna._internal import attrs
from epbt_optuna._internal.attrs import Attr
from epbt_optuna._internal.optuna import read_study_attrs, study_id_of, write_study_attr

__all__ = ["Snapshot", "at_most", "damages"]

_OPTUNAS = ("failed_trial", "retry_history")  # what we read besides

_numbers = st.integers(-3, 20) | st.integers() | st.floats()
_anything = st.recursive(
    st.none() | st.booleans() | _numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@dataclass(frozen=True)
class Snapshot:
    """A study as it was, of which damaged copies are made: same name, same id, same trials."""

    study: optuna.Study
    trials: tuple[FrozenTrial, ...] = field(repr=False)
    study_attrs: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, study: optuna.Study) -> Snapshot:
        return cls(study, tuple(study.get_trials()), dict(read_study_attrs(study)))

    def damaged(self, changes: dict[tuple[int | None, str], Any]) -> optuna.Study:
        """Return a copy with other values of attrs, by the trial's number (None: the study's)."""
        study = optuna.create_study(
            study_name=self.study.study_name,
            directions=self.study.directions,
            storage=InMemoryStorage(),
        )
        assert study_id_of(study) == study_id_of(self.study)
        changed = {key: value for (number, key), value in changes.items() if number is None}
        for key, value in {**self.study_attrs, **changed}.items():
            write_study_attr(study, key, value)
        for trial in self.trials:
            changed = {key: v for (number, key), v in changes.items() if number == trial.number}
            copy = optuna.trial.create_trial(
                state=trial.state,
                values=trial.values,
                params=trial.params,
                distributions=trial.distributions,
                intermediate_values=trial.intermediate_values,
                system_attrs={**trial.system_attrs, **changed},
            )
            study.add_trial(copy)
        return study


@st.composite
def damages(draw: st.DrawFn, snapshot: Snapshot) -> dict[tuple[int | None, str], Any]:
    """Return up to three changes of records: anything, or what is there with other fields."""
    keys = [value.key for value in vars(attrs).values() if isinstance(value, Attr)]
    changes: dict[tuple[int | None, str], Any] = {}
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.none() | st.sampled_from([trial.number for trial in snapshot.trials]))
        there = snapshot.study_attrs if number is None else snapshot.trials[number].system_attrs
        key = draw(st.sampled_from([*there, *keys, *_OPTUNAS]))
        key += "x" if key.endswith(":") else ""
        changes[number, key] = draw(_anything | _changed(there.get(key)))
    return changes


def _changed(value: Any) -> st.SearchStrategy[Any]:
    """Return a record with other values in some of its fields, or fields that it lacks."""
    if not isinstance(value, dict):
        return st.just(value)
    names = st.sampled_from([*value, "version", "unknown"])
    others = st.dictionaries(names, _numbers | st.none() | _anything, min_size=1, max_size=3)
    lost = st.sets(st.sampled_from([*value]), max_size=1)
    return st.builds(
        lambda other, gone: {k: v for k, v in {**value, **other}.items() if k not in gone},
        others,
        lost,
    )


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fail where something loops."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError("It loops.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
