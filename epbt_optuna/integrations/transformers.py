"""Hugging Face: a callback that makes a `Trainer`'s `train` one generation of a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna

from epbt_optuna._internal.checks import check_probability
from epbt_optuna._internal.extras import needs
from epbt_optuna.checkpoints import CheckpointError, CheckpointStore

with needs("transformers", "`TransformersCallback`"):
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_utils import set_seed

with needs("accelerate", "`TransformersCallback`", "transformers"):
    from accelerate.data_loader import SeedableRandomSampler, get_sampler
    from torch.utils.data import IterableDataset, SequentialSampler

    from epbt_optuna.integrations.training import Training, restore_optimizers

if TYPE_CHECKING:
    import torch
    from torch.optim.lr_scheduler import LRScheduler

__all__ = ["TransformersCallback"]

_REFUSED = {
    "load_best_model_at_end": "children go on from the last step, with its moments",
    "auto_find_batch_size": "a trial is trained once",
    "deepspeed": "a checkpoint is one model, whole",
    "fsdp": "a checkpoint is one model, whole",
}
_FORMAT = "epbt_optuna.integrations.transformers/1"  # in every state that the callback saves


class TransformersCallback(TrainerCallback):
    """Makes `Trainer.train` train one generation of a trial.

    The arguments of the trainer are those of one ordinary run from its first step to its last;
    each trial trains the next `steps` of it. Before the first step the trial gets its parent's
    weights, moments, step and epoch. Hyperparameters are its own: the optimizer keeps what the
    trainer has given it, and the scheduler, which the trainer builds for the whole run, stands
    where a run with this trial's values would stand at that step. Each evaluation reports the
    fitness and asks the pruner. At the end a state is saved for the children: `"model"`,
    `"optimizer"`, `"scheduler"`, `"global_step"`, `"epoch"`.

    A pruned trial ends as if training were over, so that other callbacks can close; then `train`
    raises `optuna.TrialPruned`, and saves nothing.

    Under DDP rank 0 has the trial and the others pass None: rank 0 inherits, reports, asks the
    pruner and saves, and all ranks raise what it raises.

    Args:
        trial: The running trial.
        checkpoints: The store of the study.
        monitor: The metric that is the fitness, as an evaluation names it: `"eval_loss"`.
        steps: How many optimizer steps a generation has. `max_steps` or `num_train_epochs` of the
            `TrainingArguments` is the length of the whole run, which schedules are built for.
        mate_weight: The mate's share in the weights and moments that a trial starts from, as for
            `CheckpointStore.inherit`.

    Attributes:
        fitness: The value last reported: what the objective returns.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: `steps` is below 1, or `mate_weight` is not in [0, 1]. By `train`, before it
            trains: the trial cannot be trained, the trainer restores a checkpoint by itself, or
            its arguments do not suit.
        CheckpointError: By `train`, before it trains: the parent's checkpoint was not saved by
            this callback, or does not fit.

    Example:
        ```python
        def objective(trial):
            args = TrainingArguments(
                learning_rate=trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
                max_steps=1000, eval_strategy="steps", eval_steps=10, save_strategy="no",
            )
            callback = TransformersCallback(trial, checkpoints, monitor="eval_loss", steps=20)
            data = {"train_dataset": ..., "eval_dataset": ...}
            trainer = Trainer(build(), args, callbacks=[callback], **data)
            trainer.train()
            return callback.fitness
        ```
    """

    def __init__(
        self,
        trial: optuna.Trial | None,
        checkpoints: CheckpointStore,
        *,
        monitor: str,
        steps: int,
        mate_weight: float = 0.0,
    ) -> None:
        check_probability("mate_weight", mate_weight)
        self._training = Training(trial, checkpoints, monitor, steps=steps)
        self._steps = steps
        self._mate_weight = mate_weight
        self._first_step = 0
        self._first_epoch = 0.0
        self._monitor = monitor
        self._evaluated: dict[str, float] = {}
        self._eval_on_start = False
        self._has_logged = False

    @property
    def fitness(self) -> float:
        """The value last reported.

        Raises:
            ValueError: None has been.
        """
        return self._training.fitness

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        optimizer: Any,
        lr_scheduler: LRScheduler,
        **built: Any,
    ) -> None:
        """Restore what the trial inherits; model, optimizer and scheduler have just been built."""
        self._training.begin()
        _check(args, state)
        parent = self._training.inherit(self._read_parent)
        optimizers = [getattr(optimizer, "optimizer", optimizer)]  # accelerate's holds torch's
        if parent is None:
            restore_optimizers(optimizers, [lr_scheduler], None)
        else:
            with self._training.fitting():
                self._restore_others(parent, args, state, **built)
                states = [parent["optimizer"]], [parent["scheduler"]]
                restore_optimizers(optimizers, [lr_scheduler], states)
        if state.max_steps < self._first_step + self._steps:
            raise ValueError(
                "`max_steps` must be the length of the whole run, here at least "
                f"{self._first_step + self._steps}, as the parent has trained "
                f"{self._first_step} and a generation has {self._steps}, but is "
                f"{state.max_steps}."
            )
        # What `compute_metrics` returns is known only when something was evaluated. So once in a
        # study that is done before the first step, where an unknown `monitor` is found.
        self._eval_on_start = args.eval_on_start
        args.eval_on_start |= self._training.inherit(lambda trial: trial.number == 0)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **built: Any
    ) -> None:
        """Find out after the first evaluation, not at the end, whether it has the fitness."""
        args.eval_on_start = self._eval_on_start
        self._check_monitor()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **built: Any
    ) -> None:
        """Count on from the parent; evaluate and stop at the end of the generation."""
        assert state.epoch is not None  # the trainer has just counted it, from 0
        state.epoch += self._first_epoch
        if state.global_step >= self._first_step + self._steps:
            control.should_training_stop = True
            if args.eval_strategy == "steps":  # else the end of the epoch, which this is, does
                control.should_evaluate = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, Any],
        **built: Any,
    ) -> None:
        """Report, and stop if the pruner says so.

        This is called once for each of several sets to evaluate on: one of them has the fitness.
        """
        self._evaluated.update(metrics)
        if state.global_step > self._first_step and self._monitor in metrics:
            self._training.report(metrics, state.global_step)
        if self._training.is_pruned:
            control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        **built: Any,
    ) -> None:
        """Correct training losses that the trainer has divided by the steps of all generations."""
        n_own = state.global_step - self._first_step
        name = "train_loss" if "train_loss" in logs else "loss"
        if name in logs and n_own > 0 and (name == "train_loss" or not self._has_logged):
            logs[name] *= state.global_step / n_own
            state.log_history[-1][name] = logs[name]
            self._has_logged = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **built: Any
    ) -> None:
        """Save what children start from, or raise that the trial was pruned."""
        self._training.raise_if_pruned()
        self._check_monitor()
        self._training.save(lambda trial: self._save(trial, state, **built))

    def _check_monitor(self) -> None:
        if self._evaluated:
            self._training.check_monitor(self._evaluated)

    def _read_parent(self, trial: optuna.Trial) -> dict[str, Any] | None:
        parent = self._training.checkpoints.inherit(trial, mate_weight=self._mate_weight)
        if parent is None:
            return None
        if not isinstance(parent, dict) or parent.get("format") != _FORMAT:
            found = sorted(map(str, parent)) if isinstance(parent, dict) else type(parent).__name__
            raise CheckpointError(
                f"What trial {trial.number} inherits must be a state that TransformersCallback "
                f"saved, with the format {_FORMAT!r}, but is {found}."
            )
        return parent

    def _restore_others(
        self,
        parent: dict[str, Any],
        args: TrainingArguments,
        state: TrainerState,
        *,
        model: torch.nn.Module,
        train_dataloader: Any,
        **_: Any,
    ) -> None:
        """Restore what has no hyperparameters of the trial: weights, counts, the order of data."""
        model.load_state_dict(parent["model"])
        state.global_step = self._first_step = parent["global_step"]
        state.epoch = self._first_epoch = parent["epoch"]
        # The trainer seeds everything anew, and counts epochs from 0 again: without this each
        # generation would see the same batches, and dropout would leave out the same units.
        set_seed(args.seed + self._first_step)
        sampler = get_sampler(train_dataloader)
        if isinstance(sampler, SeedableRandomSampler):
            sampler.initial_seed += self._first_step
        is_stream = isinstance(train_dataloader.dataset, IterableDataset)
        if is_stream or isinstance(sampler, SequentialSampler):
            self._training.warn_once(
                "same_batches",
                "Each generation begins with the same batches, as nothing shuffles them, unless "
                "the data set does: give it another order in each trial, as by "
                "`shuffle(seed=trial.number)`",
            )

    def _save(
        self,
        trial: optuna.Trial,
        state: TrainerState,
        *,
        model: torch.nn.Module,
        optimizer: Any,
        lr_scheduler: LRScheduler,
        **_: Any,
    ) -> None:
        saved = {
            "format": _FORMAT,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": lr_scheduler.state_dict(),
            "global_step": state.global_step,
            "epoch": state.epoch,
        }
        self._training.checkpoints.save(trial, saved)


def _check(args: TrainingArguments, state: TrainerState) -> None:
    """Raise if the trainer would not do what the callback needs.

    Raises:
        ValueError: So it is; the message names the argument.
    """
    if state.global_step > 0:
        raise ValueError(
            "`resume_from_checkpoint` must be None, as the callback restores the parent's "
            f"checkpoint, but the trainer has resumed at step {state.global_step}."
        )
    if args.eval_strategy == "no":
        raise ValueError(
            "`eval_strategy` must be 'steps' or 'epoch': evaluations make the fitness."
        )
    for name, reason in _REFUSED.items():
        if value := getattr(args, name):
            raise ValueError(f"`{name}` must be off but is {value!r}: {reason}.")
