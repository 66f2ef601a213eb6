"""How `version_0_1/` was made, with version 0.1.0: `python -m tests.data.make_version_0_1`.

Two studies that stop in the middle of generation 3 with one trial cut off, in SQLite and in a
journal, with their checkpoints in one folder. Versions that come later read them, go on with them
and collect their garbage; so this is not to be run again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import torch

from epbt_optuna import CheckpointStore, EPBTSampler
from epbt_optuna.journal import journal_storage

FOLDER = Path(__file__).parent / "version_0_1"


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    checkpoints = CheckpointStore(FOLDER / "checkpoints")

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        state = checkpoints.inherit(trial)
        weight = torch.zeros(2) if state is None else state["weight"]
        trial.report(-abs(x), 0)
        checkpoints.save(trial, {"weight": weight + 1, "trial": trial.number})
        return -abs(x)

    storages: dict[str, optuna.storages.BaseStorage | str] = {
        "sqlite": f"sqlite:///{FOLDER / 'study.db'}",
        "journal": journal_storage(FOLDER / "study.log"),
    }
    for name, storage in storages.items():
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=EPBTSampler(6, n_elites=3, seed=0),
            direction="maximize",
        )
        study.optimize(objective, n_trials=13)
        trial = study.ask()
        trial.suggest_float("x", -1, 1)
        checkpoints.save(trial, {"weight": torch.full((2,), 7.0), "trial": 13}, final=False)


if __name__ == "__main__":
    main()
