"""The states of all members, from and to one checkpoint for each, in the format of a loop."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from optuna import Trial

from epbt_optuna._internal.attrs import LINEAGE
from epbt_optuna._internal.optuna import read_system_attrs
from epbt_optuna.batched.members import HasMembers, joined, misfit, parts
from epbt_optuna.checkpoints.store import CheckpointStore

__all__ = ["inherit_all", "splitter"]

# What `CheckpointStore.inherit` and `save` take beside the state; no state can have these names.
_OPTIONS = inspect.signature(CheckpointStore.inherit).parameters.keys() - {"self", "trial"}
_RESERVED = {*_OPTIONS, "final"}


def inherit_all(
    store: CheckpointStore, trials: Sequence[Trial], device: torch.device, state: dict[str, Any]
) -> dict[str, Any]:
    """Load what each member starts from: see `Generation.inherit`, which takes `state` so."""
    options = {name: state.pop(name) for name in _OPTIONS & state.keys()}
    loaded, rest = _sorted(state, len(trials))
    found = [store.inherit(trial, **options) for trial in trials]
    _check_fit(trials, found, loaded, rest)
    for i, inherited in enumerate(found):
        if inherited is None:
            continue
        for name, owner in loaded.items():
            _load(owner, i, name, inherited[name], trials[i])
        for name, values in rest.items():
            values[i] = inherited[name]
    return {name: joined(values, device) for name, values in rest.items()}


def splitter(state: dict[str, Any], n: int) -> Callable[[int], dict[str, Any]]:
    """Return what returns the state of one of n members, as a loop over trials would save it.

    Raises:
        ValueError: As for `Generation.save`.
    """
    loaded, rest = _sorted(state, n)

    def split(i: int) -> dict[str, Any]:
        return {
            name: loaded[name].member_state_dict(i) if name in loaded else rest[name][i]
            for name in state
        }

    return split


def _sorted(state: dict[str, Any], n: int) -> tuple[dict[str, HasMembers], dict[str, list[Any]]]:
    """Return what has a state for each member, and of everything else the members' own values."""
    if taken := sorted(_RESERVED & state.keys()):
        raise ValueError(
            f"`{taken[0]}` cannot be the name of a part of a state: it is an argument of "
            "`CheckpointStore`."
        )
    loaded = {name: value for name, value in state.items() if isinstance(value, HasMembers)}
    rest = {name: parts(name, state[name], n) for name in state if name not in loaded}
    return loaded, rest


def _check_fit(
    trials: Sequence[Trial],
    found: Sequence[Any],
    loaded: Mapping[str, HasMembers],
    rest: Mapping[str, Any],
) -> None:
    """Raise unless all states fit, before the first is loaded."""
    own = {name: owner.member_state_dict(0) for name, owner in loaded.items()}
    problems = []
    for trial, inherited in zip(trials, found, strict=True):
        if inherited is not None and (problem := _problem(inherited, own, rest)):
            problems.append(f"{_whence(trial)}: {problem}.")
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(trials)} trials cannot go on from what they inherit, and "
            f"nothing was loaded. {' '.join(problems)} All members of a stack have one shape."
        )


def _problem(
    inherited: Any, own: Mapping[str, Mapping[str, Any]], rest: Mapping[str, Any]
) -> str | None:
    if not isinstance(inherited, Mapping):
        return f"the state must be a dict but is a {type(inherited).__name__}"
    if missing := [name for name in (*own, *rest) if name not in inherited]:
        return f"the state has no {missing[0]!r} but {sorted(map(str, inherited))}"
    fits = ((name, misfit(state, inherited[name])) for name, state in own.items())
    return next((f"`{name}` does not fit: {why}" for name, why in fits if why), None)


def _load(owner: HasMembers, i: int, name: str, state: Any, trial: Trial) -> None:
    try:
        owner.load_member_state_dict(i, state)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{_whence(trial)}: `{name}` does not fit: {error}") from error


def _whence(trial: Trial) -> str:
    """Say for an error which trial it is, and from which one it inherits."""
    record = LINEAGE.of_trial(trial.number, read_system_attrs(trial.study, trial))
    parent = "" if record is None else f", which inherits from trial {record['parent']}"
    return f"Trial {trial.number}{parent}"
