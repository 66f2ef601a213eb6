"""The courier, seen from training: a process that takes finished trials and delivers them.

A process and not a thread: MLflow's client costs 10 to 20 ms of Python for each trial, which a
thread would take from training, as both need the interpreter's lock. A process has a core of its
own, steps back where there is none (`nice`), and outlives a training process that is killed.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from optuna.trial import FrozenTrial

from epbt_optuna.tracking._spool import Address, Spool

__all__ = ["END", "INCOMPLETE", "Courier", "TrackingError"]

END = "end"
"""The last item of a spool."""
INCOMPLETE = 3
"""The exit status of a courier that could not deliver everything, and has said so."""

_logger = logging.getLogger("epbt_optuna.tracking")
_SILENT = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Retries are ours: MLflow's own repeat a request to create a run that may have been obeyed.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MPLBACKEND": "agg",
}


class TrackingError(RuntimeError):
    """Something could not be brought to MLflow; the message says what, why and what to do."""


class Courier:
    """Starts the process, hands trials over, and passes on what it has to say.

    Args:
        address: Where to deliver.
        finished: For a study that only this process can read: returns its finished trials. Those
            that nobody handed over are taken along at the end: Optuna calls nobody back for a trial
            whose error ends the run.
    """

    def __init__(self, address: Address, finished: Callable[[], Iterable[FrozenTrial]]) -> None:
        self.last_warning = ""
        self._finished = finished
        self._handed_over: set[int] = set()
        self._pid = os.getpid()
        self._folder = Path(tempfile.mkdtemp(prefix="epbt-mlflow-"))
        self._spool = Spool(self._folder / "spool")
        self._spool.append(address)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "epbt_optuna.tracking._program", str(self._folder)],
                stdin=subprocess.PIPE,  # ends with this process, however that ends
                stdout=subprocess.PIPE,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    **_SILENT,
                },
                start_new_session=True,  # Ctrl-C is for training: what was done is still delivered
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def hand_over(self, trial: FrozenTrial) -> None:
        """Leave a finished trial to the courier; returns at once."""
        self._spool.append(trial)
        self._handed_over.add(trial.number)

    def close(self) -> bool:
        """Wait until all is delivered; return whether it was.

        Where the server is down the courier gives up after a few seconds, and has said so.
        """
        if self._pid != os.getpid():  # a fork's copy: the process is its parent's
            return True
        atexit.unregister(self.close)
        if self._process.stdin is not None and not self._process.stdin.closed:
            for trial in self._finished():
                if trial.number not in self._handed_over:
                    self._spool.append(trial)
            self._spool.append(END)
            self._spool.close()
            with suppress(BrokenPipeError):  # it has ended before us, and its status will tell
                self._process.stdin.write(b"\n")  # a fork of ours may hold the pipe open
                self._process.stdin.close()
        status = self._process.wait()
        self._listener.join()
        if status not in (0, INCOMPLETE):
            self._warn(
                f"The process that delivers to MLflow ended with status {status}; "
                f"`MLflowTracker.sync(study)` delivers what is missing. {self._log()}"
            )
        shutil.rmtree(self._folder, ignore_errors=True)
        return status == 0

    def _log(self) -> str:
        """Return the end of what the process wrote to its standard error stream."""
        with suppress(OSError):
            return (self._folder / "log").read_text(errors="replace")[-2000:]
        return ""

    def _listen(self) -> None:
        """Log what the courier says: JSON lines, a level and a text each."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                level, text = json.loads(line)
                if level == "warning":
                    self._warn(text)
                else:
                    _logger.info(text)

    def _warn(self, text: str) -> None:
        self.last_warning = text
        _logger.warning(text)
