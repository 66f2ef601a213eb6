"""The report's tables, as Markdown: every cell computed from result files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from statistics import mean
from typing import TypeAlias

from examples.paper.arms import ABLATIONS, ARMS, BASELINES, METHODS, SAFE
from examples.paper.configs import CONFIGS
from examples.paper.figures import mean_curve
from examples.paper.results import Result
from examples.paper.shapes import position_of_minimum, slope_at_certainty
from examples.paper.statistics import Comparison, Summary, compare, summarise

Arms: TypeAlias = Mapping[str, Sequence[Result]]
"""Results by arm, one a seed."""

ByConfig: TypeAlias = Mapping[str, Arms]

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

RIVALS = {
    "cross-entropy": ("cross-entropy",),
    "best other loss": ("label-smoothing", "generalized-cross-entropy", "mean-absolute-error"),
    "best PBT": ("pbt-theta", "pbt-theta-uniform", "pbt-sgd"),
    "best search for one θ": ("random-search", "tpe"),
    "selection alone": ("selection-alone",),
}
"""Whom EPBT is set beside in short; each group's best mean stands for it, on the test data."""


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in headings[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows))


def accuracies(results: Sequence[Result]) -> dict[int, float]:
    return {result.seed: result.accuracy for result in results}


def shown(summary: Summary) -> str:
    if isnan(summary.sd):
        return f"{summary.mean:.2f} (n = 1)"
    return f"{summary.mean:.2f} ({summary.sd:.2f}, n = {summary.n})"


def what_was_run(configs: ByConfig) -> str:
    rows = []
    for name, arms in configs.items():
        config = CONFIGS[name]
        results = [result for own in arms.values() for result in own]
        noise = f"{config.noise_rate:.0%} {config.noise}" if config.noise_rate else "none"
        hours = sum(sum(result.seconds.values()) for result in results) / 3600
        devices = sorted({result.record["device"] for result in results})
        versions = sorted({result.record["versions"]["torch"] for result in results})
        rows.append(
            [
                f"`{name}`",
                f"{config.dataset}, {config.model}",
                f"{config.n_train or 'the rest'} / {config.n_validation}",
                noise,
                f"{config.n_generations} × {config.epochs_per_generation}",
                str(len(results)),
                f"{hours:.1f}",
                f"{', '.join(devices)}; torch {', '.join(versions)}",
            ]
        )
    headings = ["config", "data, network", "train / validation", "wrong labels",
                "generations × epochs", "jobs", "hours", "device"]  # fmt: skip
    return table(headings, rows)


def accuracy_table(configs: ByConfig) -> str:
    """Table 1, with every arm that was run: mean (sd, n), the best of a column bold."""
    names = [name for name in ARMS if any(name in arms for arms in configs.values())]
    cells: dict[str, dict[str, Summary]] = {
        config: {name: summarise(list(accuracies(own).values())) for name, own in arms.items()}
        for config, arms in configs.items()
    }
    best = {config: max(column, key=lambda n: column[n].mean) for config, column in cells.items()}
    rows = []
    for name in names:
        row = [
            ARMS[name].description
            if name not in ABLATIONS
            else f"EPBT: {ABLATIONS[name].description}"
        ]
        for config, column in cells.items():
            text = shown(column[name]) if name in column else "–"
            row.append(f"**{text}**" if best[config] == name else text)
        rows.append(row)
    return table(["arm", *(f"`{config}`" for config in configs)], rows)


def summary_table(configs: ByConfig, ours: str = "epbt") -> str:
    """EPBT beside the best of each group of rivals, and whether it wins, ties or loses."""
    rows = []
    for config, arms in configs.items():
        if ours not in arms:
            continue
        means = {name: mean(accuracies(own).values()) for name, own in arms.items()}
        row = [f"`{config}`", f"{means[ours]:.2f}"]
        for group in RIVALS.values():
            best = max((name for name in group if name in arms), key=means.__getitem__, default="")
            found = comparisons(arms, ours, [best], config)
            verdict = f"{means[best]:.2f}: {found[best].verdict}" if found else "–"
            row.append(f"{verdict} (`{best}`)" if found and len(group) > 1 else verdict)
        rows.append(row)
    return table(["", "EPBT on θ", *RIVALS], rows)


def comparisons(arms: Arms, ours: str, others: Sequence[str], config: str) -> dict[str, Comparison]:
    """Compare one arm with each of the others that was run."""
    return {
        other: compare(
            accuracies(arms[ours]),
            accuracies(arms[other]),
            f"Arms {ours!r} and {other!r} of config {config!r}",
        )
        for other in others
        if other in arms and other != ours and ours in arms
    }


def comparison_table(configs: ByConfig, ours: str, others: Sequence[str]) -> str:
    """Paired differences in points with their 95 % intervals, and what they amount to."""
    found = {config: comparisons(arms, ours, others, config) for config, arms in configs.items()}
    rows = [
        [
            ARMS[other].description,
            *(interval(column[other]) if other in column else "–" for column in found.values()),
        ]
        for other in others
        if any(other in column for column in found.values())
    ]
    return table(["compared with", *(f"`{config}`" for config in configs)], rows)


def interval(comparison: Comparison) -> str:
    p = f"p = {comparison.p:.3f}" if comparison.p >= 0.0005 else "p < 0.001"
    return (
        f"{comparison.difference:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}], "
        f"{p}: {comparison.verdict}"
    )


def verdicts(configs: ByConfig, ours: str) -> str:
    """Say against whom an arm wins, ties and loses."""
    lines = []
    for config, arms in configs.items():
        found = comparisons(arms, ours, [*BASELINES, *METHODS], config)
        said = []
        for verdict in ("wins", "ties", "loses"):
            names = [f"`{other}`" for other, c in found.items() if c.verdict == verdict]
            said.append(f"{verdict} {len(names)}" + (f": {', '.join(names)}" if names else ""))
        if found:
            lines.append(f"- `{config}`, `{ours}` {'; '.join(said)}.")
    return "\n".join(lines)


def overtaking_table(configs: ByConfig, ours: str = "epbt") -> str:
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
        for name in ("cross-entropy", "epbt", "epbt-paper", *SAFE, "pbt-theta", "random-search"):
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


def shape_table(configs: ByConfig, names: Sequence[str] = ("epbt", "epbt-paper")) -> str:
    """Section 5: minimum and slope of the losses along the best ancestries, by thirds."""
    rows = []
    for config, arms in configs.items():
        for name in names:
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


def trend_table(configs: ByConfig, names: Sequence[str] = ("epbt", "epbt-paper")) -> str:
    """Section 5: does the slope at y = 1 grow along an ancestry? Last loss less first, by seed."""
    rows = []
    for config, arms in configs.items():
        for name in names:
            ends = {r.seed: (r.outcome.ancestry[0], r.outcome.ancestry[-1])
                    for r in arms.get(name, ())}  # fmt: skip
            if not ends:
                continue
            cells = []
            for measure in (position_of_minimum, slope_at_certainty):
                first, last = (
                    {seed: measure(pair[i]["params"]) for seed, pair in ends.items()}
                    for i in range(2)
                )
                change = compare(last, first, f"First and last losses of {name!r}, {config!r},")
                cells.append(f"{change.difference:+.2f} [{change.low:+.2f}, {change.high:+.2f}]")
            rows.append([f"`{config}`, `{name}`", *cells])
    return table(["from the first to the last loss", "minimum moves by", "slope changes by"], rows)
