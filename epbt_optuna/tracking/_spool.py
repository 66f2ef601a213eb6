"""What training and the courier share: where to deliver, and a file of what is to be delivered.

Training appends and never waits; the courier reads when it can. However long a server is down, what
waits is on disk, not in memory.
"""

from __future__ import annotations

import pickle
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.study import StudyDirection

from epbt_optuna.population import Generations

__all__ = ["Address", "Spool", "SpoolReader"]

_SIZE_BYTES = 8


@dataclass(frozen=True)
class Address:
    """Which study goes where.

    Attributes:
        tracking_uri: MLflow's tracking server or database; None: as the environment says.
        experiment: Name of the experiment.
        study_name: Name of the study.
        study_key: Identifies the study in MLflow; the same in every process.
        start: When the study's first trial began, in milliseconds since 1970.
        directions: Of the study.
        generations: Its arithmetic; None if no sampler of ours breeds in it.
        storage: The pickled storage; None if only the study's own process can read it.
        pictures_every: Generations between two sets of pictures; 0: none.
        log_checkpoints: Whether checkpoints become MLflow models.
        everything: Whether what other processes have just finished is delivered too.
    """

    tracking_uri: str | None
    experiment: str
    study_name: str
    study_key: str
    start: int
    directions: tuple[StudyDirection, ...]
    generations: Generations | None
    storage: bytes | None
    pictures_every: int
    log_checkpoints: bool
    everything: bool

    @property
    def where(self) -> str:
        """The server, for messages: without a password."""
        if self.tracking_uri is None:
            return "the default tracking URI"
        return re.sub(r"//[^/@]*@", "//", self.tracking_uri)


class Spool:
    """The writing end: a new file of pickled objects, each behind its size."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._lock = threading.Lock()

    def append(self, item: Any) -> None:
        """Append one object; it survives the end of this process, whatever kind of end."""
        data = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
        with self._lock:
            self._file.write(len(data).to_bytes(_SIZE_BYTES, "big") + data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SpoolReader:
    """The reading end: objects in the order in which they were appended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def next(self) -> Any | None:
        """Return the next object; None if there is none yet, or it is not all there."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            head = file.read(_SIZE_BYTES)
            size = int.from_bytes(head, "big")
            data = file.read(size)
        if len(head) < _SIZE_BYTES or len(data) < size:
            return None
        self._offset += _SIZE_BYTES + size
        return pickle.loads(data)
