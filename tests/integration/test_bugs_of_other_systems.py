"""What went wrong in other PBT systems, each as a test that it cannot happen here.

The numbers in the names are those of issues in Ray, unless they say otherwise. That each test can
fail was checked by taking one guard at a time out of a copy of the library:

    1    Retention: the parents of unfinished trials | all who may still become parents
    2    inherit: the recorded parent, for its weights | the samplers: the same, for its genome
    3    restore_optimizer: setting the new values | loading the old state
    4    genome.clip: the range
    5    PopulationHistory: breeding before a generation is done | passing over who still runs
    6a   the samplers: a random stream for each trial, instead of one for all
    6b   inherit: the error
    7    PopulationHistory: leaving out whoever is not COMPLETE | Individual: the direction
    8a   mutation: leaving categories out of the arithmetic | genome.draw: categories of any type
    8b   before_trial: recording the lineage
    9    collector: collecting | closing a folder once synchronised | closing a file once mapped
    10   save: tensors that are no floats | their full precision
"""

from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from epbt_optuna import (
    CheckpointError,
    CheckpointStore,
    EPBTSampler,
    GaussianMutation,
    PBTSampler,
    PerturbOrResample,
    ask_generation,
    restore_optimizer,
)
from epbt_optuna.genome import Genome
from epbt_optuna.lineage import ancestry
from epbt_optuna.operators import Mutation

Sampler = EPBTSampler | PBTSampler


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path)


@pytest.fixture(params=[EPBTSampler, PBTSampler])
def sampler(request: pytest.FixtureRequest) -> Sampler:
    made: Sampler = request.param(8, seed=0)
    return made


def make_study(sampler: Sampler, **settings: Any) -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=sampler, **settings)


def parent_of(study: optuna.Study, number: int) -> int | None:
    parent: int | None = study.trials[number].system_attrs["epbt:lineage"]["parent"]
    return parent


def test_1_retention_never_deletes_what_a_pending_child_will_inherit_9036_8441(
    sampler: Sampler, checkpoints: CheckpointStore
) -> None:
    study = make_study(sampler)
    for generation in range(8):
        trials = ask_generation(study)
        for trial in trials:
            checkpoints.collect(study)  # while all of them are still to inherit
            assert (checkpoints.inherit(trial) is None) == (generation == 0)
        for trial in reversed(trials):
            checkpoints.save(trial, {"number": trial.number})
            study.tell(trial, -abs(trial.number % 7))
            checkpoints.collect(study)


def keep_parent(parent: Genome, mate: Genome, rng: np.random.Generator) -> Genome:  # noqa: ARG001
    return parent


UNCHANGED = GaussianMutation(sigma=0, reset_probability=0)


@pytest.mark.parametrize(
    "sampler",
    [
        EPBTSampler(8, mutation=UNCHANGED, crossover=keep_parent, seed=0),
        PBTSampler(8, explore=UNCHANGED, seed=0),
    ],
    ids=["EPBT", "PBT"],
)
def test_2_a_child_has_the_weights_and_the_genome_of_one_and_the_same_parent_28509(
    sampler: Sampler, checkpoints: CheckpointStore
) -> None:
    study = make_study(sampler)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        state = checkpoints.inherit(trial)
        if state is not None:
            assert state == {"x": x, "number": parent_of(study, trial.number)}
        checkpoints.save(trial, {"x": x, "number": trial.number})
        return x

    study.optimize(objective, n_trials=60)


def test_3_restoring_the_optimizer_keeps_the_mutated_learning_rate_62173_36660(
    sampler: Sampler, checkpoints: CheckpointStore
) -> None:
    study = make_study(sampler)

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        weight = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([weight], lr=lr, momentum=0.9)
        if (state := checkpoints.inherit(trial)) is not None:
            restore_optimizer(optimizer, state["optimizer"], lr=lr)
            assert optimizer.state[weight]  # the momentum is the parent's
        assert optimizer.param_groups[0]["lr"] == lr
        weight.grad = torch.ones(1)
        optimizer.step()
        checkpoints.save(trial, {"optimizer": optimizer.state_dict()})
        return -lr

    study.optimize(objective, n_trials=40)
    assert len({trial.params["lr"] for trial in study.trials}) > 8  # those of the founders


@pytest.mark.parametrize("mutation", [GaussianMutation(), PerturbOrResample()])
def test_4_no_value_leaves_its_range_however_often_it_is_explored_5035_11936_12717(
    mutation: Mutation,
) -> None:
    distributions = {
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
        "momentum": FloatDistribution(-0.9, 0.99),
        "batch": IntDistribution(8, 512, log=True),
        "layers": IntDistribution(1, 9, step=2),
    }
    rng = np.random.default_rng(0)
    for _ in range(500):
        genome = Genome({"lr": 1e-1, "momentum": 0.99, "batch": 512, "layers": 9}, distributions)
        for _ in range(10):
            genome = mutation(genome, rng)
            for name, value in genome.params.items():
                assert distributions[name]._contains(value)


def test_5_nobody_waits_for_a_dead_trial_23424_48616_12122_28511(sampler: Sampler) -> None:
    study = make_study(sampler)
    for _ in range(100):
        trial = study.ask()
        if trial.number % 3:  # every third worker dies
            study.tell(trial, trial.suggest_float("x", 0, 1))
    assert len(study.trials) == 100
    n_bred = sum(parent_of(study, number) is not None for number in range(8, 100))
    assert n_bred == 92


def test_6a_a_run_restored_by_a_new_sampler_goes_on_as_if_never_interrupted_30838(
    sampler: Sampler, tmp_path: Path
) -> None:

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1)

    whole = make_study(sampler)
    whole.optimize(objective, n_trials=50)
    storage = f"sqlite:///{tmp_path}/study.db"
    for n_trials in (3, 20, 27):
        restored = make_study(
            type(sampler)(8, seed=0), storage=storage, study_name="s", load_if_exists=True
        )
        restored.optimize(objective, n_trials=n_trials)
    for trial, other in zip(whole.trials, restored.trials, strict=True):
        assert trial.params == other.params
        assert parent_of(whole, trial.number) == parent_of(restored, trial.number)


def test_6b_a_parent_without_a_checkpoint_is_an_error_and_not_a_silent_restart_27170(
    sampler: Sampler, checkpoints: CheckpointStore
) -> None:
    study = make_study(sampler)
    for _ in range(8):
        study.tell(study.ask(), 0.0)
    with pytest.raises(CheckpointError, match="saved no checkpoint"):
        checkpoints.inherit(study.ask())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_7_nan_is_never_a_parent_and_infinity_of_the_losing_side_never_an_elite(
    sampler: Sampler, bad: float
) -> None:
    study = optuna.create_study(direction="minimize" if bad > 0 else "maximize", sampler=sampler)
    study.optimize(
        lambda trial: bad if trial.number % 4 == 1 else trial.suggest_float("x", 0, 1),
        n_trials=60,
    )
    for trial in study.trials[8:]:
        assert parent_of(study, trial.number) is not None
        if math.isnan(bad):
            assert parent_of(study, trial.number) % 4 != 1  # type: ignore[operator]
    fittest = sampler.get_population(study, 3)[: 4 if sampler.n_elites else 6]
    assert all(trial.number % 4 != 1 for trial in fittest)


def test_8a_strings_and_none_are_explored_like_any_category(sampler: Sampler) -> None:
    study = make_study(sampler)
    study.optimize(
        lambda trial: float(trial.suggest_categorical("act", ["relu", "gelu", None]) == "gelu"),
        n_trials=80,
    )
    assert {trial.params["act"] for trial in study.trials[8:]} == {"relu", "gelu", None}


def test_8b_the_schedule_of_the_best_can_be_read_back_9178_5489_8829(sampler: Sampler) -> None:
    study = make_study(sampler)

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1) + sampler.generation_of(trial.number)

    study.optimize(objective, n_trials=60)
    schedule = ancestry(study)
    assert schedule[-1] == study.best_trial
    generations = [sampler.generation_of(trial.number) for trial in schedule]
    assert generations == sorted(set(generations))
    for parent, child in pairwise(schedule):
        assert parent_of(study, child.number) == parent.number


def test_9_open_files_and_bytes_on_disk_do_not_grow_with_generations_10890_12208(
    sampler: Sampler, checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    study = make_study(sampler)

    def objective(trial: optuna.Trial) -> float:
        state = checkpoints.inherit(trial)
        checkpoints.save(trial, {"weights": torch.zeros(1000), "parent": state is not None})
        return trial.suggest_float("x", 0, 1)

    usage = []
    for _ in range(4):
        study.optimize(objective, n_trials=40, callbacks=[checkpoints.collector()])
        usage.append((len(os.listdir("/proc/self/fd")), len(list(tmp_path.iterdir()))))
    assert usage[0][0] == usage[-1][0]
    assert max(n_files for _, n_files in usage) <= 8 + 8


PARTS = ("model", "optimizer", "scheduler", "rng")


@pytest.mark.parametrize("left_out", [None, *PARTS])
def test_10_training_goes_on_after_exploit_as_if_not_interrupted_if_nothing_is_left_out_53831(
    checkpoints: CheckpointStore, left_out: str | None
) -> None:
    """One member trained over five generations equals one trained in one go, bit for bit."""

    def make() -> dict[str, Any]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5)
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
        return {"model": model, "optimizer": optimizer, "scheduler": scheduler}

    def train(model: Any, optimizer: Any, scheduler: Any, n_steps: int) -> None:
        for _ in range(n_steps):
            optimizer.zero_grad()
            model(torch.randn(16, 4)).square().sum().backward()
            optimizer.step()
            scheduler.step()

    whole = make()
    train(**whole, n_steps=10)

    study = make_study(PBTSampler(2, seed=0))
    while len(study.trials) < 10:
        trial = study.ask()
        parts = make()
        if (state := checkpoints.inherit(trial)) is not None:
            for name, part in parts.items():
                if name != left_out:
                    part.load_state_dict(state[name])
            if left_out != "rng":
                torch.set_rng_state(state["rng"])
        train(**parts, n_steps=2)
        state = {name: part.state_dict() for name, part in parts.items()}
        checkpoints.save(trial, {**state, "rng": torch.get_rng_state()})
        study.tell(trial, 0.0, state=TrialState.COMPLETE)
    trained = parts["model"].state_dict()
    is_same = all(
        torch.equal(trained[name], value) for name, value in whole["model"].state_dict().items()
    )
    assert is_same == (left_out is None)
