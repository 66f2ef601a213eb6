"""What the callbacks share: one trial's training, from its parent's checkpoint to its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakSet

import optuna
import torch.distributed
from optuna.trial import TrialState
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from epbt_optuna._internal.checks import check_integer
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_system_attrs, read_trial
from epbt_optuna._internal.text import get_logger
from epbt_optuna._internal.warn_once import warn_once
from epbt_optuna.checkpoints import (
    CheckpointError,
    CheckpointStore,
    restore_optimizer,
    restore_scheduler,
)
from epbt_optuna.checkpoints.optimizers import find_mismatch
from epbt_optuna.population import Lineage

__all__ = ["Training", "on_rank_0", "restore_optimizers"]

_T = TypeVar("_T")
_logger = get_logger("epbt_optuna.integrations")

_begun: WeakSet[optuna.Trial] = WeakSet()  # the trials that a callback has trained, or trains now


class Training:
    """The training of one trial in one generation.

    Under `torch.distributed` rank 0 alone has the trial. It inherits, reports, decides whether to
    prune, and saves; the others are told what came of it, errors included, so that nobody waits
    for somebody who has left.

    Args:
        trial: The running trial; None on other ranks than 0.
        checkpoints: Where its parent's checkpoint is, and its own will be.
        monitor: The metric that is its fitness.
        length: The length of a generation, by the name of the callback's argument.

    Attributes:
        checkpoints: As given.
        is_pruned: Whether the pruner has stopped the trial.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: The length is below 1.
    """

    def __init__(
        self,
        trial: optuna.Trial | None,
        checkpoints: CheckpointStore,
        monitor: str,
        **length: int,
    ) -> None:
        if trial is not None and not isinstance(trial, optuna.Trial):
            raise TypeError(
                "`trial` must be the running optuna.Trial (None on other ranks than 0) "
                f"but got {trial!r}."
            )
        if not isinstance(checkpoints, CheckpointStore):
            raise TypeError(f"`checkpoints` must be a CheckpointStore but got {checkpoints!r}.")
        if not isinstance(monitor, str):
            raise TypeError(f"`monitor` must be the name of a metric but got {monitor!r}.")
        for name, value in length.items():
            check_integer(name, value, at_least=1)
        self.checkpoints = checkpoints
        self._trial = trial
        self._monitor = monitor
        self._last_step = -1
        self._fitness: float | None = None
        self._has_begun = False
        self.is_pruned = False

    @property
    def fitness(self) -> float:
        """The value last reported.

        Raises:
            ValueError: None has been, or no trainer has the callback.
        """
        if not self._has_begun:
            raise ValueError(
                "The callback must be among the trainer's `callbacks` before the trial is trained, "
                "but no trainer has called it."
            )
        if self._fitness is None:
            raise ValueError(
                f"`monitor` must be evaluated before a generation ends but {self._monitor!r} "
                "never was: validate at least once in each."
            )
        return self._fitness

    def begin(self) -> None:
        """Raise unless the trial can be trained now, for the first time."""
        self._has_begun = True
        if _is_distributed():
            has_one = [False] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(has_one, self._trial is not None)
            if any(has_one[1:]):  # each rank has asked for a trial of its own
                raise TypeError(
                    "`trial` must be None on all ranks but 0, which has it for all, but ranks "
                    f"{[rank for rank, has in enumerate(has_one) if has]} have one. Train on one "
                    "device, or as the page 'Your framework' shows for many."
                )
        on_rank_0(self._check)

    def inherit(self, read: Callable[[optuna.Trial], _T]) -> _T:
        """Return on every rank what `read` reads of the parent's checkpoint on rank 0."""
        return on_rank_0(lambda: read(self._running()))

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Say whose checkpoint it was if the block cannot restore what was inherited."""
        try:
            yield
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            whose = "The trial" if self._trial is None else f"Trial {self._trial.number}"
            raise CheckpointError(
                f"{whose} inherits a checkpoint that does not fit its model, optimizer or "
                f"scheduler, which must be built alike in all trials: {error}"
            ) from error

    def check_monitor(self, metrics: Mapping[str, Any]) -> None:
        """Raise unless the fitness is among the metrics that were evaluated."""
        if self._monitor not in metrics:
            raise ValueError(
                f"`monitor` must be a metric of the validation, one of {sorted(metrics)}, "
                f"but got {self._monitor!r}."
            )

    def report(self, metrics: Mapping[str, Any], step: int) -> None:
        """Report the fitness once for each step, and ask the pruner."""
        if self.is_pruned or step <= self._last_step:
            return
        self.check_monitor(metrics)
        self._last_step = step
        self._fitness = float(metrics[self._monitor])
        self.is_pruned = on_rank_0(lambda: self._asks_to_prune(step))

    def save(self, write: Callable[[optuna.Trial], None]) -> None:
        """Let rank 0 write the trial's checkpoint.

        Raises:
            ValueError: Nothing was ever reported: the objective has no fitness to return.
        """
        _ = self.fitness
        on_rank_0(lambda: write(self._running()))

    def raise_if_pruned(self) -> None:
        """End the objective of a pruned trial, on every rank.

        Raises:
            TrialPruned: It was pruned.
        """
        if self.is_pruned:
            raise optuna.TrialPruned(f"Pruned at step {self._last_step}.")

    def warn_once(self, what: str, message: str) -> None:
        """Warn once in a study, on rank 0."""
        if self._trial is not None:
            warn_once(_logger, self._trial.study, what, message)

    def _check(self) -> None:
        trial = self._running()
        if trial in _begun:
            raise ValueError(
                "A trial must be trained once, by one callback that the objective makes for it, "
                f"but trial {trial.number} has been begun already."
            )
        recorded = read_trial(trial.study, trial.number)
        if recorded is None or recorded.state != TrialState.RUNNING:
            state = "gone" if recorded is None else recorded.state.name
            raise ValueError(f"`trial` must be running but trial {trial.number} is {state}.")
        attrs = read_system_attrs(trial.study, trial)
        if Lineage.recorded(trial.number, attrs, StudyIdentity.of(trial.study)) is None:
            raise ValueError(
                f"`trial` must be of a study with generations but study "
                f"{trial.study.study_name!r} has none: neither EPBTSampler nor PBTSampler has "
                f"asked trial {trial.number}."
            )
        _begun.add(trial)

    def _running(self) -> optuna.Trial:
        if self._trial is None:
            raise TypeError("`trial` must be the running optuna.Trial on rank 0 but got None.")
        return self._trial

    def _asks_to_prune(self, step: int) -> bool:
        trial = self._running()
        trial.report(self.fitness, step)
        return trial.should_prune()


def restore_optimizers(
    optimizers: Sequence[Optimizer],
    schedulers: Sequence[LRScheduler],
    parent: Sequence[Sequence[Mapping[str, Any]]] | None,
) -> None:
    """Let optimizers and schedulers go on from the parent's, under their own hyperparameters.

    Args:
        optimizers: Those just built.
        schedulers: Those just built.
        parent: The states of the parent's optimizers, and of its schedulers; None for a founder.

    Raises:
        ValueError: They are not alike.
    """
    if parent is None:
        for scheduler in schedulers:
            restore_scheduler(scheduler, 0)  # notes what a plateau will have reduced
        return
    optimizer_states, scheduler_states = parent
    for optimizer, state in zip(optimizers, optimizer_states, strict=True):
        if (reason := find_mismatch(optimizer, state)) is not None:
            raise ValueError(reason)  # not `restore_optimizer`'s, which advises how to call it
        restore_optimizer(optimizer, state)
    for scheduler, state in zip(schedulers, scheduler_states, strict=True):
        restore_scheduler(scheduler, _n_steps(state), state)


def _n_steps(scheduler: Mapping[str, Any]) -> int:
    """Return how often the scheduler with this state was stepped; a chained one does not say."""
    return int(
        scheduler["last_epoch"]
        if "last_epoch" in scheduler
        else _n_steps(scheduler["_schedulers"][0])
    )


def on_rank_0(call: Callable[[], _T]) -> _T:
    """Return on every rank what the call returns on rank 0, or raise what it raises there.

    Without this an error on rank 0 alone would leave the others waiting for it.
    """
    if not _is_distributed():
        return call()
    outcome: list[Any] = [None, None]
    if torch.distributed.get_rank() == 0:
        try:
            outcome[0] = call()
        except Exception as error:
            outcome[1] = error
    torch.distributed.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    result: _T = outcome[0]
    return result


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
