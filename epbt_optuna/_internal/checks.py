"""Checks of what users pass in: each names the parameter, the rule and the value it got."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, SupportsIndex

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

__all__ = [
    "check_boolean",
    "check_callable",
    "check_integer",
    "check_names",
    "check_number",
    "check_of_study",
    "check_one_objective",
    "check_probability",
    "check_share",
    "check_state_dict",
    "checked_catch",
    "name_of",
]


def check_boolean(name: str, value: Any) -> None:
    """Raise unless `value` is True or False: what is merely true, such as "no", is a mistake."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False but got {value!r}.")


def check_number(name: str, value: Any, *, at_least: float = -math.inf) -> None:
    """Raise unless `value` is a finite number of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number but got {value!r}.")
    if not math.isfinite(value):
        raise ValueError(f"`{name}` must be finite but got {value}.")
    if value < at_least:
        raise ValueError(f"`{name}` must be at least {at_least:g} but got {value}.")


def check_probability(name: str, value: Any) -> None:
    """Raise unless `value` is a number in [0, 1]."""
    check_number(name, value)
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be in [0, 1] but got {value}.")


def check_share(name: str, value: Any) -> None:
    """Raise unless `value` is a number in (0, 0.5]."""
    check_number(name, value)
    if not 0 < value <= 0.5:
        raise ValueError(f"`{name}` must be in (0, 0.5] but got {value}.")


def check_integer(name: str, value: Any, *, at_least: int, at_most: int | None = None) -> None:
    """Raise unless `value` is an integer in [`at_least`, `at_most`]."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"`{name}` must be an integer but got {value!r}.")
    number = operator.index(value)
    if number < at_least:
        raise ValueError(f"`{name}` must be at least {at_least} but got {value}.")
    if at_most is not None and number > at_most:
        raise ValueError(f"`{name}` must be at most {at_most} but got {value}.")


def check_names(name: str, value: Any) -> frozenset[str]:
    """Return the names of variables in `value`, or raise unless it is a set or list of them."""
    if isinstance(value, str):
        raise TypeError(f"`{name}` must be a set of names but got a string: write {{{value!r}}}.")
    if isinstance(value, Mapping) or not isinstance(value, Collection):
        raise TypeError(f"`{name}` must be a set of names but got {value!r}.")
    for entry in value:
        if not isinstance(entry, str):
            raise TypeError(f"`{name}` must be a set of names but has {entry!r}.")
    return frozenset(value)


def check_one_objective(sampler: object, study: Study) -> None:
    """Raise unless `study` has one objective, as `sampler` needs."""
    if len(study.directions) > 1:
        raise ValueError(
            f"{type(sampler).__name__} is for studies with one objective but this one has "
            f"{len(study.directions)} directions."
        )


def check_of_study(study_name: str, trial: FrozenTrial, own: FrozenTrial | None) -> None:
    """Raise if `trial` is another study's: its number would stand for another trial here.

    Args:
        study_name: The study's name.
        trial: What a caller passed.
        own: The study's trial with this number, if there is one.
    """
    if own is not None:
        began, own_began = trial.datetime_start, own.datetime_start
        if not began or not own_began:  # it waited, at least when it was read
            return
        if abs(began - own_began) <= timedelta(seconds=1):  # some databases round
            return
    raise ValueError(
        f"`trial` must be one of study {study_name!r} but got trial {trial.number} of another one."
    )


def check_state_dict(state: Any, whose: str, keys: set[str]) -> None:
    """Raise unless `state` is a mapping with these keys."""
    if not isinstance(state, Mapping):
        raise TypeError(f"`state` must be {whose} `state_dict()` but got a {type(state).__name__}.")
    if missing := keys - state.keys():
        raise TypeError(
            f"`state` must be {whose} `state_dict()` but lacks {sorted(missing)}: "
            f"it has {sorted(map(str, state))}."
        )


def check_callable(name: str, function: Any, *arguments: str) -> None:
    """Raise unless `function`, given as `name`, can be called with these arguments.

    Raises:
        TypeError: It is a class in place of an instance, not callable, or takes others.
    """
    wanted = f"`{name}` must be called with ({', '.join(arguments)})"
    if isinstance(function, type):
        raise TypeError(
            f"{wanted} but got the class {function.__qualname__} in place of an instance: write "
            f"{function.__qualname__}()."
        )
    if not callable(function):
        raise TypeError(f"{wanted} but got {function!r}, which is not callable.")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some of those that are written in C have none
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise TypeError(f"{wanted} but got {name_of(function)}{signature}.") from None


def name_of(function: Any) -> str:
    """Return what an error calls something callable: the name of its function or class."""
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def checked_catch(
    catch: Iterable[type[Exception]] | type[Exception],
) -> tuple[type[Exception], ...]:
    """Return the classes in `catch`, or raise unless they are subclasses of `Exception`."""
    types: tuple[Any, ...] = tuple(catch) if isinstance(catch, Iterable) else (catch,)
    for kind in types:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise TypeError(f"`catch` must name subclasses of Exception but got {kind!r}.")
    return types
