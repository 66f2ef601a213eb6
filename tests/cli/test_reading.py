"""`epbt summary`, `lineage`, `export-schedule`, `plot`: what they show; and they only read."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from epbt_optuna import EPBTSampler
from epbt_optuna.journal import journal_storage
from epbt_optuna.lineage import Schedule, ancestry
from tests.cli.conftest import Epbt, open_database, open_journal, train
from tests.lineage.studies import averaging
from tests.servers import PostgresServer

ROOT = Path(__file__).parents[2]


def toy(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="toy", storage=open_journal(folder / "study.log"))


def test_the_summary_has_the_study_in_brief_and_a_row_for_each_generation(
    epbt: Epbt, storage: str
) -> None:
    result = epbt("summary", storage, "toy")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["population", "4", "individuals,", "2", "of", "them", "elites"] in lines
    assert "12: 10 complete, 1 failed, 1 pruned" in result.stdout
    assert "trial 11 of generation 4" in result.stdout
    rows = {line[0]: line for line in lines if line and line[0].isdigit()}
    assert list(rows) == ["0", "1", "2", "3", "4"]
    assert [rows[g][1] for g in rows] == ["4", "2", "2", "2", "2"]
    assert [rows[g][-1] for g in rows] == ["3", "4", "7", "9", "11"]  # the fittest alive


def test_the_study_may_be_left_out_where_there_is_one(epbt: Epbt, storage: str) -> None:
    assert epbt("summary", storage).stdout == epbt("summary", storage, "toy").stdout


def test_the_lineage_is_the_ancestry_of_the_best(epbt: Epbt, storage: str, trained: Path) -> None:
    result = epbt("lineage", storage)
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()[2:]]
    numbers = [trial.number for trial in ancestry(toy(trained))]
    assert [int(row[2]) for row in rows] == numbers
    assert [row[0] for row in rows] == ["◆"] + ["●"] * (len(numbers) - 1)
    assert "the ancestry of trial 11, the best" in result.stdout


def test_the_lineage_of_another_trial_can_be_asked_for(
    epbt: Epbt, storage: str, trained: Path
) -> None:
    result = epbt("lineage", storage, "--trial", 6)
    rows = [line.split() for line in result.stdout.splitlines()[2:]]
    assert [int(row[2]) for row in rows] == [t.number for t in ancestry(toy(trained), 6)]
    assert "pruned" in rows[-1]


@pytest.mark.parametrize("columns", ["30", "80", "200"])
def test_all_trials_stand_below_their_parents(
    epbt: Epbt, storage: str, trained: Path, columns: str
) -> None:
    """The parents are read back from the picture alone."""
    result = epbt("lineage", storage, "--all", COLUMNS=columns)
    lines = result.stdout.splitlines()[2:14]
    above: dict[int, int] = {}  # column → the last trial in it
    parents: dict[int, int | None] = {}
    for line in lines:
        place = next(i for i, character in enumerate(line) if character in "○●◇◆")
        number = int(line[place + 1 :].split()[1])
        branches_off = line[place - 1] == "─" if place else False
        starts = line[place] in "◇◆"
        parents[number] = None if starts else above[place - 2 if branches_off else place]
        above[place] = number
    recorded = {t.number: t.system_attrs["epbt:lineage"]["parent"] for t in toy(trained).trials}
    assert parents == recorded


@pytest.mark.parametrize("options", [[], ["--all"]])
def test_params_are_columns_where_a_trial_has_them(
    epbt: Epbt, tmp_path: Path, options: list[str]
) -> None:
    sampler = EPBTSampler(2, n_elites=1, seed=0)
    storage = open_journal(tmp_path / "study.log")
    study = optuna.create_study(storage=storage, sampler=sampler, study_name="conditional")

    def objective(trial: optuna.Trial) -> float:
        if trial.number < 2:
            trial.suggest_categorical("early", ["a\nb", "c"])
        return trial.suggest_float("gen", 0, 1) - trial.number

    study.optimize(objective, n_trials=4)
    result = epbt("lineage", tmp_path / "study.log", "--params", *options)
    assert result.exit_code == 0
    header, *rows = result.stdout.splitlines()[1:]
    assert header.split()[-3:] == ["early", "param", "gen"]
    rows = [row for row in rows if "begins afresh" not in row]
    assert rows
    for row in rows:
        number = int(row[: header.index("trial") + len("trial")].split()[-1])
        params = study.trials[number].params
        assert row.split()[-1] == f"{params['gen']:.4g}"
        early = row[: header.index("param gen")].rstrip().endswith(("a\\nb", "c"))
        assert early == ("early" in params)


def test_every_trial_is_shown_with_its_end(epbt: Epbt, storage: str) -> None:
    cells = [line.split() for line in epbt("lineage", storage, "--all").stdout.splitlines()]
    ends = {row[-1] if "×" not in row else row[-3] for row in cells if "5" in row or "6" in row}
    assert {"failed", "pruned"} <= ends


def test_the_schedule_that_was_exported_is_the_studys(
    epbt: Epbt, storage: str, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "schedule.json"
    result = epbt("export-schedule", storage, "--trial", 9, "--out", out)
    assert result.exit_code == 0
    assert Schedule.load(out) == Schedule.from_study(toy(trained), 9)
    assert f"Wrote {out}" in result.stdout
    assert epbt("export-schedule", storage, "--out", out).exit_code == 0
    assert Schedule.load(out) == Schedule.from_study(toy(trained))


@pytest.mark.parametrize("what", ["lineage", "generations", "schedule", "losses"])
@pytest.mark.parametrize(
    ("suffix", "begins"), [("html", b"<"), ("PNG", b"\x89PNG"), ("svg", b"<?xml")]
)
def test_a_picture_is_of_the_format_that_its_name_says(
    epbt: Epbt, trained: Path, tmp_path: Path, what: str, suffix: str, begins: bytes
) -> None:
    out = tmp_path / f"picture.{suffix}"
    result = epbt("plot", what, trained / "study.log", "--out", out)
    assert (result.exit_code, result.stdout) == (0, f"Wrote {out}.\n")
    picture = out.read_bytes()
    assert picture.startswith(begins)
    assert len(picture) > 10_000


def test_all_pictures_are_made_at_once_and_those_of_losses_where_losses_evolved(
    epbt: Epbt, trained: Path, tmp_path: Path
) -> None:
    result = epbt("plot", "all", trained / "study.log", "--out", tmp_path / "run.svg")
    names = [f"run-{what}.svg" for what in ("lineage", "generations", "schedule", "losses")]
    assert result.stdout == "".join(f"Wrote {tmp_path / name}.\n" for name in names)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    study = optuna.create_study(
        storage=journal_storage(tmp_path / "other.log"), sampler=EPBTSampler(2)
    )
    study.optimize(lambda trial: trial.suggest_float("lr", 0, 1), n_trials=2)
    result = epbt("plot", "all", tmp_path / "other.log", "--out", tmp_path / "other.svg")
    assert result.exit_code == 0
    assert "schedule" in result.stdout
    assert "losses" not in result.stdout


def test_a_column_that_does_not_fit_is_left_out_and_no_number_is_cut(
    epbt: Epbt, trained: Path
) -> None:
    wide = epbt("summary", trained / "study.log", COLUMNS="200").stdout
    narrow = epbt("summary", trained / "study.log", COLUMNS="44").stdout
    assert "worst" in wide
    assert "worst" not in narrow
    assert "…" not in wide + narrow
    assert max(map(len, narrow.splitlines())) <= 44
    assert [line for line in narrow.splitlines() if line.startswith("  4")]


def test_what_is_piped_has_no_colours_and_is_not_cut(trained: Path) -> None:
    command = [sys.executable, "-m", "epbt_optuna", "lineage", str(trained / "study.db"), "--all"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "\x1b" not in result.stdout
    assert "…" not in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("name", ["a?b.db", "a#b.db", "a%41.db", "{a}.db", "ä b.db", "a?b.log"])
def test_a_file_of_any_name_is_read(epbt: Epbt, trained: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    shutil.copy(trained / f"study{file.suffix}", file)
    assert "trial 11 of generation 4" in epbt("summary", file).stdout
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_nothing_is_left_out_where_the_environment_says_no_width(epbt: Epbt, trained: Path) -> None:
    said = epbt("summary", trained / "study.log").stdout
    assert epbt("summary", trained / "study.log", COLUMNS="0").stdout == said
    assert epbt("summary", trained / "study.log", COLUMNS="").stdout == said


@pytest.mark.parametrize(
    "line",
    ["PYTHONIOENCODING=latin-1 {} collect study.log checkpoints", "{} summary study.log >&-"],
)
def test_a_terminal_that_lacks_characters_or_is_closed_costs_no_command(
    tmp_path: Path, line: str
) -> None:
    train(open_journal(tmp_path / "study.log"), tmp_path / "checkpoints")
    done = subprocess.run(
        line.format(f"{shlex.quote(sys.executable)} -m epbt_optuna"),
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_study_on_postgresql_is_read_and_its_password_never_shown(
    epbt: Epbt, postgres: PostgresServer
) -> None:
    url = postgres.new_database().replace("postgres@", "postgres:secret@")
    nothing = epbt("summary", url)
    assert nothing.exit_code == 1
    assert "is no storage of Optuna's" in nothing.stderr
    assert "secret" not in nothing.stderr
    train(open_database(url))
    assert "trial 11 of generation 4" in epbt("summary", url).stdout
    other = epbt("summary", url, "nope")
    assert "it has toy." in other.stderr
    assert "secret" not in other.stderr


def test_help_says_what_each_command_does_and_gives_examples(epbt: Epbt) -> None:
    commands = ["summary", "lineage", "watch", "export-schedule", "plot", "collect", "running"]
    assert all(command in epbt("--help").stdout for command in commands)
    for command in commands:
        result = epbt(command, "--help")
        assert result.exit_code == 0
        assert f"  epbt {command} " in result.stdout.split("Examples:")[1]


def test_help_does_not_wait_for_optuna() -> None:
    script = "import sys, epbt_optuna.cli; assert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@pytest.mark.parametrize("options", [[], ["--all"]])
def test_a_mate_that_gave_weights_has_a_mark_of_its_own_which_is_explained(
    epbt: Epbt, tmp_path: Path, options: list[str]
) -> None:
    study = averaging(tmp_path / "checkpoints", storage=open_journal(tmp_path / "study.log"))
    result = epbt("lineage", tmp_path / "study.log", *options)
    mate = study.trials[10].system_attrs["epbt:lineage"]["mate"]
    (line,) = (line for line in result.stdout.splitlines() if " 10 " in line)
    assert f"⊕ {mate}" in line
    assert "⊕ in place of × is a mate whose weights were averaged" in result.stdout
