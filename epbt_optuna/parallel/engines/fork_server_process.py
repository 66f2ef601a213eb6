"""What the process does that forks workers; see `fork_server.py`, the driver's side of it.

It has one thread and no state but the workers that it waits for. It dies with the driver, and they
with it.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import spawn
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from multiprocessing.reduction import recv_handle
from typing import Any, NamedTuple

from epbt_optuna.parallel.devices import Slot
from epbt_optuna.parallel.engines.worker_process import die_with_parent, serve

__all__ = ["Request", "main"]

_LOOK_SECONDS = 1.0


class Request(NamedTuple):
    """A worker that is to be forked; two handles come behind it, of its pipe and of its status.

    Attributes:
        name: Its name.
        preparation: What `multiprocessing` would tell a spawned process.
        slot: Its slot.
        verbosity: Optuna's.
    """

    name: str
    preparation: Mapping[str, Any]
    slot: Slot
    verbosity: int


def main(control: int, libraries: Sequence[str]) -> None:
    """Import the libraries, then fork workers until the driver is gone."""
    driver = os.getppid()
    die_with_parent()
    for name in libraries:
        with suppress(Exception):  # the worker that needs it says why
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # nothing of this is garbage in a worker, where looking at it would copy it
    if _may_fork():
        with suppress(EOFError, OSError):
            _serve_forks(Connection(control), driver)
    os._exit(0)


def _may_fork() -> bool:
    """Return whether what was imported leaves this a process that may be forked.

    A fork has one thread, and so whatever lock another one holds is never released in it. (The
    threads that OpenBLAS starts when it is loaded are none of Python's, and it ends them itself
    before a fork.) And a GPU that is in use is lost in a fork.
    """
    torch = sys.modules.get("torch")
    uses_gpu = torch is not None and torch.cuda.is_initialized()
    return threading.active_count() == 1 and not uses_gpu


def _serve_forks(requests: Connection, driver: int) -> None:
    workers: dict[ForkProcess, Connection] = {}
    while os.getppid() == driver:
        # A worker's own children hold its sentinel open, so it is looked at now and then.
        sentinels = [worker.sentinel for worker in workers]
        is_asked = requests in wait([requests, *sentinels], _LOOK_SECONDS)
        for worker in [worker for worker in workers if worker.exitcode is not None]:
            with workers.pop(worker) as status, suppress(OSError):
                status.send(worker.exitcode)
        if is_asked:
            request: Request = requests.recv()
            connection, status = (Connection(recv_handle(requests)) for _ in range(2))
            theirs = [requests, *workers.values(), status]  # their ends must not stay open in it
            worker = ForkProcess(
                target=_work, args=(request, connection, theirs), name=request.name
            )
            with connection:
                worker.start()
            workers[worker] = status
            with suppress(OSError):
                status.send(worker.pid)


def _work(request: Request, connection: Connection, theirs: Sequence[Connection]) -> None:
    """Become the process that `multiprocessing` would have spawned, and work."""
    for other in theirs:
        other.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores it
    if (random := sys.modules.get("numpy.random")) is not None:  # imported before the fork
        random.seed()  # else all workers draw the same; Python's own does it by itself
    process = multiprocessing.current_process()
    process._inheriting = True  # type: ignore[attr-defined]
    try:
        spawn.prepare(dict(request.preparation))  # imports the script
    finally:
        del process._inheriting  # type: ignore[attr-defined]
    serve(connection, request.slot, request.verbosity)
