"""Where a study goes in MLflow, by which keys it is found there, and what an error there means."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from optuna import Study
from optuna.exceptions import StorageInternalError

from epbt_optuna._internal.optuna import read_study_attr, read_trial, write_study_attr

__all__ = [
    "Destination",
    "TrackingError",
    "absolute",
    "describe",
    "is_temporary",
    "study_keys",
    "without_password",
]

_KEY = "epbt:tracking"
_SQLITE = "sqlite:///"
_TEMPORARY = {  # MLflow's codes for errors that pass
    "ABORTED",
    "DEADLINE_EXCEEDED",
    "INTERNAL_ERROR",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_CONFLICT",
    "TEMPORARILY_UNAVAILABLE",
}


class TrackingError(RuntimeError):
    """Something could not be brought to MLflow; the message says what, why and what to do."""


class Destination(NamedTuple):
    """What a tracker was told (see `MLflowTracker`)."""

    tracking_uri: str | None
    experiment: str | None
    log_checkpoints: bool
    pictures_every: int

    @property
    def where(self) -> str:
        """The server, for messages."""
        return without_password(self.tracking_uri or "the default tracking URI")


def without_password(uri: str) -> str:
    """Return a URI as it may be shown."""
    return re.sub(r"//[^/@]*@", "//", uri)


def absolute(uri: str) -> str:
    """Return a tracking URI that means the same after a change of the working directory."""
    path = uri.removeprefix(_SQLITE)
    if path == uri or not path or path.startswith((":memory:", "file:")):
        return uri
    return f"{_SQLITE}{Path(os.path.abspath(path))}"


def study_keys(study: Study) -> tuple[str, ...]:
    """Return by which keys the study's parent run may be found.

    Returns:
        First the key that a new parent run is made with, then older ones, under which there may be
        one already. They are the same in every process, and no other study has them.
    """
    key = read_study_attr(study, _KEY)
    first = read_trial(study, 0)
    start = None if first is None else first.datetime_start
    text = f"{study.study_name}\n{start}".encode(errors="surrogatepass")
    by_start = hashlib.sha256(text).hexdigest()[:16]
    if key is None and start is not None:
        return (by_start,)
    if key is None:  # no trial has begun, so nothing there is can tell this study from others
        key = secrets.token_hex(8)
        write_study_attr(study, _KEY, key)
    return (str(key), by_start)


def is_temporary(error: BaseException) -> bool:
    """Tell whether an error says that a server is down, and not that it refuses."""
    code = getattr(error, "error_code", None)  # of MLflow's errors
    if code is None:
        return isinstance(error, OSError | StorageInternalError)
    return code in _TEMPORARY


def describe(error: BaseException) -> str:
    """Return the type and the text of an error, in one line that is not too long."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{'…' if len(text) > 300 else ''}"
