"""Tables that answer one question compare the arms that they say they compare."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from examples.paper.arms import ARMS
from examples.paper.configs import CONFIGS
from examples.paper.kinds import EPBTArm
from examples.paper.plan import SWEPT
from examples.paper.questions import (
    MEAN_BY_MEAN,
    SWEEPS,
    evolved_elr_table,
    means_table,
    not_only_the_means,
    replay_table,
    sweep_arm,
    sweep_table,
)
from tests.paper.made_up import arms_of

FIELDS = {
    "elites train": {"train_elites"},
    "fitness smoothed": {"fitness_smoothing"},
    "mates averaged": {"mate_weight"},
    "all three": {"train_elites", "fitness_smoothing", "mate_weight"},
}


@pytest.mark.parametrize("said", MEAN_BY_MEAN)
def test_arms_of_a_row_differ_in_the_change_that_it_names_and_in_nothing_else(said: str) -> None:
    with_it, without = (ARMS[name] for name in MEAN_BY_MEAN[said])
    differing = {
        field.name
        for field in fields(EPBTArm)
        if getattr(with_it, field.name) != getattr(without, field.name)
    }
    assert differing - {"description", "batched"} == FIELDS[said.split(",")[0]]


def test_a_row_is_the_arm_with_the_change_minus_the_arm_without() -> None:
    arms = arms_of({"recommended-clean": [81.0, 82.1], "epbt": [80.0, 81.0]})
    (row,) = means_table({"digits-clean": arms}).splitlines()[2:]
    assert row.startswith("| elites train, alone | +1.05 [")
    assert row.endswith("n = 2: wins | – | – | – | – | – |")


def test_the_evolved_loss_is_set_beside_what_it_is_said_to_be() -> None:
    arms = arms_of(
        {
            "epbt-elr": [83.0, 84.1],
            "recommended-noisy": [82.0, 83.0],
            "pbt-elr": [81.0, 82.0],
            "tpe-elr": [80.0, 81.0],
            "early-learning-ema": [84.0, 85.0],
            "pbt-theta": [90.0, 91.0],  # of another loss: in no column
        }
    )
    (row,) = evolved_elr_table({"digits-instance": arms}).splitlines()[2:]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[0] == "instance-dependent, 30 %: `digits-instance`"
    assert [cell.split(" ")[0] for cell in cells[1:]] == [
        "83.55", "+1.05", "+2.05", "+3.05", "-0.95",
    ]  # fmt: skip
    assert "`tpe-elr`, of 1 that have run" in cells[4]


def test_the_evolved_loss_is_set_as_recommended() -> None:
    ours, recommended = ARMS["epbt-elr"], ARMS["recommended-noisy"]
    assert isinstance(ours, EPBTArm)
    assert isinstance(recommended, EPBTArm)
    assert replace(ours, description="", tunes=()) == replace(recommended, description="", tunes=())


def test_mutation_that_differs_beside_the_three_changes_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not_only_the_means() == ""
    arm = ARMS["recommended-clean"]
    assert isinstance(arm, EPBTArm)
    monkeypatch.setitem(ARMS, "recommended-clean", replace(arm, sigma=0.1))
    assert not_only_the_means() == (
        "Besides, `recommended-clean` has σ = 0.1 and resets 0.2, unlike `epbt`."
    )


def test_every_division_is_an_arm_and_the_recommended_one_is_among_them() -> None:
    for config in SWEPT:
        recommended = CONFIGS[config].recommended
        for axis, values in SWEEPS.items():
            arms = [sweep_arm(config, axis, value) for value in values]
            assert arms.count(recommended) == 1
            assert set(arms) <= ARMS.keys()
    assert sweep_arm("digits-noisy", "p", 8) == "sweep-noisy-p-8"
    assert sweep_arm("digits-clean", "generations", 20) == "recommended-clean"


def test_a_division_stands_beside_its_difference_to_the_recommended_one() -> None:
    arms = arms_of({"recommended-noisy": [80.0, 81.0], "sweep-noisy-p-8": [79.0, 80.1]})
    rows = sweep_table({"digits-noisy": arms}).splitlines()[2:]
    assert len(rows) == 3  # the recommended setting has a row in both sweeps
    assert rows[0].startswith("| p = 8 | – | 79.55 (0.78, n = 2); -0.95 [")
    assert rows[1] == "| p = 21 | – | 80.50 (0.71, n = 2) | – |"


def test_the_replayed_schedule_stands_beside_cross_entropy_on_the_same_images() -> None:
    arms = arms_of(
        {
            "cross-entropy-all-data": [70.0, 71.0],
            "replayed-all-data": [80.0, 81.0],
            "recommended-noisy": [75.0, 76.0],
        }
    )
    (row,) = replay_table({"digits-noisy": arms}).splitlines()[2:]
    assert "| +10.00 [+10.00, +10.00], n = 2: wins | +5.00 [" in row


def test_without_runs_a_table_says_so() -> None:
    assert sweep_table({}) == means_table({}) == "None of these runs is there yet."
