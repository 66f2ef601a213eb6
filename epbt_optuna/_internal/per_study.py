"""One value a study, for objects that are used with several: samplers and checkpoint stores."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from optuna import Study
from optuna.storages import BaseStorage

from epbt_optuna._internal.optuna import storage_of, study_id_of

__all__ = ["PerStudy"]

_T = TypeVar("_T")


class PerStudy(Generic[_T]):
    """Makes a value for a study when it is first asked for, and keeps it while its storage lives.

    What it keeps can all be read from the study again, so a pickled copy starts empty.

    Args:
        make: Makes the value for a study. Must be picklable if the owner is.
    """

    def __init__(self, make: Callable[[Study], _T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._values: weakref.WeakKeyDictionary[BaseStorage, dict[int, _T]]
        self._values = weakref.WeakKeyDictionary()

    def __call__(self, study: Study) -> _T:
        """Return the value of this study."""
        with self._lock:
            values = self._values.setdefault(storage_of(study), {})
            study_id = study_id_of(study)
            if study_id not in values:
                values[study_id] = self._make(study)
            return values[study_id]

    def __reduce__(self) -> tuple[type[PerStudy[_T]], tuple[Callable[[Study], _T]]]:
        return PerStudy, (self._make,)
