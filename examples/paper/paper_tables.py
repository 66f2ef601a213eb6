"""The paper's own tables: epochs to overtake, what it takes, and the shapes of losses."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from examples.paper.arms import ARMS, BASELINES
from examples.paper.configs import CONFIGS
from examples.paper.figures import mean_curve
from examples.paper.results import Result
from examples.paper.rivals import ByConfig, accuracies
from examples.paper.shapes import position_of_minimum, slope_at_certainty
from examples.paper.statistics import compare, summarise
from examples.paper.tables import table

COMPARED = ("epbt", "safe-no-elites-founders", "cross-entropy", "pbt-theta", "random-search")
"""Whose effort is shown beside that of the recommended settings and of the paper's letter."""

STAGES = {
    "breed": "stages 1 and 2: select, mutate, cross over",
    "record": "recording trials in Optuna's journal",
    "inherit": "checkpoints: inherit",
    "save": "checkpoints: save",
    "collect": "checkpoints: collect",
    "train": "stage 3: train",
    "evaluate": "stage 3: evaluate",
    "other": "anything else",
}
"""Test accuracy is measured for the record only, so its time is nobody's."""


def overtaking_table(configs: ByConfig, ours: str) -> str:
    """Table 2: the first epoch at which our mean test accuracy exceeds a baseline's."""
    rows = []
    for other in BASELINES:
        row = [ARMS[other].description]
        for arms in configs.values():
            if ours not in arms or other not in arms:
                row.append("–")
                continue
            goal = summarise(list(accuracies(arms[other]).values())).mean
            epochs, means, _ = mean_curve(arms[ours])
            ahead = epochs[means > goal]
            row.append(f"{ahead[0]} of {epochs[-1]}" if len(ahead) else "never")
        if set(row[1:]) != {"–"}:
            rows.append(row)
    return table(["to exceed", *(f"`{config}`" for config in configs)], rows)


def effort_table(configs: ByConfig) -> str:
    """Section 4.4: losses explored, epochs trained, and what training each loss would take."""
    rows = []
    for config, arms in configs.items():
        for name in (CONFIGS[config].recommended, "epbt-paper", *COMPARED):
            if name not in arms:
                continue
            losses = mean(result.outcome.losses_explored for result in arms[name])
            epochs = mean(result.outcome.epochs_trained for result in arms[name])
            age = mean(result.epochs_of_chosen for result in arms[name])
            seconds = mean(sum(result.seconds.values()) for result in arms[name])
            rows.append(
                [f"`{config}`, `{name}`", f"{losses:,.1f}", f"{epochs:,.1f}", f"{age:,.1f}",
                 f"{losses * CONFIGS[config].n_epochs:,.0f}", f"{seconds:,.1f}"]
            )  # fmt: skip
    headings = ["", "losses explored", "epochs trained", "epochs of the chosen network",
                "epochs to train each loss", "seconds"]  # fmt: skip
    return table(headings, rows)


def stage_table(configs: ByConfig, name: str = "epbt") -> str:
    """Section 4.4: the share of each stage in the time of a job."""
    configs = {config: arms for config, arms in configs.items() if name in arms}
    shares = {config: summarise_shares(arms[name]) for config, arms in configs.items()}
    rows = [
        [meaning, *(f"{100 * column.get(stage, 0.0):.2f} %" for column in shares.values())]
        for stage, meaning in STAGES.items()
    ]
    return table(["stage", *(f"`{config}`" for config in configs)], rows)


def summarise_shares(results: Sequence[Result]) -> dict[str, float]:
    seconds = {stage: mean(r.seconds.get(stage, 0.0) for r in results) for stage in STAGES}
    return {stage: spent / sum(seconds.values()) for stage, spent in seconds.items()}


def shape_table(configs: ByConfig) -> str:
    """Section 5: minimum and slope of the losses along the best ancestries, by thirds."""
    rows = []
    for config, arms in configs.items():
        for name in (CONFIGS[config].recommended, "epbt-paper"):
            for third, params in enumerate(thirds(arms.get(name, ()), config)):
                if not params:
                    continue
                minima = [position_of_minimum(theta) for theta in params]
                slopes = [slope_at_certainty(theta) for theta in params]
                rows.append(
                    [f"`{config}`, `{name}`, {('first', 'second', 'last')[third]} third",
                     str(len(params)), f"{mean(minima):.2f}",
                     f"{100 * mean(0 < y < 1 for y in minima):.0f} %",
                     f"{mean(slopes):+.2f}", f"{100 * mean(s > 0 for s in slopes):.0f} %"]
                )  # fmt: skip
    headings = ["ancestries", "losses", "mean minimum at y", "minimum inside (0, 1)",
                "mean slope at y = 1", "slope positive"]  # fmt: skip
    return table(headings, rows)


def thirds(results: Sequence[Result], config: str) -> list[list[dict[str, float]]]:
    """Return the θ of the ancestries, all seeds together, by thirds of the generations."""
    n_generations = CONFIGS[config].n_generations
    found: list[list[dict[str, float]]] = [[], [], []]
    for result in results:
        for ancestor in result.outcome.ancestry:
            found[3 * ancestor["generation"] // n_generations].append(ancestor["params"])
    return found


def trend_table(configs: ByConfig) -> str:
    """Section 5: does the slope at y = 1 grow along an ancestry? Last loss less first, by seed."""
    rows = []
    for config, arms in configs.items():
        for name in (CONFIGS[config].recommended, "epbt-paper"):
            ends = {r.seed: (r.outcome.ancestry[0], r.outcome.ancestry[-1])
                    for r in arms.get(name, ())}  # fmt: skip
            if len(ends) < 2:
                continue
            cells = []
            for measure in (position_of_minimum, slope_at_certainty):
                first, last = (
                    {seed: measure(pair[i]["params"]) for seed, pair in ends.items()}
                    for i in range(2)
                )
                change = compare(last, first, f"First and last losses of {name!r}, {config!r},")
                cells.append(str(change))
            rows.append([f"`{config}`, `{name}`", *cells])
    return table(["from the first to the last loss", "minimum moves by", "slope changes by"], rows)
