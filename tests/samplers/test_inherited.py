"""`inherited`: variables that founders draw and offspring have from their parents."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import PartialFixedSampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import (
    CheckpointStore,
    EPBTSampler,
    PBTSampler,
    PerturbOrResample,
    UniformCrossover,
)
from epbt_optuna.lineage import Schedule
from epbt_optuna.samplers.parents import read_genome
from tests.replay import check_lineage
from tests.samplers.studies import (
    SUGGESTIONS,
    both_samplers,
    bred,
    eventful,
    evolve,
    experimental,
    fitness_of,
    mate_of,
    parent_of,
    plain,
    record_of,
    rules_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:Choices for a categorical:UserWarning")

SHAPE = {"int", "stepped float", "log float", "category"}

SamplerClass = type[EPBTSampler] | type[PBTSampler]


def shape_of(trial: FrozenTrial) -> dict[str, Any]:
    return {name: trial.params[name] for name in SHAPE}


def network(trial: optuna.Trial) -> float:
    """Categories that a database changes, and a variable that some networks do not have."""
    sizes: list[Any] = [(8,), (16, 16), (32,)]
    trial.suggest_categorical("sizes", sizes)
    if trial.suggest_categorical("kind", ["dense", "convolutional"]) == "convolutional":
        trial.suggest_int("kernel", 1, 7, step=2)
    trial.suggest_float("rate", 1e-4, 1, log=True)
    return fitness_of(trial.number)


# What is inherited


@both_samplers
def test_offspring_have_their_parents_values_and_the_rest_evolves(
    sampler_class: SamplerClass,
) -> None:
    sampler = sampler_class(6, inherited=SHAPE, seed=0)
    study = evolve(sampler, 60, eventful)
    check_lineage(study.trials, rules_of(sampler, study))
    family = bred(study)
    assert len({str(shape_of(trial)) for trial in study.trials[:6]}) == 6
    assert all(shape_of(trial) == shape_of(parent) for trial, parent in family)
    assert any(trial.params["float"] != parent.params["float"] for trial, parent in family)


@both_samplers
def test_categories_that_a_database_changes_and_conditional_variables_are_inherited(
    sampler_class: SamplerClass, tmp_path: Path
) -> None:
    sampler = sampler_class(6, inherited={"sizes", "kind", "kernel"}, seed=1)
    storage = RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = evolve(sampler, 30, network, storage=storage)
    assert {trial.params["kind"] for trial in study.trials} == {"dense", "convolutional"}
    for trial, parent in bred(study):
        assert {**trial.params, "rate": 0} == {**parent.params, "rate": 0}


def test_the_weights_parent_has_the_say_and_not_the_mate() -> None:
    sampler = EPBTSampler(6, crossover=UniformCrossover(1.0), inherited=SHAPE, seed=0)
    study = evolve(sampler, 30)
    differing = 0
    for trial, parent in bred(study):
        mate = study.trials[mate_of(trial) or 0]
        differing += shape_of(mate) != shape_of(parent)
        assert shape_of(trial) == shape_of(parent)
    assert differing > 0


@both_samplers
def test_the_other_variables_are_bred_as_without_it(sampler_class: SamplerClass) -> None:
    study = evolve(sampler_class(6, inherited=SHAPE, seed=0), 9)
    without = evolve(sampler_class(6, seed=0), 9)
    for trial, other in zip(study.trials, without.trials, strict=True):
        assert {**other.params, **shape_of(trial)} == trial.params


def test_a_parent_that_is_outside_of_its_own_range_passes_its_value_on() -> None:
    sampler = EPBTSampler(2, n_elites=0, inherited={"int"}, seed=0)
    study = optuna.create_study(sampler=sampler)
    for _ in range(2):
        study.enqueue_trial({"int": 500})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(plain, n_trials=2)
    study.optimize(plain, n_trials=4)
    assert [trial.params["int"] for trial in study.trials] == [500] * 6


def test_what_is_inherited_is_judged_by_feasible_and_stays_where_it_fails() -> None:
    def feasible(params: Mapping[str, Any]) -> bool:
        return bool(params["int"] > 1000)

    sampler = EPBTSampler(2, n_elites=1, inherited={"int"}, feasible=feasible, seed=0)
    study = evolve(sampler, 2)
    with pytest.warns(UserWarning, match="None of 100 bred genomes was `feasible`"):
        study.optimize(plain, n_trials=1)
    ((trial, parent),) = bred(study)
    assert trial.params["int"] == parent.params["int"]


def test_every_step_of_a_schedule_has_the_same_values() -> None:
    study = evolve(EPBTSampler(4, n_elites=1, inherited=SHAPE, seed=0), 40)
    steps = Schedule.from_study(study).steps
    assert len(steps) > 3
    assert len({str({name: step.params[name] for name in SHAPE}) for step in steps}) == 1


def test_a_sampler_with_it_can_be_pickled() -> None:
    sampler = EPBTSampler(4, inherited=SHAPE, seed=0)
    copied = pickle.loads(pickle.dumps(sampler))
    assert record_of(evolve(copied, 16)) == record_of(evolve(sampler, 16))


# Who is a founder


@both_samplers
@pytest.mark.parametrize(
    ("fixed", "is_founder"),
    [
        (lambda params: {"int": params["int"]}, False),
        (lambda params: {"int": float(params["int"])}, False),
        (lambda params: {"int": -params["int"]}, True),
        (lambda params: {"category": "a" if params["category"] is None else None}, True),
        (lambda params: params, False),
        (lambda params: {**params, "float": 0.125}, False),
        (lambda params: {**params, "float": 0.125, "int": -params["int"]}, True),
        (lambda _: {"float": 0.125}, False),
        (lambda _: {}, False),
    ],
)
def test_an_enqueued_trial_that_differs_from_its_parent_in_one_is_a_founder(
    sampler_class: SamplerClass, fixed: Callable[[Any], dict[str, Any]], is_founder: bool
) -> None:
    def start() -> optuna.Study:
        return evolve(sampler_class(6, inherited={"int", "category"}, seed=4), 6)

    study = start()
    study.optimize(plain, n_trials=1)
    ((_, parent),) = bred(study)
    assert parent.params["int"] != 0
    study = start()
    study.enqueue_trial(fixed(parent.params))
    study.optimize(plain, n_trials=8)
    trial = study.trials[6]
    assert parent_of(trial) == (None if is_founder else parent.number)
    assert mate_of(trial) is None or not is_founder
    assert fixed(parent.params).items() <= trial.params.items()
    for offspring, its_parent in bred(study):
        assert offspring.params["int"] == its_parent.params["int"]


@experimental
def test_a_fixed_category_is_the_parents_also_after_a_database_had_it(tmp_path: Path) -> None:
    sampler = EPBTSampler(2, n_elites=0, inherited={"sizes"}, seed=0)
    storage = RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(sampler=sampler, storage=storage)
    parents = []
    for sizes in ((16, 16), (16, 16), (16, 16), (8,)):
        study.sampler = PartialFixedSampler({"sizes": sizes}, sampler)
        study.optimize(network, n_trials=1)
        parents.append(parent_of(study.trials[-1]))
    assert [parent is None for parent in parents] == [True, True, False, True]


def test_an_enqueued_trial_with_a_variable_that_its_parent_lacks_is_a_founder() -> None:
    def objective(trial: optuna.Trial) -> float:
        value = network(trial)
        if "kernel" in trial.params:
            raise optuna.TrialPruned  # so that no parent has it
        return value

    study = optuna.create_study(sampler=EPBTSampler(2, n_elites=0, inherited={"kernel"}, seed=0))
    for kind in ("convolutional", "dense"):
        study.enqueue_trial({"kind": kind})
    study.enqueue_trial({"kernel": 3})
    study.optimize(objective, n_trials=4)
    assert [parent_of(trial) for trial in study.trials] == [None, None, None, 1]


@both_samplers
def test_what_partial_fixed_sampler_changes_makes_founders_until_all_have_it(
    sampler_class: SamplerClass,
) -> None:
    sampler = sampler_class(4, inherited={"int"}, seed=0)
    study = evolve(sampler, 12)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.sampler = PartialFixedSampler({"int": 7}, sampler)
    study.optimize(plain, n_trials=28)
    for trial in study.trials[12:]:
        parent = parent_of(trial)
        assert trial.params["int"] == 7
        assert parent is None or study.trials[parent].params["int"] == 7
    parents = [parent_of(trial) for trial in study.trials[12:]]
    assert parents[0] is None
    assert None not in parents[-4:]


@experimental
def test_what_partial_fixed_sampler_fixes_makes_no_founder_of_a_child_that_never_has_it() -> None:
    sampler = EPBTSampler(4, inherited={"kind", "kernel"}, seed=0)
    study = evolve(PartialFixedSampler({"kernel": 3}, sampler), 20, network)
    assert {t.params["kind"] for t in study.trials} == {"dense", "convolutional"}
    assert len(bred(study)) == 16


@experimental
def test_a_retry_keeps_its_lineage() -> None:
    sampler = EPBTSampler(4, n_elites=2, inherited={"int"}, seed=0)
    study = evolve(sampler, 4)
    failed = []
    for fixed in ({}, {"int": 19}):
        study.enqueue_trial(fixed)
        asked = study.ask()
        SUGGESTIONS["int"](asked)
        study.tell(asked, state=TrialState.FAIL)
        failed.append(study.trials[asked.number])
    assert [parent_of(trial) is None for trial in failed] == [False, True]
    for trial in failed:
        RetryHeartbeatStaleTrialCallback()(study, trial)
    study.optimize(plain, n_trials=2)
    for trial, retried in zip(failed, study.trials[6:], strict=True):
        assert (parent_of(retried), mate_of(retried)) == (parent_of(trial), mate_of(trial))
        assert retried.params["int"] == trial.params["int"]


def test_inherited_weights_have_the_shape_that_the_trial_suggests(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path)

    def objective(trial: optuna.Trial) -> float:
        width = trial.suggest_int("width", 1, 64, log=True)
        state = checkpoints.inherit(trial)
        weights = [0.0] * width if state is None else state["weights"]
        assert len(weights) == width
        checkpoints.save(trial, {"weights": weights})
        return trial.suggest_float("x", 0, 1)

    study = optuna.create_study(sampler=EPBTSampler(4, inherited={"width"}, seed=0))
    study.optimize(objective, n_trials=6)
    for width in (1, 64, 8):
        study.enqueue_trial({"width": width})
    study.optimize(objective, n_trials=9)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    assert len({read_genome(study, n).params["width"] for n in range(15)}) > 2


def test_an_explore_may_move_what_is_not_inherited_only() -> None:
    explore = PerturbOrResample(factor=3, resample_probability=1.0)
    study = evolve(PBTSampler(8, explore=explore, inherited={"int"}, seed=0), 40)
    explored = [(t, p) for t, p in bred(study) if t.number % 8 != p.number % 8]
    assert explored
    assert all(trial.params["int"] == parent.params["int"] for trial, parent in explored)
    assert all(trial.params["float"] != parent.params["float"] for trial, parent in explored)
