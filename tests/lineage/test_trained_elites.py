"""Readers of a study whose elites go on training, or whose fitness is smoothed."""

from __future__ import annotations

import optuna
import pytest

from epbt_optuna import EPBTSampler
from epbt_optuna.lineage import (
    Schedule,
    ancestry,
    lineage_dataframe,
    lineage_graph,
    summarize_generations,
)
from epbt_optuna.lineage.history import History
from epbt_optuna.lineage.overview import study_rows
from epbt_optuna.visualization._figure_data.lineage import lineage_info
from tests.lineage.studies import Direction, evolve
from tests.replay import Rules, is_elite, populations


def trained(
    direction: Direction = "maximize", *, train_elites: bool = True, smoothing: float = 0.5
) -> optuna.Study:
    sampler = EPBTSampler(
        8, n_elites=4, train_elites=train_elites, fitness_smoothing=smoothing, seed=0
    )
    return evolve(sampler, direction=direction)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("train_elites", [False, True])
def test_who_was_alive_is_read_with_the_settings_that_the_study_records(
    direction: Direction, train_elites: bool
) -> None:
    study = trained(direction, train_elites=train_elites)
    rules = Rules(8, 4, study.direction, train_elites, 0.5)
    read = History.of(optuna.load_study(study_name=study.study_name, storage=study._storage))
    assert [[i.number for i in alive] for alive in read.populations] == [
        [trial.number for trial in alive] for alive in populations(study.trials, rules)
    ]


def test_graph_and_table_say_who_is_an_elite_that_goes_on_training() -> None:
    study = trained()
    elites = {trial.number for trial in study.trials if is_elite(trial)}
    assert elites
    graph, table = lineage_graph(study), lineage_dataframe(study)
    assert {n for n, node in graph.nodes.items() if node["elite"]} == elites
    assert set(table["number"][table["elite"]]) == elites
    for number in elites:
        ((_, _, kind),) = graph.in_edges(number, data="kind")
        assert kind == "weights"
    assert not any(node["elite"] for node in lineage_graph(evolve()).nodes.values())


def test_an_elites_training_is_a_step_of_the_schedule_in_each_generation() -> None:
    study = trained()
    (elite, *_) = (t for t in reversed(study.trials) if is_elite(t) and t.value is not None)
    chain = ancestry(study, elite)
    assert [trial.system_attrs["epbt:lineage"]["generation"] for trial in chain] == [
        *range(len(chain))
    ]
    schedule = Schedule.from_study(study, elite)
    assert [step.trial for step in schedule.steps] == [trial.number for trial in chain]
    assert dict(schedule.steps[-1].params) == dict(schedule.steps[-2].params)
    assert len(list(schedule.by_epoch())) == sum(len(t.intermediate_values) for t in chain)


def test_an_elite_keeps_its_row_in_the_picture_and_its_line_is_an_elites() -> None:
    info = lineage_info(trained())
    elites = [node for node in info.nodes if node.is_elite]
    assert elites
    for node in elites:
        parent = info.nodes[node.parent or 0]
        assert node.row == parent.row
        line = [(parent.generation, parent.row), (node.generation, node.row)]
        assert line in info.survival
        assert line not in info.inheritance
    for generation in range(info.n_generations):
        rows = [node.row for node in info.nodes if node.generation == generation]
        assert len(rows) == len(set(rows))


def test_an_elite_that_was_continued_twice_has_a_row_for_each() -> None:
    sampler = EPBTSampler(4, n_elites=2, train_elites=True, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for value in range(4):
        study.tell(study.ask(), float(value))
    first = study.ask()
    attrs = study.trials[first.number].system_attrs["epbt:lineage"]
    second = study.ask()
    twice = {**attrs, "number": second.number}
    study._storage.set_trial_system_attr(second._trial_id, "epbt:lineage", twice)
    nodes = lineage_info(study).nodes
    assert nodes[4].row == nodes[3].row
    assert nodes[5].row != nodes[4].row


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_summary_has_the_values_as_they_are(direction: Direction) -> None:
    study = trained(direction, smoothing=0.9)
    rules = Rules(8, 4, study.direction, train_elites=True, fitness_smoothing=0.9)
    best = max if direction == "maximize" else min
    differs = False
    for alive, summary in zip(
        populations(study.trials, rules), summarize_generations(study), strict=True
    ):
        values = [trial.values[0] for trial in alive]
        assert summary.best == best(values)
        assert summary.best_trial is not None
        assert study.trials[summary.best_trial].values[0] == summary.best
        differs |= values[0] != summary.best
    assert differs, "smoothing made no difference"


def test_the_overview_says_that_elites_go_on_training_and_who_is_the_fittest() -> None:
    study = trained()
    told = dict(study_rows(study))
    assert isinstance(study.sampler, EPBTSampler)
    fittest = study.sampler.fittest(study)
    assert told["population"] == "8 individuals, 4 of them elites that go on training"
    assert told["fittest"].startswith(f"trial {fittest.number} of generation")
    plain = dict(study_rows(evolve()))
    assert plain["population"] == "8 individuals, 4 of them elites"
    assert "fittest" not in plain
