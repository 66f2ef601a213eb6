"""scikit-learn: the parent's estimator goes on under this trial's hyperparameters."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from epbt_optuna.integrations import restore_estimator

X, y = load_digits(return_X_y=True)
X, y = X[:200] / 16, y[:200]


def mlp(**params: Any) -> MLPClassifier:
    return MLPClassifier((8,), random_state=0, batch_size=50, **params)


def step(model: Any) -> Any:
    return model.partial_fit(X, y, classes=range(10))


@pytest.mark.parametrize(
    ("parents", "own"),
    [
        (
            {"solver": "sgd", "learning_rate_init": 0.5, "momentum": 0.5},
            {"solver": "sgd", "learning_rate_init": 0.01, "momentum": 0.9},
        ),
        (
            {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
            {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.01},
        ),
        (
            {"solver": "adam", "learning_rate_init": 0.1, "beta_1": 0.5},
            {"solver": "adam", "learning_rate_init": 0.001, "beta_1": 0.9},
        ),
    ],
    ids=["sgd", "a schedule", "adam"],
)
def test_a_perceptron_trains_at_its_own_rate_from_the_parents_weights_and_moments(
    parents: dict[str, Any], own: dict[str, Any]
) -> None:
    parent = step(step(mlp(**parents)))
    rates = []
    child = restore_estimator(mlp(**own), copy.deepcopy(parent))
    assert all(map(np.array_equal, child.coefs_, parent.coefs_))
    moments = "velocities" if own["solver"] == "sgd" else "ms"
    assert all(
        map(np.array_equal, getattr(child._optimizer, moments), getattr(parent._optimizer, moments))
    )
    update = child._optimizer.update_params

    def watch(*arguments: Any) -> None:
        if own["solver"] == "sgd":
            rates.append(child._optimizer.learning_rate)
        update(*arguments)

    child._optimizer.update_params = watch
    step(child)
    if own["solver"] == "sgd":
        n_seen = 2 * len(X) + 1 if "learning_rate" in own else 1
        assert rates == pytest.approx([own["learning_rate_init"] / n_seen**0.5] * 4)
    else:  # Adam corrects its rate for the steps so far
        t = 3 * 4
        rate = own["learning_rate_init"] * (1 - 0.999**t) ** 0.5 / (1 - own["beta_1"] ** t)
        assert child._optimizer.learning_rate == pytest.approx(rate)


def test_set_params_alone_would_train_a_perceptron_at_the_parents_rate() -> None:
    parent = step(mlp(solver="sgd", learning_rate_init=0.5))
    child = step(parent.set_params(learning_rate_init=0.01))
    assert child._optimizer.learning_rate == 0.5  # if this fails, scikit-learn does it itself


def test_an_adaptive_rate_keeps_the_parents_reductions() -> None:
    parent = step(mlp(solver="sgd", learning_rate="adaptive", learning_rate_init=0.5))
    parent._optimizer.learning_rate = 0.1
    own = mlp(solver="sgd", learning_rate="adaptive", learning_rate_init=0.05)
    assert restore_estimator(own, parent)._optimizer.learning_rate == pytest.approx(0.01)


def test_another_solver_begins_without_moments() -> None:
    child = restore_estimator(mlp(solver="adam"), step(mlp(solver="sgd")))
    assert step(child)._optimizer.t == 4


def test_generations_under_the_same_hyperparameters_are_one_run() -> None:
    def make() -> MLPClassifier:
        return mlp(solver="sgd", shuffle=False)

    model, whole = step(make()), step(make())
    for _ in range(3):
        model = step(restore_estimator(make(), model))
        step(whole)
    assert all(map(np.array_equal, model.coefs_, whole.coefs_))


def test_a_linear_model_trains_at_its_own_rate() -> None:
    def make(rate: float) -> SGDClassifier:
        return SGDClassifier(learning_rate="constant", eta0=rate, shuffle=False)

    parent = step(make(1.0))
    before = parent.coef_.copy()
    child = restore_estimator(make(1e-9), parent)
    assert np.array_equal(child.coef_, before)
    step(child)
    assert 0 < np.abs(child.coef_ - before).max() < 1e-6


def test_a_warm_forest_grows_more_trees() -> None:
    parent = RandomForestClassifier(3, warm_start=True, max_depth=2, random_state=0).fit(X, y)
    own = RandomForestClassifier(5, warm_start=True, max_depth=7, random_state=0)
    child = restore_estimator(own, parent).fit(X, y)
    depths = [tree.get_depth() for tree in child.estimators_]
    assert depths[:3] == [2, 2, 2]
    assert min(depths[3:]) > 2


def test_what_cannot_go_on_is_refused() -> None:
    with pytest.raises(TypeError, match=r"`parent` must be of class MLPClassifier.* SGDClassifier"):
        restore_estimator(mlp(), SGDClassifier())
    with pytest.raises(ValueError, match="`hidden_layer_sizes` must be the parent's"):
        restore_estimator(MLPClassifier((9,)), step(mlp()))
    with pytest.raises(ValueError, match=r"`warm_start=True` but RandomForestClassifier\(n_.*=3\)"):
        restore_estimator(RandomForestClassifier(3), RandomForestClassifier(3))
    holder = OneVsRestClassifier(SGDClassifier())
    with pytest.raises(ValueError, match="`estimator` must hold no other estimator"):
        restore_estimator(holder, OneVsRestClassifier(SGDClassifier()))


@pytest.mark.parametrize(
    ("parent", "own", "name"),
    [
        (MiniBatchKMeans(3), {"n_clusters": 2}, "n_clusters"),
        (LatentDirichletAllocation(3), {"n_components": 2}, "n_components"),
        (GaussianMixture(3, warm_start=True), {"n_components": 2}, "n_components"),
        (MLPClassifier((3,), warm_start=True), {"early_stopping": True}, "early_stopping"),
        (
            MLPClassifier((3,), warm_start=True, solver="lbfgs"),
            {"solver": "adam", "early_stopping": False},
            "solver",
        ),
        (SGDClassifier(), {"average": True}, "average"),
        (SGDClassifier(), {"average": False, "alpha": 0.1}, None),
        (SGDClassifier(average=True), {"average": False}, None),
        (SGDClassifier(warm_start=True), {"average": True}, None),
        (MLPClassifier((3,)), {"hidden_layer_sizes": [3]}, None),
        (MLPClassifier(np.array([3, 2])), {"hidden_layer_sizes": (3, 2)}, None),
        (MLPClassifier(3, solver="sgd"), {"solver": "adam"}, None),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_hyperparameter_on_which_depends_what_the_parent_holds_must_be_the_parents(
    parent: Any, own: dict[str, Any], name: str | None
) -> None:
    def go_on(estimator: Any) -> None:
        if getattr(estimator, "warm_start", False):
            estimator.fit(np.abs(X), y)
        elif is_classifier(estimator):
            estimator.partial_fit(X, y, classes=np.unique(y))
        else:
            estimator.partial_fit(np.abs(X))

    estimator, parent = clone(parent).set_params(**own), clone(parent)
    go_on(parent)
    if name is None:
        go_on(restore_estimator(estimator, parent))
    else:
        with pytest.raises(ValueError, match=f"`{name}` must be the parent's, .* but is"):
            restore_estimator(estimator, parent)


def test_the_step_of_a_pipeline_that_learns_goes_on_and_the_pipeline_itself_would_not() -> None:
    def make(rate: float) -> Any:
        sgd = SGDClassifier(learning_rate="constant", eta0=rate, warm_start=True, max_iter=1)
        return make_pipeline(StandardScaler(), sgd.set_params(tol=None))

    parent = make(1.0).fit(X, y)
    before = parent[-1].coef_.copy()
    child = make(1e-9)
    with pytest.raises(ValueError, match=r"must hold no other estimator but `standardscaler` is"):
        restore_estimator(child, parent)
    child.set_params(sgdclassifier=restore_estimator(child[-1], parent[-1])).fit(X, y)
    assert np.abs(before).max() > 1
    assert 0 < np.abs(child[-1].coef_ - before).max() < 1e-6
