"""The benchmarks run, and the page says what their JSON does; how fast they are is no test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import MODULES, main
from tests.benchmarks.making import make
from tests.benchmarks.measure import figures, interleaved, machine
from tests.benchmarks.page import JSON, PAGE, names_in_template, page, picture_of, write_page
from tests.benchmarks.table import Case, Figure, Table, read_tables, write_table
from tests.docs.pages import ROOT
from tests.tracking.servers import empty_database

__all__ = ["empty_database"]  # a fixture

ON_MLFLOW = {"tracking", "tracking-close", "tracking-memory"}

TABLE = Table(
    title="An example",
    cases=(
        Case("small", "ms", {"ours": Figure(3.14, 3.0, 3.5, 20), "theirs": Figure(6.28, 6, 7, 20)}),
        Case(
            "large", "ms", {"ours": Figure(2718, 99, 9999, 5), "theirs": Figure(None, 4, None, 5)}
        ),
    ),
    over={"ours": "theirs", "theirs": "theirs"},
    command="python -m tests.benchmarks loss",
    date="2026-01-02",
    machine={"CPU": "Abacus", "cores": "2"},
    versions={"Python": "3.14.1"},
)


def check(path: Path, name: str) -> None:
    table = read_tables(path)[name]
    assert table.quick
    assert table.cases
    assert all(case.figures for case in table.cases)
    assert {*table.over, *table.over.values()} <= set(table.ways)
    assert all(figure.n > 0 for case in table.cases for figure in case.figures.values())


@pytest.mark.filterwarnings("ignore")  # of more workers than trials
@pytest.mark.parametrize("name", sorted(set(MODULES) - ON_MLFLOW - {"member-iteration"}))
def test_a_benchmark_runs_at_its_smallest_size(name: str, tmp_path: Path) -> None:
    make("python -m ours", MODULES[name], name, tmp_path, quick=True)
    check(tmp_path / JSON, name)


@pytest.mark.filterwarnings("ignore")  # of MLflow
@pytest.mark.xdist_group("benchmarks of MLflow")  # which share an empty database
@pytest.mark.parametrize("name", sorted(ON_MLFLOW))
def test_a_benchmark_of_the_tracker_runs_at_its_smallest_size(
    name: str, tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.benchmarks.tracking.make_database", partial(shutil.copy, empty_database)
    )
    make("python -m ours", MODULES[name], name, tmp_path, quick=True)
    check(tmp_path / JSON, name)


@pytest.mark.xdist_group("ray")
def test_the_benchmark_of_ray_tune_runs_at_its_smallest_size(tmp_path: Path) -> None:
    name = "member-iteration"  # in a process of its own, since Ray reads the environment
    command = [sys.executable, "-m", "tests.benchmarks", name, "--quick", "--folder", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT)
    check(tmp_path / JSON, name)
    assert f"benchmarks {name}`" in (tmp_path / PAGE).read_text()


def test_the_page_says_what_the_json_does(tmp_path: Path) -> None:
    write_table(tmp_path / JSON, "loss", TABLE)
    write_page(tmp_path)
    text = (tmp_path / PAGE).read_text()
    assert "| ours | **0.50** |  |" in text  # no ratio where a median is missing
    assert "| ours | 3.14 (3.00 – 3.50) | 2,718 (99.0 – 9,999) |" in text
    assert "| theirs | 6.28 (6.00 – 7.00) | ∞ (4.00 – ∞) |" in text
    assert "Medians, ms (least and most or quartiles; n = 5 to 20)" in text
    assert (
        "`python -m tests.benchmarks loss`, 2026-01-02. CPU Abacus, cores 2. Python 3.14.1." in text
    )
    assert 0 < (tmp_path / picture_of("loss")).stat().st_size < 50_000


def test_other_figures_in_the_json_are_other_figures_on_the_page(tmp_path: Path) -> None:
    write_table(tmp_path / JSON, "loss", TABLE)
    raw = (tmp_path / JSON).read_text()
    (tmp_path / JSON).write_text(raw.replace("3.14,", "12.56,").replace("3.5,", "13.5,"))
    text = page(read_tables(tmp_path / JSON))
    assert "| ours | **2.00** |  |" in text
    assert "12.6 (3.00 – 13.5)" in text


def test_a_table_is_made_again_without_the_others(tmp_path: Path) -> None:
    write_table(tmp_path / JSON, "loss", TABLE)
    write_table(tmp_path / JSON, "ask-tell", replace(TABLE, title="Another"))
    write_table(tmp_path / JSON, "ask-tell", replace(TABLE, title="A third"))
    tables = read_tables(tmp_path / JSON)
    assert tables == {"loss": TABLE, "ask-tell": replace(TABLE, title="A third")}


def test_a_table_of_the_smallest_size_says_so_on_the_page() -> None:
    warning = "At the smallest size"
    assert warning in page({"loss": replace(TABLE, quick=True)})
    assert warning not in page({"loss": TABLE})


def test_what_was_not_measured_is_said_to_be_so() -> None:
    assert "No GPU was at hand" in page({})
    assert "No GPU was at hand" not in page({"gpu-loss": TABLE})
    assert page({}).count("Not measured yet") == page({"loss": TABLE}).count("Not measured yet") + 1


def test_the_page_in_docs_is_that_of_its_json() -> None:
    tables = read_tables(ROOT / "docs" / JSON)
    assert page(tables) == (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    assert not any(table.quick for table in tables.values())


def test_every_table_has_its_place_on_the_page() -> None:
    assert set(MODULES) <= set(names_in_template())


def test_the_smallest_size_leaves_the_figures_in_docs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["storage-calls", "--quick"])
    assert "fsyncs of the journal" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_table_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["lost"])
    assert "no such table: lost; there are ask-tell," in capsys.readouterr().err


def test_ways_take_turns_and_each_begins_in_its_turn() -> None:
    calls: list[str] = []
    times = interleaved({name: partial(calls.append, name) for name in "abc"}, 3, n_warm=1)
    assert "".join(calls) == "cababcbcacab"
    assert {name: len(own) for name, own in times.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_figure_is_the_median_with_quartiles_or_of_few_samples_the_extremes() -> None:
    assert figures({"few": [3.0, 1.0, 2.0]}, 10.0) == {"few": Figure(20.0, 10.0, 30.0, 3)}
    assert Figure.of(range(101)) == Figure(50, 25.0, 75.0, 101)


def test_what_is_said_of_the_machine_has_no_path_and_no_name_in_it() -> None:
    described = machine()
    assert {"CPU", "cores", "memory", "system", "temporary files"} <= set(described)
    assert not any("/" in value for value in described.values())
