"""The report's tables, as Markdown: every cell computed from result files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

from examples.paper.arms import ABLATIONS, ARMS, EMA, ROBUST, SLOW, TUNED, TUNED_ELR
from examples.paper.configs import CONFIGS
from examples.paper.plan import NOISES, SIX
from examples.paper.rivals import (
    ELR,
    LETTER,
    RIVALS,
    ByConfig,
    Strongest,
    accuracies,
    against,
    beside_recommended,
    cell,
    label,
    strongest,
)
from examples.paper.statistics import Comparison, Summary, summarise

NOISE_RIVALS = {
    "paper's letter": (LETTER,),
    "PBT": RIVALS["PBT"],
    "search for θ": ("random-search", "tpe"),
    "SCE, GCE tuned": tuple(TUNED),
    "ELR": ELR,
    "ELR tuned": tuple(TUNED_ELR),
    "others as published": tuple(n for n in ("generalized-cross-entropy", *ROBUST) if n not in ELR),
    "others, EMA": tuple(n for n in EMA if n not in ELR),
    "others, slow": tuple(n for n in SLOW if n not in ELR),
}


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in headings[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows))


def filled(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table without its empty rows."""
    rows = [row for row in rows if set(row[1:]) != {"–"}]
    return table(headings, rows) if rows else "None of these runs is there yet."


def shown(summary: Summary) -> str:
    if isnan(summary.sd):
        return f"{summary.mean:.2f} (n = 1)"
    return f"{summary.mean:.2f} ({summary.sd:.2f}, n = {summary.n})"


def interval(comparison: Comparison) -> str:
    p = f"p = {comparison.p:.3f}" if comparison.p >= 0.0005 else "p < 0.001"
    return f"{comparison}, {p}: {comparison.verdict}"


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


def accuracy_of(configs: ByConfig, config: str, name: str) -> str:
    """Return mean test accuracy in % (sd, n) of an arm."""
    own = configs.get(config, {}).get(name)
    return shown(summarise(list(accuracies(own).values()))) if own else "–"


def named(rival: Strongest | None, group: Sequence[str]) -> str:
    """Return a difference, and of several rivals which one it is to."""
    if rival is None:
        return "–"
    return cell(rival.comparison) + (f" ({rival.name})" if len(group) > 1 else "")


def rivals_table(configs: ByConfig) -> str:
    """The recommended settings minus each rival; above that, how accurate they are."""
    rows = [
        [
            "recommended: accuracy",
            *(accuracy_of(configs, config, CONFIGS[config].recommended) for config in SIX),
        ],
        *(
            [
                f"minus {label(group)}",
                *(named(beside_recommended(configs, config, arms), arms) for config in SIX),
            ]
            for group, arms in RIVALS.items()
        ),
    ]
    return filled(["", *(f"`{config}`" for config in SIX)], rows)


def noise_table(
    configs: ByConfig, ours: str, called: str, rivals: Mapping[str, Sequence[str]]
) -> str:
    """An arm, and the same minus each rival, on every kind of wrong labels, a config a row."""
    rows = [
        [
            f"{kind}: `{config}`",
            accuracy_of(configs, config, ours),
            *(
                named(strongest(configs.get(config, {}), ours, arms), arms)
                for arms in rivals.values()
            ),
        ]
        for kind, own in NOISES.items()
        for config in own
    ]
    return filled(["", called, *(f"minus {group}" for group in rivals)], rows)


def accuracy_table(configs: ByConfig, names: Sequence[str]) -> str:
    """Mean accuracies of arms that were run, the best of all arms of a config bold."""
    names = [name for name in names if any(name in arms for arms in configs.values())]
    means = {
        config: {name: summarise(list(accuracies(own).values())).mean for name, own in arms.items()}
        for config, arms in configs.items()
    }
    best = {config: max(column, key=column.__getitem__) for config, column in means.items()}
    rows = []
    for name in names:
        described = ARMS[name].description
        row = [f"{'EPBT: ' if name in ABLATIONS else ''}{described} (`{name}`)"]
        for config in configs:
            text = accuracy_of(configs, config, name)
            row.append(f"**{text}**" if best[config] == name else text)
        rows.append(row)
    return table(["arm", *(f"`{config}`" for config in configs)], rows)


def differences_table(configs: ByConfig, ours: str, others: Sequence[str]) -> str:
    """One arm minus each of others that were run."""
    found = {
        config: {other: against(arms, ours, other) for other in others}
        for config, arms in configs.items()
    }
    rows = [
        [ARMS[other].description, *(cell(column[other]) for column in found.values())]
        for other in others
        if any(column[other] for column in found.values())
    ]
    return table(["compared with", *(f"`{config}`" for config in configs)], rows)
