"""What lineages and schedules say of weights that were averaged with a mate's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest

from epbt_optuna._internal.optuna import write_system_attr
from epbt_optuna.lineage import (
    ReplaySampler,
    Schedule,
    ScheduleStep,
    ancestry,
    lineage_dataframe,
    lineage_graph,
)
from epbt_optuna.lineage.history import History
from tests.lineage.studies import averaging, evolve


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> optuna.Study:
    return averaging(tmp_path_factory.mktemp("averaging"))


def shares(study: optuna.Study) -> list[float]:
    """Return, by number, the share of a mate that gave weights."""
    lineages = [trial.system_attrs["epbt:lineage"] for trial in study.trials]
    return [0.25 * (n % 2 == 0 and line["mate"] is not None) for n, line in enumerate(lineages)]


def test_edges_from_mates_and_rows_of_children_have_their_share(study: optuna.Study) -> None:
    edges = {
        child: edge["mate_weight"]
        for _, child, edge in lineage_graph(study).edges(data=True)
        if edge["kind"] == "crossover"
    }
    assert edges == {n: share for n, share in enumerate(shares(study)) if n >= 4}
    assert set(edges.values()) == {0.0, 0.25}
    assert lineage_dataframe(study)["mate_weight"].tolist() == shares(study)


def test_a_schedule_follows_the_parents_and_says_where_weights_were_averaged(
    study: optuna.Study,
) -> None:
    schedule = Schedule.from_study(study)
    assert [step.trial for step in schedule.steps] == [trial.number for trial in ancestry(study)]
    assert [step.mate_weight for step in schedule.steps] == [
        shares(study)[step.trial] for step in schedule.steps
    ]
    assert schedule.is_averaged
    assert not Schedule.from_study(study, 0).is_averaged
    assert Schedule.from_json(schedule.to_json()) == schedule


def test_a_schedule_without_averages_is_the_same_file_as_before() -> None:
    schedule = Schedule.from_study(evolve(n_trials=20))
    assert not schedule.is_averaged
    assert "mate_weight" not in schedule.to_json()
    assert Schedule.from_json(schedule.to_json()) == schedule


@pytest.mark.parametrize("share", [1.5, -0.1, "0.5", None, True])
def test_a_share_that_is_none_is_named(study: optuna.Study, share: Any) -> None:
    document = json.loads(Schedule.from_study(study).to_json())
    document["steps"][-1]["mate_weight"] = share
    with pytest.raises(ValueError, match=r"`steps\[\d\]\.mate_weight` must be"):
        Schedule.from_json(json.dumps(document))
    with pytest.raises((ValueError, TypeError), match=r"`steps\[0\]\.mate_weight` must be"):
        Schedule("study", {}, (ScheduleStep(0, 0, 1, {}, share),))


def test_a_replay_of_averaged_weights_says_once_that_it_cannot_repeat_them(
    study: optuna.Study, caplog: pytest.LogCaptureFixture
) -> None:
    ReplaySampler(Schedule.from_study(study, 0))
    assert not caplog.records
    ReplaySampler(Schedule.from_study(study))
    (record,) = caplog.records
    assert "'averaging'" in record.getMessage()
    assert "averaged with those of mates" in record.getMessage()


def test_a_record_of_another_trial_than_the_mate_is_an_error_that_names_it(tmp_path: Path) -> None:
    study = averaging(tmp_path, n_trials=4)
    child = study.ask()
    lineage = study.trials[4].system_attrs["epbt:lineage"]
    stranger = next(n for n in range(4) if n not in (lineage["parent"], lineage["mate"]))
    record = {"mate": stranger, "weight": 0.5, "number": 4, "token": lineage["token"]}
    write_system_attr(study, child, "epbt:mixed", record)
    history = History.of(study)
    with pytest.raises(ValueError, match=f"Trial 4 has .*trial {stranger} is not its mate"):
        history.mate_weight(history.trials[4])
