"""One value a study, for objects that serve several: samplers, pruners, checkpoint stores."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from optuna import Study
from optuna.storages import BaseStorage

from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import forget_finished_trials, storage_of, study_id_of

__all__ = ["PerStudy", "empty_dict"]

_T = TypeVar("_T")


class PerStudy(Generic[_T]):
    """Makes a value for a study when it is first asked for, and keeps it while its storage lives.

    A study is known by its token: its id may have been that of a study since deleted, and what is
    known of that one would be wrong for it. A study without a token gets a new value each time.
    What is kept can all be read from the study again, so a pickled copy starts empty.

    Args:
        make: Makes the value for a study. Must be picklable if the owner is.
    """

    def __init__(self, make: Callable[[Study], _T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        # Of each storage: for each token, the study's id and the value.
        self._values: weakref.WeakKeyDictionary[BaseStorage, dict[str, tuple[int, _T]]]
        self._values = weakref.WeakKeyDictionary()

    def __call__(self, study: Study, identity: StudyIdentity | None = None) -> _T:
        """Return the value of this study.

        Args:
            study: The study.
            identity: Its identity, if it has just been read.
        """
        token = (identity or StudyIdentity.of(study)).token
        if token is None:
            return self._make(study)
        with self._lock:
            values = self._values.setdefault(storage_of(study), {})
            if token not in values:
                study_id = study_id_of(study)
                deleted = [key for key, (id_, _) in values.items() if id_ == study_id]
                for key in deleted:
                    del values[key]
                if deleted:  # Optuna's cache still has the trials of that study under this id
                    forget_finished_trials(study)
                values[token] = study_id, self._make(study)
            return values[token][1]

    def __reduce__(self) -> tuple[type[PerStudy[_T]], tuple[Callable[[Study], _T]]]:
        return PerStudy, (self._make,)


def empty_dict(_: Study) -> dict[Any, Any]:
    """Make what is filled by whoever reads the study; picklable, as `make` must be."""
    return {}
