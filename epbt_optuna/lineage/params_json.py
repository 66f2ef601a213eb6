"""Params and distributions as strict JSON, so that every value reads back as it was.

JSON knows no infinities, and a parameter that a step does not have (in a conditional search
space) must differ from one that somebody forgot. Both are written as small objects:
`{"float": "inf"}` and `{"absent": true}`. Categories that are lists or objects themselves are
written as `{"json": [64, 64]}`, so nothing is mistaken.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

__all__ = [
    "check_params",
    "decode_distributions",
    "decode_params",
    "encode_distributions",
    "encode_params",
    "parse",
    "take",
]

_T = TypeVar("_T")
_ABSENT = {"absent": True}


def parse(text: str) -> Any:
    """Parse JSON, and nothing that only Python takes for JSON."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("The JSON is nested too deeply.") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"It is not JSON: {error}.") from error


def take(document: Any, where: str, name: str, kind: type[_T]) -> _T:
    """Return a member of an object, of the type it must have."""
    path = f"{where}.{name}" if where else name
    if not isinstance(document, dict):
        raise ValueError(f"`{where or 'the document'}` must be an object but got {document!r}.")
    if name not in document:
        raise ValueError(f"`{path}` is missing.")
    value = document[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise ValueError(f"`{path}` must be {_NAMES[kind]} but got {value!r}.")
    return value


_NAMES: dict[type, str] = {
    int: "an integer",
    float: "a number with a decimal point",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def check_params(
    where: str, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> None:
    """Raise unless every value is of a type that its distribution could hold."""
    for name, value in params.items():
        if name not in distributions:
            raise ValueError(f"{where} has a parameter {name!r} without a distribution.")
        distribution = distributions[name]
        if not _is_of(distribution, value):
            raise ValueError(
                f"{where} has a parameter {name!r} that must be {_kind_of(distribution)} but is "
                f"{value!r}."
            )


def encode_params(
    params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    """Return the params as JSON values, the absent ones marked as such."""
    return {
        name: _encode(name, params[name]) if name in params else _ABSENT for name in distributions
    }


def decode_params(
    document: Mapping[str, Any], where: str, distributions: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    """Return the params of a step, each of which must be there or marked as absent."""
    for name in distributions:
        if name not in document:
            raise ValueError(f"`{where}` lacks the parameter {name!r}.")
    return {
        name: _decode(value, f"{where}.{name}")
        for name, value in document.items()
        if value != _ABSENT
    }


def encode_distributions(distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Return distributions as Optuna writes them, in strict JSON."""
    documents = {}
    for name, distribution in distributions.items():
        document = json.loads(distribution_to_json(distribution))
        if isinstance(distribution, CategoricalDistribution):  # json made something else of some
            choices = [_encode(name, choice) for choice in distribution.choices]
            document["attributes"]["choices"] = choices
            documents[name] = document
        else:
            documents[name] = _encode_all(name, document)
    return documents


def decode_distributions(document: Mapping[str, Any], where: str) -> dict[str, BaseDistribution]:
    """Return the distributions that Optuna wrote."""
    distributions = {}
    for name, value in document.items():
        path = f"{where}.{name}"
        try:
            attributes = _decode_all(value, path)
        except RecursionError as error:
            raise ValueError(f"`{path}` is nested too deeply.") from error
        try:
            distributions[name] = json_to_distribution(json.dumps(attributes))
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"`{path}` must be a distribution as Optuna writes it but got {value!r}: {error!r}."
            ) from error
    return distributions


def _is_of(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return any(_is_same(value, choice) for choice in distribution.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return not isinstance(distribution, IntDistribution) or isinstance(value, int)


def _is_same(value: Any, choice: Any) -> bool:
    """Tell whether two categories are one: True is not 1, and NaN is NaN."""
    if type(value) is not type(choice):
        return False
    return bool(value == choice) or (value != value and choice != choice)


def _kind_of(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {distribution.choices}"
    return "an integer" if isinstance(distribution, IntDistribution) else "a number"


def _encode(name: str, value: Any) -> Any:
    if type(value) in (list, dict) and _is_json(value):
        return {"json": value}
    if value is not None and type(value) not in (bool, int, float, str):
        raise TypeError(
            f"Parameter {name!r} must be None, a boolean, a number or a string, or a list or dict "
            f"of these, to be written as JSON but is {value!r}."
        )
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def _decode(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"json"}:
            return value["json"]
        if value.keys() != {"float"} or value["float"] not in ("inf", "-inf", "nan"):
            raise ValueError(f"`{where}` must be a hyperparameter's value but got {value!r}.")
        return float(value["float"])
    return value


def _is_json(value: Any) -> bool:
    """Tell whether a list or dict reads back from JSON as it was."""
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(_is_json, value.values()))
    if type(value) is list:
        return all(map(_is_json, value))
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in (bool, int, str)


def _encode_all(name: str, document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _encode_all(name, value) for key, value in document.items()}
    if isinstance(document, list):
        return [_encode_all(name, value) for value in document]
    return _encode(name, document)


def _decode_all(document: Any, where: str) -> Any:
    if isinstance(document, dict) and document.keys() not in ({"float"}, {"json"}):
        return {key: _decode_all(value, where) for key, value in document.items()}
    if isinstance(document, list):
        return [_decode_all(value, where) for value in document]
    return _decode(document, where)


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"It is not JSON: {constant} is no value there.")
