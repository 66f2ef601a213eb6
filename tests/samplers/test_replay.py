"""Replaying a schedule: exact params, weights handed on, and nothing that breaks the chain."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import TrialState

from epbt_optuna import CheckpointError, CheckpointStore, EPBTSampler, TaylorGLOLoss, resume
from epbt_optuna.journal import journal_storage
from epbt_optuna.lineage import (
    ReplaySampler,
    Schedule,
    ScheduleStep,
    ancestry,
    lineage_graph,
    loss_schedule,
    summarize_generations,
)
from tests.lineage.studies import evolve
from tests.lineage.studies import objective as evolved_objective


@pytest.fixture(scope="module")
def schedule() -> Schedule:
    schedule = Schedule.from_study(evolve(EPBTSampler(6, n_elites=1, seed=0)))
    assert len(schedule) > 5
    assert len({repr(step.params) for step in schedule.steps}) == len(schedule)
    return schedule


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Suggest what the evolved objective does, from the same distributions."""
    with suppress(optuna.TrialPruned, ArithmeticError):
        evolved_objective(trial)
    return trial.params


def start(schedule: Schedule, storage: Any = None) -> tuple[optuna.Study, ReplaySampler]:
    sampler = ReplaySampler(schedule)
    study = optuna.create_study(
        study_name="replay", direction="maximize", sampler=sampler, storage=storage
    )
    return study, sampler


def train(trial: optuna.Trial, checkpoints: CheckpointStore) -> list[float]:
    """Write down what the weights were trained with, after what their parent wrote."""
    state = checkpoints.inherit(trial) or {"rates": []}
    rates = [*state["rates"], suggest(trial)["rate"]]
    checkpoints.save(trial, {"rates": rates})
    return rates


# What is replayed


@pytest.mark.parametrize("kind", ["memory", "sqlite", "journal"])
def test_the_params_are_exactly_those_that_were_recorded(
    schedule: Schedule, tmp_path: Path, kind: str
) -> None:
    storages: dict[str, Callable[[], optuna.storages.BaseStorage]] = {
        "memory": InMemoryStorage,
        "sqlite": lambda: RDBStorage(f"sqlite:///{tmp_path}/replay.db"),
        "journal": lambda: journal_storage(tmp_path / "replay.log"),
    }
    replayed = Schedule.from_json(schedule.to_json())
    study, sampler = start(replayed, storages[kind]())
    study.optimize(lambda trial: float(bool(suggest(trial))), n_trials=sampler.n_trials())
    got = [repr(sorted(trial.params.items())) for trial in study.trials]
    expected = [repr(sorted(step.params.items())) for step in schedule.steps]
    assert got == expected


def test_weights_are_handed_on_along_the_chain_and_each_network_begins_afresh(
    schedule: Schedule, checkpoints: CheckpointStore
) -> None:
    study, sampler = start(schedule)
    lines: list[list[float]] = []

    def objective(trial: optuna.Trial) -> float:
        lines.append(train(trial, checkpoints))
        return 0.0

    assert sampler.n_trials(2, study) == sampler.n_trials(2)
    study.optimize(objective, n_trials=sampler.n_trials(2))
    assert (sampler.n_trials(2, study), sampler.n_trials(3, study)) == (0, len(schedule))
    rates = [step.params["rate"] for step in schedule.steps]
    assert lines == 2 * [rates[: i + 1] for i in range(len(rates))]


def test_trial_n_trains_network_n_div_len_at_step_n_mod_len(schedule: Schedule) -> None:
    study, sampler = start(schedule)
    for n in range(sampler.n_trials(3)):
        trial = study.ask()
        position = sampler.position(trial)
        assert (position.network, position.index) == divmod(n, len(schedule))
        assert position.step == schedule.steps[position.index]
        study.tell(trial, 0.0)
        assert sampler.position(study.trials[n]) == position


def test_an_objective_may_leave_variables_out_and_widen_their_range(schedule: Schedule) -> None:
    study, sampler = start(schedule)
    study.optimize(lambda trial: trial.suggest_float("share", -1, 2), n_trials=sampler.n_trials())
    assert [t.params for t in study.trials] == [
        {"share": step.params["share"]} for step in schedule.steps
    ]


def test_replaying_in_one_study_is_training_with_the_losses_by_epoch(
    checkpoints: CheckpointStore,
) -> None:
    def evolve_loss(trial: optuna.Trial) -> float:
        TaylorGLOLoss.suggest(trial)
        trial.report(0.0, 0)
        return float(trial.number)

    evolved = evolve(EPBTSampler(4, n_elites=1, seed=0), objective=evolve_loss, n_trials=20)
    schedule = Schedule.from_study(evolved)
    inputs, labels = torch.randn(20, 3), torch.randint(0, 3, (20,))
    torch.manual_seed(1)
    start_state = torch.nn.Linear(3, 3).state_dict()

    def epoch(network: torch.nn.Linear, loss_fn: TaylorGLOLoss) -> None:
        network.zero_grad()
        loss_fn(network(inputs), labels).backward()
        with torch.no_grad():
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter.sub_(0.1 * parameter.grad)

    def replay(trial: optuna.Trial) -> float:
        network = torch.nn.Linear(3, 3)
        network.load_state_dict(checkpoints.inherit(trial) or start_state)
        epoch(network, TaylorGLOLoss.suggest(trial))
        checkpoints.save(trial, network.state_dict())
        return 0.0

    study, sampler = start(schedule)
    study.optimize(replay, n_trials=sampler.n_trials())
    network = torch.nn.Linear(3, 3)
    network.load_state_dict(start_state)
    for loss_fn in loss_schedule(evolved):
        epoch(network, loss_fn)
    assert len(schedule) > 3
    for name, weights in checkpoints.load(study.trials[-1]).items():
        assert torch.equal(weights, network.state_dict()[name])


def test_the_sampler_is_the_same_after_pickling(schedule: Schedule) -> None:
    sampler = pickle.loads(pickle.dumps(ReplaySampler(schedule)))
    assert sampler.schedule == schedule
    assert sampler.n_trials(4) == 4 * len(schedule)


# What goes wrong


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED])
def test_a_step_that_fails_is_trained_again_from_the_same_weights(
    schedule: Schedule, checkpoints: CheckpointStore, state: TrialState
) -> None:
    study, sampler = start(schedule)
    indices, line = [], []
    for n in range(len(schedule) + 2):
        trial = study.ask()
        indices.append(sampler.position(trial).index)
        line = train(trial, checkpoints)
        lost = n in (0, 3)
        study.tell(trial, None if lost else 0.0, state=state if lost else None)
        checkpoints.collect(study)
    assert indices == [0, 0, 1, 2, 2, *range(3, len(schedule))]
    assert line == [step.params["rate"] for step in schedule.steps]


def test_a_step_that_was_cut_off_is_resumed_from_its_own_partial_checkpoint(
    schedule: Schedule, checkpoints: CheckpointStore
) -> None:
    study, sampler = start(schedule)
    study.optimize(lambda t: float(bool(train(t, checkpoints))), n_trials=2)
    cut_off = study.ask()
    suggest(cut_off)
    checkpoints.save(cut_off, {"rates": ["partial"]}, final=False)
    resume(study, study.trials[2])
    trial = study.ask()
    assert sampler.position(trial) == sampler.position(study.trials[2])
    assert checkpoints.inherit(trial) == {"rates": ["partial"]}
    assert suggest(trial) == schedule.steps[2].params
    study.tell(trial, 0.0)
    assert [t.number for t in ancestry(study, trial.number)] == [0, 1, 3]


def test_a_retry_that_comes_too_late_is_refused(schedule: Schedule) -> None:
    study, _ = start(schedule)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.tell(study.ask(), 0.0)
    resume(study, study.trials[0])
    with pytest.raises(ValueError, match="Trial 2 retries step 0 of network 0, which another"):
        study.ask()
    assert study.trials[2].state == TrialState.FAIL


def test_steps_are_not_trained_side_by_side(schedule: Schedule) -> None:
    study, _ = start(schedule)
    first = study.ask()
    with pytest.raises(ValueError, match="Trial 0 of study 'replay' is still running, and steps"):
        study.ask()
    assert study.trials[1].state == TrialState.FAIL
    study.tell(first, 0.0)
    assert ancestry(study, study.ask().number)[0].number == 0


def test_a_variable_that_the_schedule_lacks_is_named_with_the_step(schedule: Schedule) -> None:
    study, _ = start(schedule)
    trial = study.ask()
    founder = schedule.steps[0].trial
    message = (
        f"Step 0 of the schedule (trial {founder} of study 'evolved') has no parameter 'depth', "
        "which the objective suggests; it has ['kind', 'rate', 'share', 'width']."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        trial.suggest_int("depth", 1, 3)


@pytest.mark.parametrize(
    "suggest_other",
    [
        lambda trial: trial.suggest_float("share", 2, 3),
        lambda trial: trial.suggest_int("share", 0, 1),
        lambda trial: trial.suggest_categorical("share", ["a", "b"]),
    ],
)
def test_a_distribution_that_excludes_the_value_is_named_with_the_step(
    schedule: Schedule, suggest_other: Callable[[optuna.Trial], Any]
) -> None:
    study, _ = start(schedule)
    share = schedule.steps[0].params["share"]
    with pytest.raises(
        ValueError, match=rf"^Step 0 of the schedule \(.*\) has share={share!r}, which .* excludes"
    ):
        suggest_other(study.ask())


def test_a_range_of_another_single_value_does_not_pass_unnoticed(schedule: Schedule) -> None:
    study, _ = start(schedule)
    trial = study.ask()
    trial.suggest_float("share", 0.123, 0.123)
    with pytest.raises(
        ValueError, match=r"trial 0 suggested it from FloatDistribution\(high=0\.123"
    ):
        study.tell(trial, 0.0)


def test_an_enqueued_trial_with_params_of_its_own_is_refused(schedule: Schedule) -> None:
    study, _ = start(schedule)
    study.enqueue_trial({"share": 0.123})
    with pytest.raises(ValueError, match=r"Trial 0 was enqueued with share=0\.123, but trains"):
        study.ask()
    study.enqueue_trial({"share": schedule.steps[0].params["share"]})
    assert suggest(study.ask()) == schedule.steps[0].params


def test_a_study_goes_on_with_the_schedule_that_it_began_with(schedule: Schedule) -> None:
    study, _ = start(schedule)
    study.tell(study.ask(), 0.0)
    study.sampler = ReplaySampler(Schedule("other", schedule.distributions, schedule.steps[:1]))
    with pytest.raises(ValueError, match="Study 'replay' was begun with another schedule"):
        study.ask()


def test_a_study_that_was_evolved_is_not_replayed_in(schedule: Schedule) -> None:
    study = evolve()
    study.sampler = ReplaySampler(schedule)
    with pytest.raises(ValueError, match="Study 'evolved' was begun with another sampler of epbt"):
        study.ask()
    assert study.trials[-1].state == TrialState.FAIL


def test_a_replay_is_not_evolved_in(schedule: Schedule) -> None:
    study, _ = start(schedule)
    study.tell(study.ask(), 0.0)
    study.sampler = EPBTSampler(4, seed=0)
    with pytest.raises(ValueError, match="begun with a population_size of 1 and 0 elites"):
        study.ask()


def test_trials_that_were_added_from_elsewhere_are_no_steps_of_the_replay(
    schedule: Schedule,
) -> None:
    study, sampler = start(schedule)
    study.add_trials(evolve(EPBTSampler(6, n_elites=1, seed=0)).trials[:5])
    assert sampler.n_trials(2, study) == 2 * len(schedule)
    study.optimize(lambda trial: len(suggest(trial)), n_trials=3)
    assert sampler.n_trials(2, study) == 2 * len(schedule) - 3


def test_several_objectives_are_refused(schedule: Schedule) -> None:
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=ReplaySampler(schedule)
    )
    with pytest.raises(ValueError, match="one objective but this one has 2 directions"):
        study.ask()


def test_arguments_are_checked(schedule: Schedule) -> None:
    text: Any = "schedule.json"
    with pytest.raises(TypeError, match=r"`schedule` must be a Schedule but got 'schedule\.json'"):
        ReplaySampler(text)
    with pytest.raises(ValueError, match="`n_networks` must be at least 1 but got 0"):
        ReplaySampler(schedule).n_trials(0)
    with pytest.raises(ValueError, match="Trial 0 is not one that a ReplaySampler has asked"):
        ReplaySampler(schedule).position(evolve(n_trials=1).trials[0])


def test_a_value_that_json_does_not_have_is_refused_before_any_work_starts() -> None:
    pair: Any = (1, 2)
    with pytest.warns(UserWarning, match="Choices for a categorical distribution"):
        space = {"pair": optuna.distributions.CategoricalDistribution([pair])}
    schedule = Schedule("made", space, (ScheduleStep(0, 0, 1, {"pair": pair}),))
    with pytest.raises(TypeError, match="'pair' must be None, a boolean, a number or a string"):
        ReplaySampler(schedule)


# A replay is a study with a lineage of its own


def test_collection_keeps_the_newest_the_best_and_every_finished_network(
    schedule: Schedule, checkpoints: CheckpointStore
) -> None:
    study, sampler = start(schedule)
    length = len(schedule)

    def objective(trial: optuna.Trial) -> float:
        train(trial, checkpoints)
        return 1.0 if trial.number == 1 else -float(trial.number)

    study.optimize(objective, n_trials=sampler.n_trials(2) + 2, callbacks=[checkpoints.collector()])
    kept = []
    for trial in study.trials:
        with suppress(CheckpointError):
            checkpoints.load(trial)
            kept.append(trial.number)
    assert kept == [1, length - 1, 2 * length - 1, 2 * length + 1]


def test_the_lineage_of_a_replay_can_be_read(schedule: Schedule) -> None:
    study, sampler = start(schedule)
    study.optimize(lambda trial: float(trial.number), n_trials=sampler.n_trials(2))
    length = len(schedule)
    assert [t.number for t in ancestry(study)] == list(range(length, 2 * length))
    graph = lineage_graph(study)
    assert set(graph.edges.data("kind")) == {
        (n - 1, n, "weights") for n in range(2 * length) if n % length
    }
    assert len(summarize_generations(study)) == 2 * length
    assert len(Schedule.from_study(study)) == length
