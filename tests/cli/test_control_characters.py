"""Names in a study may hold anything; a terminal is shown them, and not told what to do."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from epbt_optuna import EPBTSampler
from epbt_optuna._internal.text import printable
from tests.cli.conftest import Epbt, open_journal

NAME = "s\x1b[2J\x1b]0;title\x07\nError: \u202egnirts\r[red]:bug:[/red]"
COMMANDS = [
    ["summary"],
    ["lineage"],
    ["lineage", "--all"],
    ["running"],
    ["running", "--fail"],
    ["export-schedule", "--out", "OUT/s.json"],
    ["collect", "OUT"],
]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "study.log"
    study = optuna.create_study(
        study_name=NAME,
        storage=open_journal(path),
        direction="maximize",
        sampler=EPBTSampler(2, seed=0),
    )

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical(NAME, [NAME])
        return trial.suggest_float(NAME + "x", 0, 1)

    study.optimize(objective, n_trials=4)
    return path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_shows_control_characters_escaped_and_markup_as_it_is(
    epbt: Epbt, journal: Path, tmp_path: Path, command: list[str]
) -> None:
    what, *options = (option.replace("OUT", str(tmp_path)) for option in command)
    result = epbt(what, journal, *options)
    assert printable(result.output, keep="\n") == result.output
    if what in ("summary", "lineage") or command == ["running"]:
        assert printable(NAME) in result.stdout.splitlines()[0]
    if what == "summary":
        assert f"{printable(NAME)}={printable(NAME)}" in result.stdout


def test_an_error_that_names_a_study_is_one_line(epbt: Epbt, journal: Path) -> None:
    result = epbt("summary", journal, "other")
    assert result.exit_code == 1
    assert printable(NAME) in result.stderr
    assert result.stderr.count("\n") == 1
