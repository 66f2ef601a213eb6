"""What a trial costs the storage: lineage and parents are carried from hook to hook."""

from __future__ import annotations

from collections import Counter
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage

from epbt_optuna import EPBTSampler


class CountingStorage(InMemoryStorage):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        self.reads["system attrs of a trial"] += 1
        return super().get_trial_system_attrs(trial_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        self.reads["system attrs of the study"] += 1
        return super().get_study_system_attrs(study_id)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        self.reads["trials by number"] += 1
        return super().get_trial_id_from_study_id_trial_number(study_id, trial_number)


@pytest.mark.parametrize("n_variables", [1, 8])
def test_a_trial_reads_its_parent_and_mate_once_and_its_lineage_never(n_variables: int) -> None:
    storage = CountingStorage()
    study = optuna.create_study(storage=storage, sampler=EPBTSampler(6, n_elites=3, seed=0))

    def objective(trial: optuna.Trial) -> float:
        return sum(trial.suggest_float(f"x{i}", 0, 1) for i in range(n_variables))

    study.optimize(objective, n_trials=6 + 3)
    trial = study.ask()  # reads the generation that has just ended
    objective(trial)
    study.tell(trial, 0.0)
    storage.reads.clear()
    trial = study.ask()
    objective(trial)
    assert storage.reads == {"system attrs of the study": 1, "trials by number": 2}
