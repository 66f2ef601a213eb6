"""`optimize`: checks what the user wants, then lets a driver and an engine do it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, get_args

from optuna import Study

from epbt_optuna._internal.checks import check_integer, check_number, checked_catch
from epbt_optuna._internal.optuna_loop import check_not_optimizing, forget_stop, optimizing
from epbt_optuna.parallel.devices import Slot, make_slots
from epbt_optuna.parallel.driver import Callback, Driver
from epbt_optuna.parallel.engines.fork_server import can_fork
from epbt_optuna.parallel.engines.processes import Processes, check_not_imported
from epbt_optuna.parallel.engines.protocol import Engine
from epbt_optuna.parallel.engines.threads import Threads
from epbt_optuna.parallel.interrupts import Interrupts
from epbt_optuna.parallel.progress import Progress
from epbt_optuna.parallel.queue import TrialQueue
from epbt_optuna.parallel.worker import Objective, Work
from epbt_optuna.samplers.wrappers import check_study, generation_sampler

if TYPE_CHECKING:
    import torch

__all__ = ["optimize"]

EngineName = Literal["process", "ray", "thread"]
StartMethod = Literal["forkserver", "spawn"]


def optimize(
    study: Study,
    objective: Objective,
    n_trials: int | None = None,
    *,
    n_generations: int | None = None,
    workers: int | None = None,
    devices: Sequence[str | torch.device] | None = None,
    workers_per_device: int = 1,
    barrier: bool = True,
    engine: EngineName = "process",
    start_method: StartMethod | None = None,
    ray_options: Mapping[str, Any] | None = None,
    callbacks: Iterable[Callback] | None = None,
    catch: Iterable[type[Exception]] | type[Exception] = (),
    timeout: float | None = None,
    show_progress_bar: bool = True,
) -> None:
    """Optimize an objective with many workers, one generation after the other.

    The counterpart of `study.optimize` for several processes, devices or machines. This process
    asks trials and calls the callbacks; workers run the objective. With the barrier, the same
    seed gives the same study for any number of workers and every engine, as long as the
    objective depends on its trial alone (a pruner that compares running trials does not).

    Args:
        study: The study. Its storage must be reachable from the workers: with threads any will
            do, with processes not one in memory, on several machines a database server.
        objective: As for `study.optimize`. It may be a closure; with processes it is pickled
            (by cloudpickle) once for each worker.
        n_trials: How many more trials to run, as for `study.optimize`.
        n_generations: How many generations the study is to have in the end, generation 0
            included: the same command resumes a run, and returns at once when it is done. The
            study's sampler must be one of this package, or have one inside.
        workers: How many trials run at a time, spread over the devices. Default: one a device,
            or one a core where there is no GPU.
        devices: One device a worker, such as `["cuda:0", "cuda:0", "cuda:1"]`, `["mps"]`,
            `["xpu:0"]` or `["cpu"] * 4`; `"cuda"` is the first one. Inside the objective,
            `current_device()` is the worker's. Default: all CUDA devices there are, otherwise the
            CPU.
        workers_per_device: How many workers share a device.
        barrier: True: Algorithm 1 to the letter, a generation begins when the last one has
            finished. False: no worker ever idles, and offspring breed from those of the last
            generation that have finished.
        engine: `"process"`: processes on this machine. A worker that dies fails its trial and is
            replaced; one whose trials fail twice in a row, too. `"thread"`: threads, for objectives
            that wait or compute outside of Python's lock. `"ray"`: tasks on a Ray cluster.
        start_method: How processes start. `"spawn"`: each imports everything. `"forkserver"`: a
            process that has imported NumPy, torch and the like, as far as this one has, forks them;
            each then imports the script. Nothing of the script's is shared, and functions that were
            registered with `atexit` are not called. Default: `"forkserver"` on Linux where all
            devices are the CPU, else `"spawn"`.
        ray_options: Resources of a trial on Ray, such as `{"num_gpus": 0.25}`.
        callbacks: Called in this process with the study and each finished trial, one at a time.
        catch: Exceptions of the objective that fail their trial but do not end the run.
        timeout: Seconds after which no more trials are asked; those that run are finished.
        show_progress_bar: Show a bar if the standard error stream is a terminal. Else every trial
            has a line in Optuna's log, as in `study.optimize`.

    Raises:
        TypeError: An argument is of the wrong type, or cannot be pickled for processes.
        ValueError: An argument is out of range or contradicts another, a device does not exist,
            other processes cannot reach the storage, or the study is not one that its sampler
            can go on with.
        RuntimeError: It is called by an objective or a callback of the same study, by a script
            that worker processes import, or cannot; or workers cannot be had, or end too often
            before their trials do.
        KeyboardInterrupt: Ctrl-C. Trials that run are failed (threads: finished), and the same
            call resumes.

    Example:
        ```python
        if __name__ == "__main__":  # worker processes import this file
            epbt_optuna.parallel.optimize(study, objective, n_generations=25, workers=8)
        ```
    """
    check_not_imported()
    check_not_optimizing(study)
    _check_amount(study, n_trials, n_generations)
    check_study(study)
    if timeout is not None:
        check_number("timeout", timeout, at_least=0)
    queue = TrialQueue(study, n_trials, n_generations)
    make_engine = _engine_maker(
        engine, workers, devices, workers_per_device, start_method, ray_options, queue.n_trials
    )
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    work = Work(study, objective, checked_catch(catch))
    if queue.is_done:
        return
    forget_stop(study)
    with (
        Interrupts() as interrupts,
        optimizing(study),
        closing(Progress(study, queue.n_trials, show_progress_bar)) as progress,
    ):
        with interrupts.let_through():  # workers may take a while to start
            running = make_engine(work, progress)
        with closing(running):
            Driver(
                study,
                running,
                queue,
                interrupts,
                progress,
                barrier=barrier,
                callbacks=tuple(callbacks or ()),
                deadline=deadline,
            ).run()


def _engine_maker(
    name: str,
    workers: int | None,
    devices: Sequence[str | torch.device] | None,
    workers_per_device: int,
    start_method: StartMethod | None,
    ray_options: Mapping[str, Any] | None,
    n_trials: int,
) -> Callable[[Work, Progress], Engine]:
    """Check what says which workers there are to be, and return what makes them.

    No more are made than there are trials.
    """
    if name not in get_args(EngineName):
        raise ValueError(f"`engine` must be one of {get_args(EngineName)} but got {name!r}.")
    if name != "process" and start_method is not None:
        raise ValueError(f"`start_method` is for engine='process' but `engine` is {name!r}.")
    if name != "ray":
        if ray_options is not None:
            raise ValueError(f"`ray_options` are for engine='ray' but `engine` is {name!r}.")
        slots = make_slots(workers, devices, workers_per_device)[:n_trials]
        if name == "thread":
            return lambda work, _: Threads(work, slots)
        forks = _is_to_fork(start_method, slots)
        return lambda work, progress: Processes(work, slots, progress.show_start, forks=forks)
    if devices is not None or workers_per_device != 1:
        raise ValueError(
            "`devices` and `workers_per_device` are not for engine='ray', where Ray gives each "
            "trial its device: use `ray_options`, such as {'num_gpus': 0.25}."
        )
    if workers is not None:
        check_integer("workers", workers, at_least=1)
    from epbt_optuna.parallel.engines.ray import RayTasks  # Ray is an extra

    return lambda work, _: RayTasks(work, workers=workers, ray_options=ray_options)


def _is_to_fork(start_method: StartMethod | None, slots: Sequence[Slot]) -> bool:
    if start_method is not None and start_method not in get_args(StartMethod):
        raise ValueError(
            f"`start_method` must be one of {get_args(StartMethod)} or None but got "
            f"{start_method!r}."
        )
    if start_method == "forkserver" and not can_fork(slots):
        raise ValueError(
            "`start_method` must be 'spawn' or None elsewhere than on Linux, and with devices "
            f"other than the CPU, but got {start_method!r}."
        )
    return start_method != "spawn" and can_fork(slots)


def _check_amount(study: Study, n_trials: int | None, n_generations: int | None) -> None:
    if (n_trials is None) == (n_generations is None):
        raise ValueError(
            "Exactly one of `n_trials` and `n_generations` must be given but got "
            f"{n_trials} and {n_generations}."
        )
    if n_trials is not None:
        check_integer("n_trials", n_trials, at_least=0)
        return
    check_integer("n_generations", n_generations, at_least=1)
    if generation_sampler(study.sampler) is None:
        raise TypeError(
            "`n_generations` is for studies whose sampler is an EPBTSampler or a PBTSampler but "
            f"this one's is a {type(study.sampler).__name__}: use `n_trials`."
        )
