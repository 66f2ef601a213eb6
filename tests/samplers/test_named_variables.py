"""Settings that name variables: unknown names, and values that cannot be inherited, are errors."""

from __future__ import annotations

import re
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler, GaussianMutation, PBTSampler, PerturbOrResample, parallel
from epbt_optuna.samplers import GenerationSampler
from tests.samplers.studies import SPACE, both_samplers, evolve, experimental, fitness_of, xy

naming = pytest.mark.parametrize(
    ("sampler_class", "options", "setting"),
    [
        (EPBTSampler, {"inherited": {"widht"}}, "inherited"),
        (PBTSampler, {"inherited": ["widht", "x"]}, "inherited"),
        (EPBTSampler, {"mutation": GaussianMutation(ordered={"widht"})}, "mutation.ordered"),
        (EPBTSampler, {"mutation": PerturbOrResample(ordered={"widht"})}, "mutation.ordered"),
        (PBTSampler, {"explore": PerturbOrResample(ordered={"widht"})}, "explore.ordered"),
        (PBTSampler, {"explore": GaussianMutation(ordered={"widht"})}, "explore.ordered"),
    ],
)


@naming
def test_a_name_that_the_search_space_lacks_is_refused_when_the_sampler_is_made(
    sampler_class: Any, options: dict[str, Any], setting: str
) -> None:
    message = (
        f"`{setting}` must name variables of `search_space`, which are ['x', 'y', 'z'], but has "
        "['widht']."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        sampler_class(4, search_space=SPACE, **options)


@naming
def test_a_name_that_no_trial_has_suggested_is_an_error_when_the_first_offspring_is_asked(
    sampler_class: Any, options: dict[str, Any], setting: str
) -> None:
    trained = []

    def objective(trial: optuna.Trial) -> float:
        trained.append(trial.number)
        return xy(trial)

    study = optuna.create_study(sampler=sampler_class(4, seed=0, **options), study_name="typo")
    message = (
        f"`{setting}` has 'widht', which no trial before trial 4 of study 'typo' has suggested; "
        "its parent has ['x', 'y']."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        study.optimize(objective, n_trials=8)
    assert trained == [0, 1, 2, 3]
    assert [trial.state for trial in study.trials[4:]] == [TrialState.FAIL]


@naming
def test_a_name_that_the_first_trial_has_not_suggested_is_a_warning_once_it_has_ended(
    sampler_class: Any, options: dict[str, Any], setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(sampler=sampler_class(4, seed=0, **options))
    study.optimize(xy, n_trials=3)
    assert caplog.messages == [
        f"`{setting}` has ['widht'], which trial 0 has not suggested; it has ['x', 'y']. If no "
        "other founder does, the first offspring is an error."
    ]


def test_a_run_of_several_workers_ends_with_the_same_error() -> None:
    study = optuna.create_study(sampler=EPBTSampler(4, seed=0, inherited={"widht"}))
    with pytest.raises(ValueError, match="`inherited` has 'widht', which no trial before trial"):
        parallel.optimize(study, xy, n_generations=3, workers=2, engine="thread")


@both_samplers
def test_a_conditional_variable_may_be_missing_in_parents_and_whole_populations(
    sampler_class: type[GenerationSampler],
) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("kind", ["a", "b"]) == "b":
            trial.suggest_int("depth", 1, 5)
            raise optuna.TrialPruned  # so nobody who can be a parent has it
        return fitness_of(trial.number)

    study = evolve(sampler_class(6, inherited={"kind", "depth"}, seed=0), 30, objective)  # type: ignore[call-arg, arg-type]
    assert any("depth" in trial.params for trial in study.trials[:6])
    assert {trial.params["kind"] for trial in study.trials[6:]} == {"a"}


@both_samplers
@pytest.mark.parametrize(
    ("inherited", "message"),
    [
        ("width", "`inherited` must be a set of names but got a string: write {'width'}."),
        (1, "`inherited` must be a set of names but got 1."),
        (None, "`inherited` must be a set of names but got None."),
        ({"width": 64}, "`inherited` must be a set of names but got {'width': 64}."),
        ([1], "`inherited` must be a set of names but has 1."),
        ({("x", "y")}, "`inherited` must be a set of names but has ('x', 'y')."),
    ],
)
def test_what_is_no_set_of_names_is_refused(
    sampler_class: Any, inherited: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        sampler_class(4, inherited=inherited)


@pytest.mark.parametrize("inherited", [set(), frozenset({"x"}), ["x"], ("x", "x"), {"x": 1}.keys()])
def test_any_collection_of_names_is_taken(inherited: Any) -> None:
    evolve(EPBTSampler(2, n_elites=1, inherited=inherited, seed=0), 4, xy)


def test_a_range_that_has_come_to_exclude_what_is_inherited_is_an_error_that_says_so() -> None:
    study = evolve(EPBTSampler(4, inherited={"n"}, seed=0), 4, lambda t: t.suggest_int("n", 50, 99))
    message = r"`inherited` has 'n', which trial 4 has from its parent as \d+, but the objective "
    message += r"suggests it from IntDistribution\(high=9, .*\), which excludes \d+\."
    with pytest.raises(ValueError, match=message):
        study.optimize(lambda trial: trial.suggest_int("n", 1, 9), n_trials=1)


@experimental
def test_what_a_wrapper_of_a_users_makes_of_it_is_an_error_that_says_so() -> None:
    class Rounding(optuna.samplers.PartialFixedSampler):
        """Fixes a variable in a way of its own, which nobody can know at ask."""

        def sample_independent(
            self, study: Any, trial: Any, param_name: str, param_distribution: Any
        ) -> Any:
            value = super().sample_independent(study, trial, param_name, param_distribution)
            return round(value) if param_name == "y" else value

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            space = super().infer_relative_search_space(study, trial)
            space.pop("y", None)
            return space

    sampler = EPBTSampler(4, inherited={"y"}, seed=0)
    study = evolve(sampler, 4, xy)
    study.sampler = Rounding({}, sampler)
    message = r"`inherited` has 'y', which trial 4 has from its parent as 0\.\d+, but Rounding "
    message += r"makes it [01]\. Fix it with PartialFixedSampler or enqueue it"
    with pytest.raises(ValueError, match=message):
        study.optimize(xy, n_trials=1)
