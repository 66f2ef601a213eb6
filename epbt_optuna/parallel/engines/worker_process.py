"""What a worker process does, from its start to its end.

It has one pipe to the driver. Out of it come, one after the other: what all trials have in common,
ids of trials, and None, after which the process ends. What it writes is None, when it has imported
the driver's script, and then an `Answer` to each message: when all is loaded, and for each trial.

None while a trial runs, together with SIGINT, is the driver's interrupt. SIGINT alone is a Ctrl-C
in a terminal, which reaches all processes of the run: what it means, the driver decides. Every
other signal does what it does anywhere: SIGTERM ends the process.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from types import FrameType
from typing import NamedTuple

import optuna
from optuna import Trial

from epbt_optuna.parallel.devices import Slot, pin_to_device
from epbt_optuna.parallel.engines.pickling import loaded, packed
from epbt_optuna.parallel.worker import Objective, Outcome

__all__ = ["Answer", "die_with_parent", "serve"]

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


class Answer(NamedTuple):
    """What a worker process says to one message of the driver.

    Attributes:
        outcome: A packed `Outcome`.
        sound: False where the process should not run another trial.
    """

    outcome: bytes
    sound: bool = True


def serve(connection: Connection, slot: Slot, verbosity: int) -> None:
    """Run the trials whose ids come out of the pipe, until None does or the driver is gone."""
    _end_with_parent()
    interruptible = _Interruptible(connection)
    signal.signal(signal.SIGINT, interruptible.interrupt)
    with suppress(EOFError, ConnectionError):
        connection.send(None)
        try:
            optuna.logging.set_verbosity(verbosity)
            pin_to_device(slot)
            work = loaded(connection.recv_bytes())
        except Exception as error:
            connection.send(Answer(packed(Outcome(traceback.format_exc(), error)), sound=False))
            return
        interruptible.objective = work.objective
        work = replace(work, objective=interruptible)
        connection.send(Answer(packed(Outcome())))
        while (trial_id := connection.recv()) is not None:
            outcome = work.run(trial_id)
            sound = outcome.failure is None or _cuda_answers()
            connection.send(Answer(packed(outcome), sound))


class _Interruptible:
    """The objective, which the driver's interrupt cuts short; what tells the trial, it does not.

    Python calls the handler in the main thread, which is the one that runs the objective, between
    two of its instructions. An interrupt that comes before the objective waits for it in the pipe.
    """

    def __init__(self, connection: Connection) -> None:
        self.objective: Objective
        self._connection = connection
        self._process = os.getpid()
        self._running = False

    def __call__(self, trial: Trial) -> object:
        try:
            self._running = True
            if self._connection.poll():
                raise KeyboardInterrupt
            return self.objective(trial)
        finally:
            self._running = False
            if os.getpid() != self._process:
                # A child that the objective forked has left it by another way than `os._exit`: by
                # an error or `sys.exit`. The trial is not its to tell.
                if isinstance(error := sys.exc_info()[1], Exception):
                    traceback.print_exception(error)
                os._exit(1)

    def interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        # While a trial runs, nothing but the driver's None comes out of the pipe, and this thread
        # does not read from it: it is in the objective.
        if self._running and self._connection.poll():
            raise KeyboardInterrupt


def _cuda_answers() -> bool:
    """Return whether this process's CUDA context still works, if it has one.

    After an error on the device, such as a failed assertion, it never does again: every trial
    fails, and in no time.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except Exception:
        return False
    return True


def _end_with_parent() -> None:
    """See to it that this process does not outlive the driver, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        # The pipe that tells of the driver's end is held open by children that it forked.
        while parent.is_alive() and os.getppid() == parent.pid:
            parent.join(1.0)
        os._exit(1)

    die_with_parent()
    # Elsewhere than on Linux this is all there is.
    threading.Thread(target=wait, daemon=True).start()


def die_with_parent() -> None:
    """Let Linux kill this process when its parent ends, be this one stopped or busy in C code.

    The kernel means the thread that started it. That is one of the engine's or the one that runs
    `optimize`, which end after their processes, or the one thread of a fork server.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
