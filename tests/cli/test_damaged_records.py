"""Records of ours that anybody wrote: commands show the study, or say what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage

from epbt_optuna.cli import main
from tests.cli.conftest import train
from tests.damage import Snapshot, at_most, damages

COMMANDS = [
    ["summary", "S"],
    ["lineage", "S"],
    ["lineage", "S", "--all"],
    ["lineage", "S", "--trial", "9"],
    ["export-schedule", "S", "--out", "OUT/schedule.json"],
    ["plot", "lineage", "S", "--out", "OUT/p.html"],
    ["plot", "generations", "S", "--out", "OUT/p.html"],
    ["plot", "schedule", "S", "--out", "OUT/p.html"],
    ["plot", "losses", "S", "--out", "OUT/p.html"],
    ["collect", "S", "OUT/checkpoints"],
    ["running", "S"],
    ["running", "S", "--resume"],
    ["running", "S", "--fail"],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def snapshot(folder: Path) -> Snapshot:
    study = train(InMemoryStorage(), folder / "checkpoints")
    for _ in range(2):
        study.ask().suggest_float("theta_0", -10, 10)
    return Snapshot.of(study)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_command_does_what_it_can_or_names_the_record(
    command: list[str], snapshot: Snapshot, folder: Path, data: st.DataObject
) -> None:
    changes = data.draw(damages(snapshot))
    arguments = [argument.replace("OUT", str(folder)) for argument in command]
    study = snapshot.damaged(changes)
    with patch("epbt_optuna.cli._storage.open_study", lambda *_: study), at_most(20):
        result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        assert result.exit_code == 1
        assert result.stdout == ""
        assert re.fullmatch(r"Error: .*\n", result.stderr)
