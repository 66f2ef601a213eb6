"""Claims are judged by intervals, and not at all where runs are missing."""

from __future__ import annotations

import pytest

from examples.paper.arms import ARMS
from examples.paper.claims import lost_to_none, on_each_noise, over_the_letter
from examples.paper.configs import CONFIGS
from examples.paper.plan import N_SEEDS, NOISES, SIX, missing, planned
from examples.paper.rivals import (
    NAMED,
    RIVALS,
    ROBUST_LOSSES,
    Arms,
    against,
    cell,
    strongest,
)
from examples.paper.tables import NOISE_RIVALS
from tests.paper.made_up import arms_of

OURS = [80.0, 81.0, 82.0]
FAR_BELOW = [70.0, 71.1, 72.0]
A_TIE = [79.0, 82.1, 82.0]
FAR_ABOVE = [90.0, 91.1, 92.0]


def config_with(config: str, rivals: dict[str, list[float]]) -> Arms:
    return arms_of({CONFIGS[config].recommended: OURS, **rivals})


def letters(*values: list[float]) -> dict[str, Arms]:
    return {
        config: config_with(config, {"epbt-paper": own})
        for config, own in zip(SIX, values, strict=False)
    }


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([FAR_BELOW] * 4 + [A_TIE] * 2, "behind on none: reached."),
        ([FAR_BELOW] * 3 + [A_TIE] * 3, "behind on none: missed."),
        ([FAR_BELOW] * 5 + [FAR_ABOVE], "behind on none: missed."),
        ([FAR_BELOW] * 5, "behind on none: cannot be said before"),
        ([FAR_ABOVE], "behind on none: missed."),
    ],
)
def test_over_the_letter_takes_four_wins_and_no_loss(values: list[list[float]], said: str) -> None:
    text = over_the_letter(letters(*values))
    assert said in text
    assert f"of {len(values)} configs" in text
    assert text.count("not run") == len(SIX) - len(values)


def test_the_recommended_setting_for_the_configs_labels_is_the_one_that_counts() -> None:
    arms = arms_of({"recommended-clean": FAR_ABOVE, "recommended-noisy": OURS, "epbt-paper": OURS})
    text = over_the_letter({"digits-clean": arms, "digits-noisy": arms})
    assert "`digits-clean`: +10.03" in text
    assert "`digits-noisy`: +0.00" in text


def test_a_single_loss_is_named_with_its_interval_and_misses_the_aim() -> None:
    configs = {config: config_with(config, dict.fromkeys(NAMED, A_TIE)) for config in SIX}
    text = lost_to_none(configs)
    assert "0 lost beyond the interval. Aim: none lost: reached." in text
    assert f"({len(SIX) * len(NAMED)} of them over fewer than {N_SEEDS} seeds)" in text
    configs["fashion-clean"] = config_with(
        "fashion-clean", {**dict.fromkeys(NAMED, A_TIE), "tpe": FAR_ABOVE}
    )
    text = lost_to_none(configs)
    assert "1 lost beyond the interval. Aim: none lost: missed." in text
    assert "    - `fashion-clean`, `tpe`: -10.03 [" in text
    del configs["fashion-clean"]
    assert "none lost: cannot be said" in lost_to_none(configs)


def test_ahead_on_a_noise_means_ahead_on_each_of_its_data_sets() -> None:
    below = dict.fromkeys(ROBUST_LOSSES, FAR_BELOW)
    configs = {
        config: config_with(config, {**below, "early-learning-ema": A_TIE})
        for own in NOISES.values()
        for config in own
    }
    assert "with 0 of 3 kinds" in on_each_noise(configs)  # a tie, and behind on its mean
    for kind in list(NOISES)[:2]:
        configs[NOISES[kind][0]] = config_with(NOISES[kind][0], below)
        assert f"{kind}, not ahead" in on_each_noise(configs)
        for config in NOISES[kind]:
            configs[config] = config_with(config, below)
        assert f"{kind}, ahead: `{NOISES[kind][0]}` +9.97" in on_each_noise(configs)
    assert "with 2 of 3 kinds of noise. Aim: with 2: reached." in on_each_noise(configs)
    assert "(`early-learning-ema`)" in on_each_noise(configs)  # the strongest, of the third


def test_nobody_is_ahead_of_losses_of_which_some_have_not_run() -> None:
    kind, (config, *_) = next(iter(NOISES.items()))
    text = on_each_noise({config: config_with(config, {"nce-rce": FAR_BELOW})})
    assert f"{kind}, not all run: `{config}` +9.97" in text
    assert "(`nce-rce`, of 1 that have run)" in text
    assert "with 2: cannot be said" in text


def test_of_several_rivals_the_one_against_which_least_is_won_is_shown() -> None:
    arms = arms_of({"ours": OURS, "a": FAR_BELOW, "b": A_TIE, "c": [99.0]})
    found = strongest(arms, "ours", ["a", "b", "c", "gone", "ours"])
    assert found is not None
    assert found.name == "`b`, of 2 that have run"  # `c` shares a single seed
    assert strongest(arms, "ours", ["c", "gone"]) is None


def test_only_seeds_that_both_have_are_compared() -> None:
    arms = arms_of({"ours": [*OURS, 10.0], "theirs": OURS})
    comparison = against(arms, "ours", "theirs")
    assert comparison is not None
    assert (comparison.difference, comparison.n) == (0, 3)


@pytest.mark.parametrize(("n", "said"), [(9, ", n = 9: ties"), (10, "]: ties")])
def test_a_difference_over_fewer_than_ten_seeds_says_how_many(n: int, said: str) -> None:
    values = [float(value) for value in range(n)]
    arms = arms_of({"a": values, "b": [*values[:-2], values[-1], values[-2]]})
    assert cell(against(arms, "a", "b")).endswith(said)


def test_every_arm_that_is_named_is_there() -> None:
    named = {*NAMED, *ROBUST_LOSSES, *(name for group in RIVALS.values() for name in group)}
    assert named <= ARMS.keys()
    assert all(planned(config).keys() <= ARMS.keys() for config in CONFIGS)


def test_what_is_missing_is_named_by_config_and_count_and_nothing_else_is() -> None:
    complete = {
        config: arms_of({name: [0.0] * n for name, n in planned(config).items()})
        for config in CONFIGS
    }
    assert missing(complete) == ""
    del complete["digits-noisy"]["tpe"]
    complete["digits-noisy"]["epbt"] = complete["digits-noisy"]["epbt"][:7]
    for name in [name for name in complete["fashion-clean"] if name.endswith("-ema")]:
        if "slow" not in name:
            del complete["fashion-clean"][name]
    assert missing(complete).splitlines() == [
        "- `digits-noisy`: 0 of 10 seeds: `tpe`; 7 of 10 seeds: `epbt`.",
        "- `fashion-clean`: 0 of 10 seeds: `ema` (7 arms).",
    ]


@pytest.mark.parametrize("groups", [RIVALS, NOISE_RIVALS])
def test_each_loss_for_wrong_labels_is_in_one_group_of_rivals(
    groups: dict[str, tuple[str, ...]],
) -> None:
    named = sorted(name for group in groups.values() for name in group if name in ROBUST_LOSSES)
    assert named == sorted(ROBUST_LOSSES)
