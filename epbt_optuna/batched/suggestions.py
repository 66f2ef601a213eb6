"""The hyperparameters of all members: what one trial suggests as a number is a tensor here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from optuna import Trial
from torch import Tensor

from epbt_optuna.batched.members import flags

__all__ = ["Suggestions"]

_T = TypeVar("_T")


class Suggestions:
    """Suggests for each of several trials, in their order.

    Args:
        trials: Live trials.
        device: Where tensors are made.

    Raises:
        ValueError: There is no trial.
    """

    def __init__(self, trials: Sequence[Trial], device: str | torch.device) -> None:
        if not trials:
            raise ValueError("`trials` must hold a trial but got none.")
        self.trials = list(trials)
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self.trials)

    def suggest_float(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float | None = None,
        log: bool = False,
        where: Any = None,
        otherwise: float | None = None,
    ) -> Tensor:
        """Suggest a number for each member, as `trial.suggest_float` does.

        Args:
            name: The variable's name.
            low: The least value.
            high: The greatest value.
            step: As in Optuna.
            log: As in Optuna.
            where: A mask of shape (P,): only these trials are asked. Default: all are.
            otherwise: The number that the others get; they have no such variable.

        Returns:
            Shape (P,), of torch's default dtype.

        Raises:
            TypeError: `where` holds no booleans, or an argument is of the wrong type.
            ValueError: `where` has not one entry for each trial, only one of `where` and
                `otherwise` is given, or a trial cannot be asked; the message names it.
        """
        _check_pair(where, otherwise)
        values = self._suggest(
            lambda trial: trial.suggest_float(name, low, high, step=step, log=log), where, otherwise
        )
        return torch.tensor(values, dtype=torch.get_default_dtype(), device=self.device)

    def suggest_int(
        self,
        name: str,
        low: int,
        high: int,
        *,
        step: int = 1,
        log: bool = False,
        where: Any = None,
        otherwise: int | None = None,
    ) -> Tensor:
        """Suggest an integer for each member, as `trial.suggest_int` does.

        Args:
            name: As for `suggest_float`.
            low: As for `suggest_float`.
            high: As for `suggest_float`.
            step: As in Optuna.
            log: As in Optuna.
            where: As for `suggest_float`.
            otherwise: As for `suggest_float`.

        Returns:
            Shape (P,), of dtype int64.

        Raises:
            TypeError: As for `suggest_float`.
            ValueError: As for `suggest_float`.
        """
        _check_pair(where, otherwise)
        values = self._suggest(
            lambda trial: trial.suggest_int(name, low, high, step=step, log=log), where, otherwise
        )
        return torch.tensor(values, dtype=torch.int64, device=self.device)

    def suggest_categorical(
        self, name: str, choices: Sequence[Any], *, where: Any = None, otherwise: Any = None
    ) -> list[Any]:
        """Suggest a category for each member, as `trial.suggest_categorical` does.

        A category must not change the shapes of a network: a stack has one shape for all.

        Args:
            name: As for `suggest_float`.
            choices: As in Optuna.
            where: As for `suggest_float`.
            otherwise: What the others get; None by default.

        Returns:
            P values.

        Raises:
            TypeError: As for `suggest_float`.
            ValueError: As for `suggest_float`, but `where` may stand alone.
        """
        if where is None and otherwise is not None:
            _check_pair(where, otherwise)
        return self._suggest(
            lambda trial: trial.suggest_categorical(name, choices), where, otherwise
        )

    def _suggest(self, ask: Callable[[Trial], _T], where: Any, otherwise: _T | None) -> list[Any]:
        asked = [True] * len(self) if where is None else flags("where", where, len(self))
        pairs = zip(self.trials, asked, strict=True)
        return [_asked(trial, ask) if is_asked else otherwise for trial, is_asked in pairs]


def _asked(trial: Trial, ask: Callable[[Trial], _T]) -> _T:
    try:
        return ask(trial)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"Trial {trial.number}: {error}") from error


def _check_pair(where: Any, otherwise: Any) -> None:
    if (where is None) != (otherwise is None):
        raise ValueError(
            "`where` and `otherwise` must be given together: which trials are asked, and what the "
            f"others get; but got {where!r} and {otherwise!r}."
        )
