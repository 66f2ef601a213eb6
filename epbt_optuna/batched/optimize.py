"""`optimize`: checks what the user wants, then lets a driver do it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from contextlib import closing

import torch
from optuna import Study

from epbt_optuna._internal.checks import (
    check_callable,
    check_integer,
    check_number,
    checked_catch,
)
from epbt_optuna._internal.optuna_loop import check_not_optimizing, forget_stop, optimizing
from epbt_optuna.batched.driver import Driver, Objective
from epbt_optuna.batched.recovery import driving, take_up
from epbt_optuna.checkpoints.store import CheckpointStore
from epbt_optuna.parallel.driver import Callback
from epbt_optuna.parallel.interrupts import Interrupts
from epbt_optuna.parallel.progress import Progress
from epbt_optuna.parallel.queue import TrialQueue
from epbt_optuna.samplers.wrappers import check_study, required_sampler

__all__ = ["optimize"]


def optimize(
    study: Study,
    objective: Objective,
    *,
    n_generations: int,
    checkpoints: CheckpointStore | None = None,
    max_batch: int | None = None,
    device: str | torch.device = "cpu",
    callbacks: Iterable[Callback] | None = None,
    catch: Iterable[type[Exception]] | type[Exception] = (),
    timeout: float | None = None,
    show_progress_bar: bool = False,
) -> None:
    """Optimize an objective that trains a whole generation at once, one after the other.

    The counterpart of `study.optimize` where many small networks are one: see `batched.stack`. The
    same seed gives the same study as one trial at a time does, up to rounding in the objective.
    (A pruner that compares running trials sees more of them.)

    One process drives the study. What it leaves RUNNING when it is killed or interrupted, the same
    call goes on with, as if nothing had happened; in another process once that one is gone, on the
    machine of the same name. Trials that others run are left alone.

    Args:
        study: The study. Its sampler must be an `EPBTSampler` or a `PBTSampler`, or have one
            inside.
        objective: Called with a `Generation`; returns the values of its trials, of shape (P,): a
            tensor, an array or a list. NaN fails that trial alone, `optuna.TrialPruned` prunes
            all that are alive, another exception fails them.
        n_generations: How many generations the study is to have in the end, generation 0
            included: the same command resumes a run, and returns at once when it is done.
        checkpoints: What `Generation.inherit` and `save` use.
        max_batch: The most trials that are trained at once, where a generation does not fit into
            memory. Default: a whole generation.
        device: Where the `Generation` makes its tensors.
        callbacks: Called with the study and each finished trial, by number, when the whole batch
            has been told.
        catch: Exceptions of the objective that fail their batch but do not end the run.
        timeout: Seconds after which no more batches are begun.
        show_progress_bar: Show a bar if the standard error stream is a terminal. Else every trial
            has a line in Optuna's log, as in `study.optimize`.

    Raises:
        TypeError: An argument is of the wrong type, or the study's sampler is another one.
        ValueError: An argument is out of range, or the study is not one that its sampler can go
            on with.
        RuntimeError: It is called by an objective or a callback of the same study, or another
            process drives the study in batches.
        KeyboardInterrupt: Ctrl-C. The same call goes on with the batch.

    Example:
        ```python
        batched.optimize(study, objective, n_generations=25, checkpoints=checkpoints)
        ```
    """
    check_not_optimizing(study)
    check_callable("objective", objective, "generation")
    check_integer("n_generations", n_generations, at_least=1)
    if checkpoints is not None and not isinstance(checkpoints, CheckpointStore):
        raise TypeError(f"`checkpoints` must be a CheckpointStore but got {checkpoints!r}.")
    if max_batch is not None:
        check_integer("max_batch", max_batch, at_least=1)
    if timeout is not None:
        check_number("timeout", timeout, at_least=0)
    caught = checked_catch(catch)
    place = _checked_device(device)
    sampler = required_sampler(study)
    check_study(study)
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    forget_stop(study)
    with Interrupts() as interrupts, optimizing(study), driving() as record:
        left = take_up(study, sampler.generations, sampler.n_trials(n_generations))
        queue = TrialQueue(study, None, n_generations)
        with closing(Progress(study, queue.n_trials + len(left), show_progress_bar)) as progress:
            Driver(
                study,
                objective,
                queue,
                left,
                record,
                interrupts,
                progress,
                checkpoints=checkpoints,
                device=place,
                max_batch=math.inf if max_batch is None else max_batch,
                catch=caught,
                callbacks=tuple(callbacks or ()),
                deadline=deadline,
            ).run()


def _checked_device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except Exception as error:  # each kind of device has errors of its own
        raise ValueError(f"`device` must be one that is here but got {str(device)!r}.") from error
