"""Lightning: a callback that makes a trainer's `fit` one generation of a trial."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

from epbt_optuna._internal.extras import needs
from epbt_optuna.checkpoints import CheckpointError, CheckpointStore

with needs("lightning", "`LightningCallback`"):
    import lightning
    import torch
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import (
        BatchSizeFinder,
        Checkpoint,
        LearningRateFinder,
        StochasticWeightAveraging,
    )

    from epbt_optuna.integrations.training import Training, restore_optimizers

__all__ = ["LightningCallback"]

_REFUSED = {
    BatchSizeFinder: "it trains and restores by itself before the first step",
    LearningRateFinder: "the learning rate is the trial's",
    StochasticWeightAveraging: "it replaces the trial's schedule; `EMAWeightAveraging` does not",
}
_VERSION = "pytorch-lightning_version"  # in every checkpoint of Lightning


class LightningCallback(Callback):
    """Makes `Trainer.fit` train one generation of a trial.

    The trainer and the module are those of one ordinary run from its first epoch to its last; each
    trial trains the next `epochs` of it. Before the first step the trial gets its parent's
    weights, moments, epoch and step. Hyperparameters are its own: each optimizer keeps what
    `configure_optimizers` has given it, and each scheduler stands where a run with this trial's
    values would stand at that epoch. Each validation reports the fitness and asks the pruner. At
    the end Lightning's own checkpoint is saved for the children.

    A pruned trial ends as if training were over, so that loggers and other callbacks can close;
    then `fit` raises `optuna.TrialPruned`, and saves nothing.

    Under DDP rank 0 has the trial and the others pass None: rank 0 inherits, reports, asks the
    pruner and saves, and all ranks raise what it raises. Log the fitness with `sync_dist=True`.

    Args:
        trial: The running trial.
        checkpoints: The store of the study.
        monitor: The metric that is the fitness, as a validation logs it.
        epochs: How many epochs a generation has. `Trainer(max_epochs=...)` is the length of the
            whole run, which schedules are built for.

    Attributes:
        fitness: The value last reported: what the objective returns.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: `epochs` is below 1. By `fit`, before it trains: the trial cannot be trained,
            the trainer restores a checkpoint by itself, or its settings do not suit.
        CheckpointError: By `fit`, before it trains: the parent's checkpoint is none of Lightning's
            or does not fit.

    Example:
        ```python
        def objective(trial):
            net = Net(lr=trial.suggest_float("lr", 1e-4, 1.0, log=True))
            callback = LightningCallback(trial, checkpoints, monitor="accuracy", epochs=2)
            trainer = lightning.Trainer(max_epochs=50, callbacks=[callback])
            trainer.fit(net, train, validation)
            return callback.fitness
        ```
    """

    def __init__(
        self,
        trial: optuna.Trial | None,
        checkpoints: CheckpointStore,
        *,
        monitor: str,
        epochs: int,
    ) -> None:
        self._training = Training(trial, checkpoints, monitor, epochs=epochs)
        self._epochs = epochs
        self._last_epoch = epochs
        self._has_ended = False

    @property
    def fitness(self) -> float:
        """The value last reported.

        Raises:
            ValueError: None has been.
        """
        return self._training.fitness

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check what can be checked before anything is built."""
        if stage != "fit":
            return
        self._training.begin()
        _check(trainer)
        # Before all others, wherever the user has put it: what is saved at the end are the weights
        # that were trained, not the average that `WeightAveraging` then puts in their place.
        trainer.callbacks = [self, *(other for other in trainer.callbacks if other is not self)]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore what the trial inherits; model and optimizers have just been built."""
        if trainer.ckpt_path is not None:  # known only now, a moment before it is restored
            raise ValueError(
                "`ckpt_path` must be None, as the callback restores the parent's checkpoint, "
                f"but got {trainer.ckpt_path!r}."
            )
        parent = self._training.inherit(self._read_parent)
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        if parent is None:
            restore_optimizers(trainer.optimizers, schedulers, None)
        else:
            with self._training.fitting():
                _restore_others(trainer, pl_module, parent, self)
                states = parent["optimizer_states"], parent["lr_schedulers"]
                restore_optimizers(trainer.optimizers, schedulers, states)
        self._last_epoch = trainer.current_epoch + self._epochs
        if trainer.max_epochs != -1 and (trainer.max_epochs or 0) < self._last_epoch:
            raise ValueError(
                "`max_epochs` must be the length of the whole run, here at least "
                f"{self._last_epoch}, as the parent has trained {trainer.current_epoch} and a "
                f"generation has {self._epochs}, but is {trainer.max_epochs}."
            )

        # What the checkpoint cannot hold is found here, once in a study, and not at the end.
        if self._training.inherit(lambda trial: trial.number == 0):
            self._write(trainer, self._training.inherit, _check_readable)

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out before the first step whether the fitness is logged at all."""
        self._training.check_monitor(trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and stop if the pruner says so."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._training.report(trainer.callback_metrics, trainer.global_step)
        if self._training.is_pruned:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the generation."""
        if trainer.current_epoch + 1 >= self._last_epoch:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what children start from."""
        self._has_ended = True
        # Behind all others from here on, so that they close before `teardown` raises.
        trainer.callbacks = [*(other for other in trainer.callbacks if other is not self), self]
        if self._training.is_pruned:
            return
        self._write(trainer, self._training.save, self._save)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave `fit` by the exception that Optuna knows, now that all else has ended."""
        if stage != "fit":
            return
        self._training.raise_if_pruned()
        if not self._has_ended:
            raise ValueError("`fit` must train but ended before its first step: see its log.")

    def _write(
        self,
        trainer: Trainer,
        call: Callable[[Callable[[optuna.Trial], None]], None],
        use: Callable[[optuna.Trial, Path], None],
    ) -> None:
        """Write Lightning's checkpoint into a file for a moment, and use that on rank 0."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lightning.ckpt"
            trainer.save_checkpoint(path, weights_only=False)  # every rank must, rank 0 writes
            call(lambda trial: use(trial, path))

    def _save(self, trial: optuna.Trial, path: Path) -> None:
        _check_readable(trial, path)  # now, not when a child needs it
        self._training.checkpoints.save_path(trial, path)

    def _read_parent(self, trial: optuna.Trial) -> dict[str, Any] | None:
        with tempfile.TemporaryDirectory() as folder:
            path = self._training.checkpoints.inherit_path(trial, Path(folder) / "parent.ckpt")
            whose = f"What trial {trial.number} inherits"
            return None if path is None else _read(path, whose, mmap=False)


def _check(trainer: Trainer) -> None:
    """Raise if the trainer would not do what the callback needs.

    Raises:
        ValueError: So it is; the message names the setting.
    """
    if trainer.strategy.restore_checkpoint_after_setup:
        raise ValueError(
            "`strategy` must be one whose checkpoint is a single file, on one device or DDP, but "
            f"is {type(trainer.strategy).__name__}."
        )
    for name in ("min_steps", "min_epochs"):  # the first sets the second
        if getattr(trainer, name):
            raise ValueError(f"`{name}` must be None, as the callback ends each generation.")
    for callback in trainer.callbacks:
        for cls, reason in _REFUSED.items():
            if isinstance(callback, cls):
                raise ValueError(f"`callbacks` must have no {cls.__name__}: {reason}.")
    if not trainer.enable_validation:
        raise ValueError("`fit` must be given data to validate on, which make the fitness.")


def _check_readable(trial: optuna.Trial, path: Path) -> None:
    _read(path, f"The checkpoint of trial {trial.number}")


def _read(path: Path, whose: str, *, mmap: bool = True) -> dict[str, Any]:
    """Read a checkpoint of Lightning as data, never as code.

    Raises:
        CheckpointError: It is none, or of another major version, or holds other objects.
    """
    if not path.is_file():
        raise CheckpointError(f"{whose} must be a file of Lightning but is a folder.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:
        raise CheckpointError(
            f"{whose} must be a file of Lightning that holds only tensors, numbers and strings of "
            "Python. Hyperparameters of other types, such as NumPy's, must be converted, or left "
            "out by `save_hyperparameters(ignore=...)`. "
            f"It cannot be read: {error}"
        ) from error
    version = checkpoint.get(_VERSION) if isinstance(checkpoint, dict) else None
    if not isinstance(version, str):
        raise CheckpointError(f"{whose} must be a file of Lightning but has no `{_VERSION}`.")
    if version.split(".")[0] != lightning.__version__.split(".")[0]:
        raise CheckpointError(
            f"{whose} must be of the installed Lightning {lightning.__version__} but was written "
            f"by {version}."
        )
    found: dict[str, Any] = checkpoint
    return found


def _restore_others(
    trainer: Trainer, pl_module: LightningModule, parent: dict[str, Any], own: Callback
) -> None:
    """Restore what has no hyperparameters of the trial: weights, counts, other callbacks."""
    pl_module.on_load_checkpoint(parent)
    trainer.strategy.load_model_state_dict(parent, strict=pl_module.strict_loading)
    scaler = trainer.precision_plugin
    if (state := parent.get(type(scaler).__qualname__)) is not None:
        scaler.load_state_dict(state)
    # Where `max_steps` is set, Lightning takes every checkpoint for one from within an epoch, and
    # would skip the first epoch of the child: its batches have been seen.
    loop, max_steps = trainer.fit_loop.epoch_loop, trainer.max_steps
    loop.max_steps = -1
    trainer.fit_loop.load_state_dict(parent["loops"]["fit_loop"])
    loop.max_steps = max_steps
    for callback in trainer.callbacks:
        if callback is own or isinstance(callback, Checkpoint):  # its files are the parent's
            continue
        callback.on_load_checkpoint(trainer, pl_module, parent)
        if (state := parent["callbacks"].get(callback.state_key)) is not None:
            callback.load_state_dict(state)
