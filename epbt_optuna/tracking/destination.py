"""Where a study goes in MLflow, by which keys it is found there, and what an error there means."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from optuna import Study
from optuna.exceptions import StorageInternalError

from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial

__all__ = [
    "Destination",
    "TrackingError",
    "absolute",
    "describe",
    "is_temporary",
    "study_keys",
    "without_password",
]

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


def study_keys(study: Study, identity: StudyIdentity) -> tuple[str, ...]:
    """Return by which keys the study's parent run may be found.

    Returns:
        The study's tokens, with the first of which a new parent run is made; then, unless it is a
        copy of another study, the key that version 0.1 made of its name and its first trial.
    """
    first = read_trial(study, 0)
    if identity.lent or first is None or first.datetime_start is None:
        return identity.own
    text = f"{study.study_name}\n{first.datetime_start}".encode(errors="surrogatepass")
    return (*identity.own, hashlib.sha256(text).hexdigest()[:16])


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
