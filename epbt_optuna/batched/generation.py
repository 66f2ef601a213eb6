"""`Generation`: the trials of one generation, as an objective sees them that trains all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from optuna import Trial
from optuna.trial import TrialState
from torch import Tensor

from epbt_optuna._internal.optuna import read_trial, reports_so_far
from epbt_optuna._internal.optuna_loop import tell
from epbt_optuna.batched.inheritance import inherit_all, splitter
from epbt_optuna.batched.members import numbers, parts
from epbt_optuna.batched.suggestions import Suggestions
from epbt_optuna.checkpoints.store import CheckpointStore
from epbt_optuna.journal import synchronized_once
from epbt_optuna.population import Generations

__all__ = ["Generation"]


class Generation(Suggestions):
    """The trials of one generation, or of a part of it: member i is trial `trials[i]`.

    It stands where an objective for `study.optimize` has its trial. What is one number there has a
    leading dimension of members here, in the order of the trials.

    A member may end before the others: pruned, or ended from outside. It stays in its place, as
    tensors have one shape. Nothing more is reported or saved for it, and it takes as much time as
    before.

    Args:
        trials: Live trials of one generation, as `ask_generation` returns them.
        checkpoints: What `inherit` and `save` use.
        device: Where tensors are made.

    Attributes:
        trials: The trials.
        device: The device.

    Raises:
        ValueError: There is no trial.

    Example:
        ```python
        def objective(generation):
            lr = generation.suggest_float("lr", 1e-3, 1.0, log=True)  # shape (P,)
            model = batched.stack(build, len(generation))
            optimizer = batched.SGD(model.parameters(), lr=lr, momentum=0.9)
            epoch = generation.inherit(model=model, optimizer=optimizer, epoch=0)["epoch"]
            train(model, optimizer)
            generation.save(model=model, optimizer=optimizer, epoch=epoch + 1)
            return accuracy(model)  # shape (P,)
        ```
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        *,
        checkpoints: CheckpointStore | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__(trials, device)
        self._checkpoints = checkpoints
        self._alive = [True] * len(self)
        # Of a trial that goes on after its process died: Optuna takes each step once.
        self._reported = [set(reports_so_far(trial)) for trial in self.trials]

    @property
    def number(self) -> int:
        """The number of the generation.

        Raises:
            ValueError: No sampler of ours has asked these trials.
        """
        trial = self.trials[0]
        return Generations.required(trial.study).of(trial.number)

    @property
    def alive(self) -> Tensor:
        """A mask of shape (P,), on the CPU: who has neither been pruned nor ended from outside."""
        return torch.tensor(self._alive)

    # Weights, and all else that training goes on from

    def inherit(self, **state: Any) -> dict[str, Any]:
        """Load what each member starts from: its parent's state; founders stay as they were built.

        Args:
            **state: By the names that `save` is given. What has a state for each member, such as a
                stack or an optimizer, is loaded. Anything else is what founders have, such as
                `epoch=0`: a value for all, or a tensor or list with one for each. And what
                `CheckpointStore.inherit` takes, such as `missing="fresh"`.

        Returns:
            Of what is not loaded, the members' values by name: numbers as a tensor of shape (P,),
            tensors of one shape stacked, other things as a list.

        Raises:
            TypeError: As `CheckpointStore.inherit` raises it.
            ValueError: States lack a name, or the keys or shapes of the new network: all such
                trials are named, and nothing was loaded. Or a state does not fit for a reason that
                only its owner finds, or an option of `CheckpointStore.inherit` is out of its range.
            CheckpointError: As `CheckpointStore.inherit` raises it.
        """
        return inherit_all(self._store("inherit"), self.trials, self.device, state)

    def save(self, *, final: bool = True, **state: Any) -> None:
        """Save a checkpoint for each member that is alive, as a loop over trials would.

        Each is a dict with these names, such as `{"model": ..., "optimizer": ..., "epoch": 3}`, of
        what one network and torch's own optimizer have. So a study goes on from them with or
        without batches.

        Args:
            final: As for `CheckpointStore.save`.
            **state: What has a state for each member, such as a stack or an optimizer; tensors,
                arrays, lists and tuples with an entry for each; and anything else, which all have.
                A tensor that all have stands in a dict.

        Raises:
            TypeError: As `CheckpointStore.save` raises it.
            ValueError: There is not one entry for each member, or a name is that of an argument of
                `CheckpointStore.inherit`.
            CheckpointError: As `CheckpointStore.save` raises it.
        """
        store = self._store("save")
        split = splitter(state, len(self))
        # The store copies what is a view of all members' memory.
        self._for_each_alive(lambda i, trial: store.save(trial, split(i), final=final))

    def _store(self, method: str) -> CheckpointStore:
        if self._checkpoints is None:
            raise ValueError(
                f"`{method}` needs a store: pass `checkpoints=CheckpointStore(...)` to "
                "`batched.optimize`."
            )
        return self._checkpoints

    # What becomes of the members

    def report(self, values: Any, step: int) -> None:
        """Report a value for each member, as `trial.report` does.

        Args:
            values: Shape (P,): a tensor, an array or a list. Those of members that have ended do
                not count, whatever they are.
            step: As in Optuna.

        Raises:
            TypeError: They are no numbers.
            ValueError: There is not one for each, or `step` is negative.
        """
        reported = numbers("values", values, len(self))

        def report_one(i: int, trial: Trial) -> None:
            if step not in self._reported[i]:
                trial.report(reported[i], step)

        self._for_each_alive(report_one)

    def should_prune(self) -> Tensor:
        """Prune the members that the study's pruner would, and return who has ended so far.

        Their trials are PRUNED from here on: the pruner counts them as lost when it looks at the
        next one, and nothing can be written to them any more. No time is saved by it.

        Returns:
            A mask of shape (P,), on the CPU: the opposite of `alive`.
        """

        def prune_one(i: int, trial: Trial) -> None:
            if trial.should_prune():
                tell(trial.study, trial, None, TrialState.PRUNED)
                self._alive[i] = False

        self._for_each_alive(prune_one)
        return ~self.alive

    def set_user_attr(self, key: str, values: Any) -> None:
        """Set a user attribute of each member that is alive, as `trial.set_user_attr` does.

        Args:
            key: Its name.
            values: A tensor, an array, a list or a tuple with an entry for each member, or a value
                for all.

        Raises:
            ValueError: There is not one entry for each.
        """
        entries = parts("values", values, len(self))
        self._for_each_alive(lambda i, trial: trial.set_user_attr(key, entries[i]))

    def _for_each_alive(self, act: Callable[[int, Trial], object]) -> None:
        """Act on every member that is alive.

        A trial may be ended from outside at any moment, by a user say. Then the storage refuses
        what is written to it: nobody else is to suffer for that.
        """
        with synchronized_once(self.trials[0].study):
            for i, trial in enumerate(self.trials):
                if not self._alive[i]:
                    continue
                try:
                    act(i, trial)
                except Exception:
                    now = read_trial(trial.study, trial.number)
                    if now is None or not now.state.is_finished():
                        raise
                    self._alive[i] = False
