"""What is wrong with a command's input is one sentence on standard error, and nothing is made."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import optuna
import pytest

from epbt_optuna import EPBTSampler
from tests.cli.conftest import Epbt, open_journal

READING = [
    ["summary"],
    ["lineage"],
    ["lineage", "--all"],
    ["export-schedule", "--out", "schedule.json"],
    ["plot", "lineage", "--out", "lineage.html"],
    ["plot", "losses", "--out", "losses.png"],
]


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(epbt: Epbt, *arguments: object) -> str:
    """Return what the command says of input that is wrong."""
    result = epbt(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("study.log", "study.log does not exist"),
        ("study.db", "study.db does not exist"),
        ("sqlite:///study.db", "There is no database study.db."),
        ("sqlite:///file:study.db?uri=true", "There is no database study.db."),
        ("sqlite://", "is in memory"),
        ("nosuch://host/name", "nosuch://host/name cannot be opened"),
        ("sqlite://study.db", "two slashes: a file's URL is sqlite:///study.db"),
        ("mysql://me:secret@host/name", "mysql://host/name needs a driver that is not installed"),
        ("postgresql+psycopg://me:secret@127.0.0.1:9/name", "://127.0.0.1:9/name cannot be"),
        ("postgresql+psycopg://me:se/secret@127.0.0.1:9/name", "://127.0.0.1:9/name cannot be"),
        ("postgresql://me:secret@host:port/name", "://host:port/name' is no URL of a database"),
        ("grpc://127.0.0.1:port", "grpc://127.0.0.1:port is not of the form grpc://host:port"),
        (".", ". is not a file"),
    ],
)
def test_a_storage_that_is_not_there_is_not_made(
    epbt: Epbt, working_directory: Path, storage: str, message: str
) -> None:
    said = complaint(epbt, "summary", storage)
    assert message in said
    assert "secret" not in said
    assert list(working_directory.iterdir()) == []


def test_a_proxy_that_does_not_answer_is_waited_for_a_moment_only(
    epbt: Epbt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epbt_optuna.cli._storage._GRPC_SECONDS", 0.2)
    said = complaint(epbt, "summary", "grpc://127.0.0.1:9")
    assert said == "Error: No gRPC proxy answered at grpc://127.0.0.1:9 within 0.2 seconds.\n"


@pytest.mark.parametrize(
    "content",
    [b"no journal\nat all\n", b"[1, 2]\n[]\n", b'{"a": 1}\n{}\n', b'{"op_code":99}\n{}\n'],
)
def test_a_file_of_something_else_is_no_storage_and_stays_as_it_is(
    epbt: Epbt, working_directory: Path, content: bytes
) -> None:
    path = working_directory / "file"
    path.write_bytes(content)
    assert complaint(epbt, "summary", "file") == "Error: file is no journal of Optuna's.\n"
    assert "is no storage of Optuna's" in complaint(epbt, "summary", "sqlite:///file")
    assert path.read_bytes() == content


def test_an_sqlite_file_of_something_else_gets_no_tables(
    epbt: Epbt, working_directory: Path
) -> None:
    path = working_directory / "empty.db"
    path.touch()
    assert "no such table" in complaint(epbt, "summary", "sqlite:///empty.db")
    assert path.read_bytes() == b""


def test_a_study_that_is_not_there_is_answered_with_those_that_are(epbt: Epbt) -> None:
    storage = open_journal(Path("study.log"))
    assert "There is no study in study.log." in complaint(epbt, "summary", "study.log")
    for i in range(23):
        optuna.create_study(study_name=f"s{i:02}", storage=storage)
    named = complaint(epbt, "summary", "study.log", "nope")
    assert "There is no study 'nope' in study.log; it has s00, s01," in named
    assert named.endswith("s19 and 3 more.\n")
    assert "Say which study: study.log has s00" in complaint(epbt, "summary", "study.log")


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_study_that_we_did_not_run_has_no_generations(epbt: Epbt, command: list[str]) -> None:
    storage = open_journal(Path("study.log"))
    study = optuna.create_study(study_name="toy", storage=storage)
    name, *rest = command if command[0] != "plot" else (command[0], *command[1:])
    what = [rest.pop(0)] if name == "plot" else []
    assert "is empty: it has no trials yet" in complaint(epbt, name, *what, "study.log", *rest)
    study.optimize(lambda trial: trial.suggest_float("theta_0", 0, 1), n_trials=2)
    assert "neither EPBTSampler nor PBTSampler" in complaint(epbt, name, *what, "study.log", *rest)
    assert {path.name for path in Path().iterdir()} == {"study.log"}


def test_of_failed_trials_alone_there_is_a_summary_but_no_ancestry(epbt: Epbt) -> None:
    study = optuna.create_study(
        study_name="toy",
        storage=open_journal(Path("study.log")),
        sampler=EPBTSampler(4, seed=0),
    )
    study.optimize(lambda _: float("nan"), n_trials=5)
    summary = epbt("summary", "study.log")
    assert summary.exit_code == 0
    assert "none: no trial is complete and feasible" in summary.stdout
    assert epbt("lineage", "study.log", "--all").stdout.count("failed") == 5
    for command in (["lineage"], ["export-schedule"]):
        options = ["--out", "s.json"] if command == ["export-schedule"] else []
        said = complaint(epbt, *command, "study.log", *options)
        assert "has no best trial: none of its 5 trials is COMPLETE" in said
    assert not Path("s.json").exists()


def test_a_trial_that_does_not_exist_is_named(epbt: Epbt, trained: Path) -> None:
    for options in ([], ["--all"]):
        said = complaint(epbt, "lineage", trained / "study.db", "--trial", 12, *options)
        assert "whose last is trial 11, but got 12" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lineage", "x.log", "--trial", "-1"], "-1 is not in the range"),
        (["plot", "lineage", "x.log", "--out", "x.gif"], "x.gif must end in .html, .png"),
        (["plot", "lineage", "x.log", "--out", "no/x.png"], "There is no folder no."),
        (["plot", "tree", "x.log", "--out", "x.png"], "'tree' is not one of"),
        (["export-schedule", "x.log"], "Missing option '--out'"),
        (["collect", "x.log"], "Missing argument"),
        (["collect", "x.log", ".", "--keep", "some"], "'some' is not one of"),
        (["nonsense"], "No such command"),
    ],
)
def test_a_command_line_that_is_wrong_is_exit_code_2(
    epbt: Epbt, arguments: list[str], message: str
) -> None:
    result = epbt(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(("package", "suffix"), [("plotly", "html"), ("matplotlib", "png")])
def test_a_plotting_package_that_is_not_installed_is_named_with_its_extra(
    epbt: Epbt, trained: Path, monkeypatch: pytest.MonkeyPatch, package: str, suffix: str
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("sys.meta_path", [_Without(package), *sys.meta_path])
    said = complaint(epbt, "plot", "generations", trained / "study.log", "--out", f"x.{suffix}")
    assert package in said
    assert "epbt-optuna[visualization]" in said


class _Without:
    """An import hook of a machine that lacks a package."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, *_: object) -> None:
        if name.split(".")[0] == self._package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_database_that_is_damaged_is_a_sentence(
    epbt: Epbt, working_directory: Path, trained: Path
) -> None:
    damaged = bytearray((trained / "study.db").read_bytes())
    damaged[8192:] = bytes(len(damaged) - 8192)
    (working_directory / "study.db").write_bytes(damaged)
    assert "malformed" in complaint(epbt, "summary", "study.db")


def test_a_newer_schema_is_reported(epbt: Epbt, working_directory: Path, trained: Path) -> None:
    copy = working_directory / "study.db"
    copy.write_bytes((trained / "study.db").read_bytes())
    connection = sqlite3.connect(copy)
    connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    connection.commit()
    connection.close()
    assert "is no longer compatible" in complaint(epbt, "summary", "study.db")
