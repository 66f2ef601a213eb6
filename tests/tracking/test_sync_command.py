"""`epbt sync`: a study that no tracker saw, or that a kill cut short."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from epbt_optuna.cli import main
from tests.tracking.checks import check, parents_of
from tests.tracking.training import NAME, objective, open_journal


def sync(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["sync", *(str(argument) for argument in arguments)])


def test_it_brings_what_is_missing_and_says_where_it_is(database: str, tmp_path: Path) -> None:
    journal = tmp_path / "study.log"
    study = open_journal(str(journal))
    for n_trials in (7, 9):
        study.optimize(objective, n_trials - len(study.trials), catch=MemoryError)
        for _ in range(2):
            result = sync(journal, NAME, "--tracking-uri", database, "--experiment", "other")
            assert result.exit_code == 0, result.output
            check(study, database, n_trials, "other")
            (parent,) = parents_of(database, "other")
            assert parent.info.run_id in result.output


def test_an_empty_study_and_a_database_that_cannot_be_are_sentences(
    database: str, tmp_path: Path
) -> None:
    journal = tmp_path / "study.log"
    study = open_journal(str(journal))
    result = sync(journal, "--tracking-uri", database)
    assert result.exit_code == 1
    assert "Study 'a study' is empty" in result.output
    study.optimize(objective, 1)
    result = sync(journal, "--tracking-uri", "no-such-scheme://host")
    assert result.exit_code == 1
    assert "Error: The parent run of study 'a study' cannot be brought" in result.output
