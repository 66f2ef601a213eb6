"""Our samplers inside of others: what wraps them changes neither generations nor feasibility."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTPruner, EPBTSampler, ask_generation
from epbt_optuna.population import Generations
from epbt_optuna.samplers.wrappers import generation_sampler, generations_of
from tests.samplers.studies import SPACE, evolve, experimental, numbers, xy

pytestmark = experimental


class Rounding(BaseSampler):
    """A wrapper of a user's: fixes `y` on its own, and hands on what it is handed."""

    def __init__(self, base: BaseSampler) -> None:
        self.base = base

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.base.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        space = self.base.infer_relative_search_space(study, trial)
        space.pop("y", None)
        return space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.base.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        if param_name == "y":
            return 0.25
        return self.base.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self.base.after_trial(study, trial, state, values)


class WithoutBefore(Rounding):
    """A wrapper that hands on what has to be there, and no more."""

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        pass


def fixed(base: BaseSampler) -> BaseSampler:
    return PartialFixedSampler({"y": 0.25}, base)


def fixed_twice(base: BaseSampler) -> BaseSampler:
    return PartialFixedSampler({"z": 0.5}, PartialFixedSampler({"y": 0.25}, base))


wrappers = pytest.mark.parametrize("wrap", [fixed, fixed_twice, Rounding])


@wrappers
def test_the_sampler_that_breeds_is_found_inside_of_others(wrap: Any) -> None:
    ours = EPBTSampler(6, n_elites=2)
    assert generation_sampler(wrap(ours)) is ours
    study = optuna.create_study(sampler=wrap(ours))
    assert generations_of(study) == Generations(6, 2)
    assert generation_sampler(wrap(optuna.samplers.RandomSampler())) is None


def test_samplers_that_hold_each_other_are_no_endless_search() -> None:
    one, other = (Rounding(optuna.samplers.RandomSampler()) for _ in range(2))
    one.base, other.base = other, one
    assert generation_sampler(one) is None


@wrappers
def test_generations_are_asked_of_a_wrapped_sampler(wrap: Any) -> None:
    study = optuna.create_study(sampler=wrap(EPBTSampler(4, n_elites=1, seed=0)))
    for expected in ([0, 1, 2, 3], [4, 5, 6]):
        trials = ask_generation(study, SPACE)
        assert numbers([study.trials[trial.number] for trial in trials]) == expected
        assert all(trial.params["y"] == 0.25 for trial in trials)
        for trial in trials:
            study.tell(trial, trial.params["x"])


@wrappers
def test_the_pruner_finds_a_wrapped_sampler(wrap: Any) -> None:
    pruner: BasePruner = EPBTPruner(min_offspring=0.5, n_min_trials=1, min_survivors=1)
    study = optuna.create_study(sampler=wrap(EPBTSampler(4, n_elites=0, seed=0)), pruner=pruner)

    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("x", 0, 1)
        for step in range(3):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study.optimize(objective, n_trials=12)
    assert TrialState.PRUNED in [trial.state for trial in study.trials]


@wrappers
@pytest.mark.parametrize("search_space", [None, SPACE])
def test_what_a_wrapper_fixes_reaches_the_predicate(wrap: Any, search_space: Any) -> None:
    seen = []

    def feasible(params: Mapping[str, Any]) -> bool:
        seen.append(params["y"])
        return bool(params["x"] < params["y"])

    def objective(trial: optuna.Trial) -> float:
        return xy(trial) + trial.suggest_float("z", 0, 1)

    sampler = EPBTSampler(4, search_space=search_space, feasible=feasible, seed=0)
    study = evolve(wrap(sampler), 16, objective)
    assert set(seen) == {0.25}
    held = study.trials[0 if search_space else 4 :]
    assert all(trial.params["x"] < 0.25 and trial.params["y"] == 0.25 for trial in held)


def test_a_fixed_variable_that_the_search_space_lacks_reaches_the_predicate() -> None:
    def feasible(params: Mapping[str, Any]) -> bool:
        return bool(params["x"] < params["y"])

    sampler = EPBTSampler(4, search_space={"x": SPACE["x"]}, feasible=feasible, seed=0)
    study = evolve(fixed(sampler), 8, xy)
    assert all(trial.params["x"] < 0.25 for trial in study.trials)


def test_an_enqueued_variable_comes_before_what_a_wrapper_fixes() -> None:
    seen = []

    def feasible(params: Mapping[str, Any]) -> bool:
        seen.append(params["y"])
        return True

    study = optuna.create_study(
        sampler=fixed(EPBTSampler(2, search_space=SPACE, feasible=feasible, seed=0))
    )
    study.enqueue_trial({"y": 0.75})
    study.optimize(lambda trial: xy(trial) + trial.suggest_float("z", 0, 1), n_trials=3)
    assert seen == [0.75, 0.25, 0.25]
    assert [trial.params["y"] for trial in study.trials] == seen


@pytest.mark.parametrize(
    "options", [{}, {"inherited": {"kind"}}, {"feasible": lambda params: params["kind"] != "a"}]
)
def test_a_wrapper_that_uses_copies_of_trials_loses_nothing_of_the_genome(
    options: dict[str, Any],
) -> None:
    class Copying(Rounding):
        def sample_independent(self, study: Any, trial: Any, *rest: Any) -> Any:
            return self.base.sample_independent(study, study.trials[trial.number], *rest)

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("kind", ["a", "b", "c", "d"])
        return trial.suggest_float("x", 0, 1)

    plain = evolve(EPBTSampler(4, **options, seed=0), 16, objective)
    copying = evolve(Copying(EPBTSampler(4, **options, seed=0)), 16, objective)
    assert [t.params for t in copying.trials] == [t.params for t in plain.trials]


@pytest.mark.parametrize("url", ["memory", "sqlite", "journal"])
def test_what_is_kept_for_the_hooks_of_a_trial_is_not_in_the_storage(
    url: str, tmp_path: Any
) -> None:
    storages: dict[str, Any] = {
        "memory": optuna.storages.InMemoryStorage,
        "sqlite": lambda: optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db"),
        "journal": lambda: optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(f"{tmp_path}/journal")
        ),
    }
    storage = storages[url]()
    study = optuna.create_study(sampler=EPBTSampler(2, seed=0), storage=storage)
    trial = study.ask({"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)})
    (stored,) = storage.get_all_trials(storage.get_all_studies()[0]._study_id, deepcopy=False)
    assert stored.number == trial.number
    assert not any("kept" in name for name in vars(stored))


@pytest.mark.parametrize(
    ("wrap", "n_warnings"), [(WithoutBefore, 1), (Rounding, 0), (fixed, 0), (lambda base: base, 0)]
)
def test_a_wrapper_that_hands_on_too_little_is_told_so_once(
    wrap: Any, n_warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    evolve(wrap(EPBTSampler(4, seed=0)), 12, xy)
    lines = [line for line in caplog.messages if "must hand on all hooks" in line]
    assert len(lines) == n_warnings
