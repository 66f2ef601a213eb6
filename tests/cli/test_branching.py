"""`epbt branch`: a copied database becomes a study of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna

from epbt_optuna import CheckpointStore
from epbt_optuna._internal.identity import StudyIdentity
from tests.cli.conftest import Epbt, open_database, train


def test_a_copied_database_is_branched_off_and_says_what_was_copied(
    epbt: Epbt, tmp_path: Path
) -> None:
    checkpoints = tmp_path / "checkpoints"
    original = train(open_database(f"sqlite:///{tmp_path}/a.db"), checkpoints)
    shutil.copy(tmp_path / "a.db", tmp_path / "b.db")
    forgotten = epbt("branch", tmp_path / "b.db")
    assert forgotten.exit_code == 1
    assert "`checkpoints` must be the store of study 'toy'" in forgotten.stderr
    wrong = epbt("branch", tmp_path / "b.db", "--checkpoints", tmp_path)
    assert wrong.exit_code == 1
    assert "has none of the 12 checkpoints of study 'toy'" in wrong.stderr
    result = epbt("branch", tmp_path / "b.db", "toy", "--checkpoints", checkpoints)
    assert result.stdout == "Branched off; copied the checkpoints of 4 trials (8–11).\n"
    copy = optuna.load_study(study_name="toy", storage=open_database(f"sqlite:///{tmp_path}/b.db"))
    assert StudyIdentity.of(copy).lent == StudyIdentity.of(original).own
    for path in checkpoints.glob(f"{StudyIdentity.of(original).prefixes[0]}*"):
        path.unlink()
    store = CheckpointStore(checkpoints)
    assert [store.load(copy.trials[n])["number"] for n in (8, 9, 10, 11)] == [8, 9, 10, 11]
