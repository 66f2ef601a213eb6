"""Where a study goes in MLflow, by which key it is found there, and what an error there means."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from optuna import Study
from optuna.exceptions import StorageInternalError

from epbt_optuna._internal.optuna import read_study_attr, read_trial, write_study_attr

__all__ = ["Destination", "TrackingError", "absolute", "describe", "is_temporary", "study_keys"]

_KEY = "epbt:tracking"
_SQLITE = "sqlite:///"
_LONGEST_TEXT = 300
_TEMPORARY = {
    "ABORTED",
    "DEADLINE_EXCEEDED",
    "INTERNAL_ERROR",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_CONFLICT",
    "TEMPORARILY_UNAVAILABLE",
}
"""MLflow's codes for errors that pass."""


class TrackingError(RuntimeError):
    """Something could not be brought to MLflow; the message says what, why and what to do."""


@dataclass(frozen=True)
class Destination:
    """What a tracker was told.

    Attributes:
        tracking_uri: MLflow's tracking server or database; None: what MLflow is set to.
        experiment: Name of the experiment; None: the study's name.
        pictures_every: Generations between two sets of pictures; 0: none.
        log_checkpoints: Whether checkpoints become MLflow models.
    """

    tracking_uri: str | None
    experiment: str | None
    pictures_every: int
    log_checkpoints: bool

    @property
    def where(self) -> str:
        """The server, for messages: without a password."""
        if self.tracking_uri is None:
            return "the default tracking URI"
        return re.sub(r"//[^/@]*@", "//", self.tracking_uri)

    @property
    def sqlite_file(self) -> str | None:
        """The database's file, if it is SQLite's."""
        uri = self.tracking_uri or ""
        return uri.removeprefix(_SQLITE).split("?")[0] if uri.startswith(_SQLITE) else None


def absolute(tracking_uri: str | None) -> str | None:
    """Return a tracking URI that means the same after a change of the working directory.

    Args:
        tracking_uri: As given; None: what the environment says, if it does.
    """
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or None
    if uri is None or not uri.startswith(_SQLITE):
        return uri
    path = uri.removeprefix(_SQLITE)
    is_file = path and not path.startswith((":memory:", "file:"))
    return f"{_SQLITE}{Path(path).absolute()}" if is_file else uri


def study_keys(study: Study) -> tuple[str, ...]:
    """Return by which keys the study's parent run may be found.

    Returns:
        First the key that a new parent run is made with, then older ones, under which there may be
        one already. The same in every process, and no other study has them.
    """
    key = read_study_attr(study, _KEY)
    first = read_trial(study, 0)
    start = None if first is None else first.datetime_start
    by_start = hashlib.sha256(
        f"{study.study_name}\n{start}".encode(errors="surrogatepass")
    ).hexdigest()[:16]
    if key is None and start is not None:
        return (by_start,)
    if key is None:  # no trial has begun, so nothing there is can tell this study from others
        key = secrets.token_hex(8)
        write_study_attr(study, _KEY, key)
    return (str(key), by_start)


def is_temporary(error: BaseException) -> bool:
    """Tell whether an error says that a server is down, and not that it refuses."""
    code = getattr(error, "error_code", None)
    if code is not None:
        return code in _TEMPORARY
    return isinstance(error, OSError | StorageInternalError)


def describe(error: BaseException) -> str:
    """Return the type and the text of an error, in one line that is not too long."""
    if isinstance(error, TrackingError):
        return str(error)
    text = " ".join(str(error).split())
    cut = f"{text[:_LONGEST_TEXT]}…" if len(text) > _LONGEST_TEXT else text
    return f"{type(error).__name__}: {cut}"
