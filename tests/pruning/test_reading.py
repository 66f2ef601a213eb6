"""What a report costs the storage: finished trials do not change, so each is read once."""

from __future__ import annotations

from collections import Counter

import optuna
import pytest
from optuna.trial import FrozenTrial

from epbt_optuna import EPBTPruner, EPBTSampler
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.pruning import pruner

P, N_REPORTS = 40, 4


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    for step in range(N_REPORTS):
        trial.report(x + step, step)
        trial.should_prune()
    return x + N_REPORTS


def test_each_finished_trial_is_read_once_a_generation_and_the_running_at_each_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: Counter[int] = Counter()

    def counted(study: optuna.Study, number: int) -> FrozenTrial | None:
        trial = read_trial(study, number)
        if trial is not None:
            reads[number] += 1
        return trial

    study = optuna.create_study(
        direction="maximize",
        sampler=EPBTSampler(P, seed=0),
        pruner=EPBTPruner(min_offspring=1e-9),  # looks at everybody and prunes nobody
    )
    study.optimize(objective, n_trials=P + P // 2)
    monkeypatch.setattr(pruner, "read_trial", counted)
    straggler = study.ask()
    study.optimize(objective, n_trials=P // 2 - 1)
    n_reports = N_REPORTS * (P // 2 - 1)
    assert reads.pop(straggler.number) == n_reports
    assert set(reads.values()) == {1}
    assert len(reads) < 2 * P
