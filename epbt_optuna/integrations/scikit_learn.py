"""scikit-learn: a function that gives a fitted parent this trial's hyperparameters."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

__all__ = ["restore_estimator"]

_Estimator = TypeVar("_Estimator")

# How much a fitted estimator holds.
_SIZES = ("hidden_layer_sizes", "n_clusters", "n_components")

# What the optimizer inside a multi-layer perceptron calls the estimator's parameters.
_IN_OPTIMIZER = {
    "learning_rate_init": "learning_rate_init",
    "lr_schedule": "learning_rate",
    "momentum": "momentum",
    "nesterov": "nesterovs_momentum",
    "power_t": "power_t",
    "beta_1": "beta_1",
    "beta_2": "beta_2",
    "epsilon": "epsilon",
}


def restore_estimator(estimator: _Estimator, parent: Any) -> _Estimator:
    """Return the fitted parent under the hyperparameters of the estimator just built.

    It goes on by `partial_fit`, or by `fit` with `warm_start=True`. `set_params` alone does not do
    in two cases: a multi-layer perceptron keeps an optimizer from its first `partial_fit` on, with
    the learning rate and momentum that it had then; and estimators that hold others would lose
    what these have learnt.

    Args:
        estimator: An estimator with this trial's hyperparameters; it need not be fitted.
        parent: The parent's fitted estimator, as it was loaded. It is changed.

    Returns:
        `parent`. Of a perceptron, the moments stay, unless the solver is another one.

    Raises:
        TypeError: They are of different classes.
        ValueError: The estimator holds other estimators, or other numbers of layers, clusters or
            components, or something that the parent has not kept, such as an average; or each
            `fit` begins anew: it has no `partial_fit`, and `warm_start` is off.
    """
    if type(parent) is not type(estimator):
        raise TypeError(
            f"`parent` must be of class {type(estimator).__name__}, as the estimator is, "
            f"but is of {type(parent).__name__}."
        )
    params = _params(estimator)
    for name, value in _params(estimator, deep=True).items():  # a pipeline's are in a list
        if hasattr(value, "get_params"):
            raise ValueError(
                f"`estimator` must hold no other estimator but `{name}` is {value}: restore that "
                "one."
            )
    if not (hasattr(estimator, "partial_fit") or params.get("warm_start")):
        raise ValueError(
            f"`estimator` must have `partial_fit` or `warm_start=True` but {estimator} has "
            "neither: `fit` would forget the parent."
        )
    former = _params(parent)
    for name in _must_stay(parent, former, params):
        if not np.array_equal(np.ravel(former[name]), np.ravel(params[name])):
            raise ValueError(
                f"`{name}` must be the parent's, {former[name]}, on which depends what it holds, "
                f"but is {params[name]}."
            )
    restored: Any = parent
    restored.set_params(**params)
    if hasattr(restored, "_optimizer"):
        if former["solver"] == params["solver"]:
            _restore_optimizer(restored, params)
        else:
            del restored._optimizer  # the next step makes one
    fitted: _Estimator = restored
    return fitted


def _params(estimator: Any, *, deep: bool = False) -> dict[str, Any]:
    params: dict[str, Any] = estimator.get_params(deep=deep)
    return params


def _must_stay(parent: Any, former: dict[str, Any], params: dict[str, Any]) -> list[str]:
    """Return the hyperparameters that can only be those that the parent was fitted with."""
    names = [name for name in _SIZES if name in params]
    if "hidden_layer_sizes" in params:  # scores, or losses, from the first step on
        names += ["early_stopping", "solver"] if former["solver"] == "lbfgs" else ["early_stopping"]
    if "average" in params and hasattr(parent, "coef_") and not params.get("warm_start"):
        names += [] if hasattr(parent, "_average_coef") else ["average"]
    return names


def _restore_optimizer(perceptron: Any, params: dict[str, Any]) -> None:
    """Set what the optimizer has copied from the estimator, and the rate that follows from it."""
    optimizer = perceptron._optimizer
    was_adaptive = getattr(optimizer, "lr_schedule", None) == "adaptive"
    reduced = optimizer.learning_rate / optimizer.learning_rate_init if was_adaptive else 1.0
    for name, param in _IN_OPTIMIZER.items():
        if hasattr(optimizer, name):
            setattr(optimizer, name, params[param])
    optimizer.learning_rate = optimizer.learning_rate_init
    if params["learning_rate"] == "adaptive":
        optimizer.learning_rate *= reduced
    optimizer.iteration_ends(perceptron.t_)  # a schedule stands where this trial's would
