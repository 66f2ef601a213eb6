"""Tables that answer a question each: ELR evolved, the three means, budgets, all labelled data."""

from __future__ import annotations

from examples.paper.arms import ARMS, MEANS, NUMBERS_OF_GENERATIONS, POPULATION_SIZES
from examples.paper.configs import CONFIGS, Config
from examples.paper.kinds import EPBTArm
from examples.paper.plan import SIX, SWEPT
from examples.paper.rivals import ROBUST_LOSSES, ByConfig, against, cell
from examples.paper.statistics import Comparison
from examples.paper.tables import accuracy_of, filled, noise_table

ALL_THREE = "recommended-noisy"
MEAN_BY_MEAN = {
    "elites train, alone": ("recommended-clean", "epbt"),
    "elites train, with both others": (ALL_THREE, "means-smoothing-mates"),
    "fitness smoothed, alone": ("means-smoothing", "epbt"),
    "fitness smoothed, with both others": (ALL_THREE, "means-elites-mates"),
    "mates averaged, alone": ("means-mates", "epbt"),
    "mates averaged, with both others": (ALL_THREE, "means-elites-smoothing"),
    "all three": (ALL_THREE, "epbt"),
}
"""For each mean, an arm that has it and one that lacks it, but has what the first has else."""


def means_table(configs: ByConfig) -> str:
    """What each of the three means adds."""
    rows = [
        [said, *(cell(against(configs.get(config, {}), *pair)) for config in SIX)]
        for said, pair in MEAN_BY_MEAN.items()
    ]
    return filled(["", *(f"`{config}`" for config in SIX)], rows)


def not_only_the_means() -> str:
    """Name what else differs between the arms of `means_table`; an empty text if nothing does."""
    plain = ARMS["epbt"]
    others = [
        f"`{name}` has σ = {arm.sigma} and resets {arm.reset_probability}"
        for name in ("recommended-clean", ALL_THREE, *MEANS)
        if isinstance(arm := ARMS[name], EPBTArm) and isinstance(plain, EPBTArm)
        and (arm.sigma, arm.reset_probability) != (plain.sigma, plain.reset_probability)
    ]  # fmt: skip
    return f"Besides, {'; '.join(others)}, unlike `epbt`." if others else ""


def evolved_elr_table(configs: ByConfig) -> str:
    """What evolving the constants of early-learning regularization gives, on each noisy config."""
    rivals = {
        "recommended": (ALL_THREE,),
        "PBT on ELR": ("pbt-elr",),
        "search on ELR": ("random-search-elr", "tpe-elr"),
        f"the strongest of {len(ROBUST_LOSSES)} losses": ROBUST_LOSSES,
    }
    return noise_table(configs, "epbt-elr", "EPBT on ELR", rivals)


def sweep_arm(config: str, axis: str, value: int) -> str:
    """Return the arm that divides the budget of a config so; the recommended one may be it."""
    if value == of_recommended(CONFIGS[config], axis):
        return CONFIGS[config].recommended
    kind = CONFIGS[config].recommended.removeprefix("recommended-")
    return f"sweep-{kind}-{axis}-{value}"


def of_recommended(config: Config, axis: str) -> int:
    if axis == "generations":
        return config.n_generations
    return config.population_size_with(0.5, train_elites=True)


SWEEPS = {
    axis: sorted({*values, *(of_recommended(CONFIGS[config], axis) for config in SWEPT)})
    for axis, values in (("p", POPULATION_SIZES), ("generations", NUMBERS_OF_GENERATIONS))
}


def sweep_comparison(configs: ByConfig, config: str, axis: str, value: int) -> Comparison | None:
    """Compare a division of the budget with the recommended setting."""
    ours = CONFIGS[config].recommended
    return against(configs.get(config, {}), sweep_arm(config, axis, value), ours)


def sweep_table(configs: ByConfig) -> str:
    """Accuracy of each division, and its difference to the recommended setting."""
    rows = []
    for axis, values in SWEEPS.items():
        for value in values:
            row = [f"p = {value}" if axis == "p" else f"{value} generations"]
            for config in SWEPT:
                arm = sweep_arm(config, axis, value)
                text = accuracy_of(configs, config, arm)
                if arm != CONFIGS[config].recommended and text != "–":
                    text += f"; {cell(sweep_comparison(configs, config, axis, value))}"
                row.append(text)
            rows.append(row)
    return filled(["", *(f"`{config}`" for config in SWEPT)], rows)


def replay_table(configs: ByConfig) -> str:
    """The winner's schedule on all labelled images, beside cross-entropy on them."""
    baseline, replayed = "cross-entropy-all-data", "replayed-all-data"
    rows = []
    for config in SIX:
        arms, ours = configs.get(config, {}), CONFIGS[config].recommended
        rows.append(
            [
                f"`{config}`",
                *(accuracy_of(configs, config, name) for name in (baseline, replayed, ours)),
                cell(against(arms, replayed, baseline)),
                cell(against(arms, ours, baseline)),
            ]
        )
    headings = ["", "cross-entropy, all data", "schedule, all data", "recommended, training data",
                "schedule minus cross-entropy", "recommended minus cross-entropy"]  # fmt: skip
    return filled(headings, rows)
