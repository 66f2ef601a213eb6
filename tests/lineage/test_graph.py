"""The lineage of a whole study, as a graph and as a table."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from epbt_optuna import EPBTSampler, PBTSampler
from epbt_optuna.lineage import (
    ancestry,
    lineage_dataframe,
    lineage_graph,
    summarize_generations,
)
from tests.lineage.studies import BAD_STUDIES, Direction, evolve, only_failed
from tests.replay import Rules, lineage_of, populations

SAMPLERS: dict[str, Callable[[], EPBTSampler | PBTSampler]] = {
    "EPBT": lambda: EPBTSampler(8, seed=0),
    "EPBT with 2 elites": lambda: EPBTSampler(6, n_elites=2, seed=1),
    "PBT": lambda: PBTSampler(6, seed=0),
}


@pytest.fixture(params=["maximize", "minimize"])
def direction(request: pytest.FixtureRequest) -> Direction:
    chosen: Direction = request.param
    return chosen


@pytest.fixture(params=SAMPLERS)
def study(request: pytest.FixtureRequest, direction: Direction) -> optuna.Study:
    return evolve(SAMPLERS[request.param](), direction=direction)


def alive(study: optuna.Study) -> list[set[int]]:
    """Return who was alive after each generation, by the naive oracle."""
    sampler = study.sampler
    assert isinstance(sampler, EPBTSampler | PBTSampler)
    rules = Rules(sampler.population_size, sampler.n_elites, study.direction)
    return [{t.number for t in population} for population in populations(study.trials, rules)]


def test_every_trial_is_a_node_with_what_is_known_of_it(study: optuna.Study) -> None:
    graph = lineage_graph(study)
    sampler = study.sampler
    assert isinstance(sampler, EPBTSampler | PBTSampler)
    assert list(graph) == [trial.number for trial in study.trials]
    chain = {trial.number for trial in ancestry(study)}
    for trial in study.trials:
        node = graph.nodes[trial.number]
        assert node["generation"] == sampler.generation_of(trial.number)
        assert node["state"] == trial.state.name
        assert node["value"] == trial.value
        assert node["params"] == trial.params
        assert node["best"] == (trial.number == study.best_trial.number)
        assert node["in_best_ancestry"] == (trial.number in chain)


def test_whoever_survives_is_alive_in_every_generation_until_then(study: optuna.Study) -> None:
    graph = lineage_graph(study)
    for number, node in graph.nodes.items():
        generations = [g for g, numbers in enumerate(alive(study)) if number in numbers]
        if node["state"] == "COMPLETE":
            assert generations == list(range(node["generation"], node["survives_until"] + 1))
        else:
            assert node["survives_until"] is None


def test_edges_are_the_recorded_parents_and_mates(study: optuna.Study) -> None:
    graph = lineage_graph(study)
    expected = set()
    for trial in study.trials:
        record = lineage_of(trial)
        assert record is not None
        for key, kind in (("parent", "weights"), ("mate", "crossover")):
            if record[key] is not None:
                expected.add((record[key], trial.number, kind))
    assert set(graph.edges.data("kind")) == expected
    kinds = {kind for _, _, kind in expected}
    assert kinds == ({"weights"} if isinstance(study.sampler, PBTSampler) else kinds)
    assert "weights" in kinds


def test_the_graph_says_what_it_is_of(study: optuna.Study, direction: Direction) -> None:
    sampler = study.sampler
    assert isinstance(sampler, EPBTSampler | PBTSampler)
    assert lineage_graph(study).graph == {
        "study_name": "evolved",
        "direction": direction,
        "population_size": sampler.population_size,
        "n_elites": sampler.n_elites,
        "n_generations": sampler.generation_of(59) + 1,
    }


def test_unfinished_enqueued_and_added_trials_are_nodes_too() -> None:
    study = evolve(n_trials=10)
    study.add_trial(optuna.create_trial(value=0.1))
    running = study.ask()
    study.enqueue_trial({"share": 0.5})
    graph = lineage_graph(study)
    states = {number: graph.nodes[number]["state"] for number in (10, running.number, 12)}
    assert states == {10: "COMPLETE", 11: "RUNNING", 12: "WAITING"}
    assert graph.nodes[10]["survives_until"] >= 1
    assert graph.in_degree(10) == graph.in_degree(12) == 0
    assert graph.in_degree(11) == 2


def test_a_generation_that_nobody_has_survived_yet_is_empty_but_there() -> None:
    study = only_failed()
    graph = lineage_graph(study)
    assert not any(node["best"] or node["in_best_ancestry"] for node in graph.nodes.values())
    assert graph.graph["n_generations"] == 2
    assert lineage_dataframe(study)["value"].isna().all()


def test_a_best_trial_without_weights_is_its_own_ancestry() -> None:
    study = evolve(n_trials=8)
    study.add_trial(optuna.create_trial(value=99.0))
    graph = lineage_graph(study)
    assert [n for n, node in graph.nodes.items() if node["in_best_ancestry"]] == [8]


def test_the_table_has_a_row_for_every_trial(study: optuna.Study) -> None:
    table = lineage_dataframe(study)
    graph = lineage_graph(study)
    own = study.trials_dataframe()
    assert list(table.columns) == [
        "number", "generation", "state", "value", "parent", "mate", "mate_weight",
        "survives_until", "elite", "in_best_ancestry", "datetime_start", "datetime_complete",
        "duration",
        "params_kind", "params_rate", "params_share", "params_width",
    ]  # fmt: skip
    for column in own.columns.intersection(table.columns):
        assert own[column].equals(table[column].astype(own[column].dtype)), column
    for row in table.itertuples():
        node = graph.nodes[row.number]
        assert row.generation == node["generation"]
        assert row.in_best_ancestry == node["in_best_ancestry"]
    for column, kind in (("parent", "weights"), ("mate", "crossover")):
        assert str(table[column].dtype) == "Int64"
        edges = {(p, c) for p, c, k in graph.edges.data("kind") if k == kind}
        rows = table.dropna(subset=[column])
        assert set(zip(rows[column].tolist(), rows["number"].tolist(), strict=True)) == edges


def test_without_pandas_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'epbt-optuna\[visualization\]'"):
        lineage_dataframe(evolve(n_trials=3))


@pytest.mark.parametrize("kind", BAD_STUDIES)
@pytest.mark.parametrize("read", [lineage_graph, lineage_dataframe, summarize_generations])
def test_a_study_without_a_lineage_is_refused_in_a_sentence(
    read: Callable[[optuna.Study], Any], kind: str
) -> None:
    make_study, message = BAD_STUDIES[kind]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        read(make_study())


def test_the_papers_520_trials_are_read_once_and_not_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = evolve(EPBTSampler(40, seed=0), n_trials=520)
    calls = []
    get_trials = optuna.Study.get_trials

    def counting(self: optuna.Study, *args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs.get("deepcopy", True))
        return get_trials(self, *args, **kwargs)

    monkeypatch.setattr(optuna.Study, "get_trials", counting)
    for read in (lineage_graph, lineage_dataframe, summarize_generations, ancestry):
        del calls[:]
        read(study)
        assert calls == [False]


def test_directions_are_those_of_the_study() -> None:
    study = evolve(direction="minimize", n_trials=20)
    best = next(n for n, node in lineage_graph(study).nodes.items() if node["best"])
    complete = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert study.direction == StudyDirection.MINIMIZE
    assert study.trials[best].value == min(t.value for t in complete if t.value is not None)
