"""TaylorGLO losses by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from epbt_optuna import EPBTSampler, TaylorGLOLoss
from epbt_optuna.lineage import Schedule, ancestry, loss_schedule
from tests.lineage.studies import evolve


def objective(trial: optuna.Trial, *, prefix: str = "theta_", n_epochs: int = 2) -> float:
    TaylorGLOLoss.suggest(trial, prefix=prefix)
    for epoch in range(n_epochs):
        trial.report(0.0, epoch)
    return float(trial.number)


def evolved(**options: Any) -> optuna.Study:
    return evolve(
        EPBTSampler(4, seed=0), objective=lambda trial: objective(trial, **options), n_trials=12
    )


def test_each_epoch_has_the_loss_that_its_trial_was_trained_with() -> None:
    study = evolved()
    losses = loss_schedule(study)
    chain = ancestry(study)
    assert len(losses) == 2 * len(chain) > 4
    for epoch, loss_fn in enumerate(losses):
        expected = TaylorGLOLoss.from_params(chain[epoch // 2].params)
        assert torch.equal(loss_fn.theta, expected.theta)
    assert losses[0] is losses[1]


def test_a_schedule_from_a_file_gives_the_same_losses(tmp_path: Path) -> None:
    study = evolved()
    Schedule.from_study(study).save(tmp_path / "schedule.json")
    losses = loss_schedule(Schedule.load(tmp_path / "schedule.json"))
    for loss_fn, own in zip(losses, loss_schedule(study), strict=True):
        assert torch.equal(loss_fn.theta, own.theta)


def test_another_trial_prefix_scale_and_reduction_can_be_asked_for() -> None:
    study = evolved(prefix="loss")
    losses = loss_schedule(study, 0, prefix="loss", normalize=True, reduction="none")
    assert len(losses) == 2
    assert losses[0].normalize
    assert losses[0](torch.zeros(3, 10), torch.arange(3)).shape == (3,)
    assert losses[0].theta.tolist() == pytest.approx(list(study.trials[0].params.values()))


def test_a_study_that_evolved_no_loss_is_told_what_is_missing() -> None:
    with pytest.raises(
        ValueError,
        match=r"^Trial \d+ of study 'evolved' has no TaylorGLO loss with the prefix 'theta_': its "
        r"parameters \['kind', 'rate', 'share', 'width'\] lack theta_0, theta_1, .*theta_7\.$",
    ):
        loss_schedule(evolve())
    with pytest.raises(ValueError, match=r"with the prefix 'theta_': .* lack theta_0"):
        loss_schedule(evolved(prefix="loss"))


def test_without_reports_there_are_no_epochs() -> None:
    with pytest.raises(ValueError, match="has no epochs: none of its"):
        loss_schedule(evolved(n_epochs=0))


def test_a_schedule_has_a_trial_already() -> None:
    with pytest.raises(ValueError, match="`trial` is for a study"):
        loss_schedule(Schedule.from_study(evolved()), 3)


def test_nothing_but_a_study_or_a_schedule_is_taken() -> None:
    source: Any = "schedule.json"
    with pytest.raises(TypeError, match=r"must be a study or a Schedule but got 'schedule\.json'"):
        loss_schedule(source)
