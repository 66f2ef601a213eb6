"""The results page: tables and figures from the result files, and nothing that is not in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from epbt_optuna import EPBTSampler
from examples.paper import ExperimentError
from examples.paper import tables as t
from examples.paper.arms import ABLATIONS, ARMS, BASELINES, METHODS, SAFE
from examples.paper.configs import CONFIGS
from examples.paper.figures import draw_accuracies, draw_ancestries
from examples.paper.results import read_results
from examples.paper.statistics import summarise

CURVES = (
    "epbt", "epbt-paper", "pbt-theta", "pbt-sgd", "cross-entropy", "generalized-cross-entropy",
)  # fmt: skip

CHOSEN_ON = ("digits-clean", "digits-noisy")
"""Configs by which a candidate of `SAFE` is chosen."""


def write_report(results: Path, page: Path) -> None:
    """Write the page and its figures.

    Raises:
        ExperimentError: There are no results, one is foreign, or too few seeds for a test.
    """
    configs = read_all(results)
    figures = results / "figures"
    parts = [introduction(configs, results, page), *pictures(configs, figures, page)]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def read_all(results: Path) -> t.ByConfig:
    """Read all results by config and arm, in the order of the program's own lists."""
    unknown = sorted(path.stem for path in results.glob("*.jsonl") if path.stem not in CONFIGS)
    if unknown:
        raise ExperimentError(f"{results} holds results of unknown configs: {', '.join(unknown)}.")
    configs = {}
    for name in CONFIGS:
        found = read_results(results, name)
        arms = {arm: [r for r in found if r.arm == arm] for arm in ARMS}
        if found:
            configs[name] = {arm: own for arm, own in arms.items() if own}
    if not configs:
        raise ExperimentError(
            f"{results} holds no result files: `python -m examples.paper run CONFIG` makes them."
        )
    return configs


def introduction(configs: t.ByConfig, results: Path, page: Path) -> str:
    safe = chosen_safe(configs)
    methods = ["epbt", "epbt-paper", *([safe] if safe else [])]
    ablated = {c: arms for c, arms in configs.items() if arms.keys() & ABLATIONS.keys()}
    folder = results.relative_to(page.parent) if results.is_relative_to(page.parent) else results
    not_run = ", ".join(f"`{name}`" for name in CONFIGS if name not in configs)
    parts = [
        PREFACE.format(folder=folder),
        "## In short",
        SUMMARY,
        t.summary_table(configs),
        "## What was run",
        t.what_was_run(configs),
        f"Not run: {not_run or 'nothing'}.",
        COMMANDS,
        "## Table 1: test accuracy",
        TABLE_1,
        t.accuracy_table(configs),
        "## Where EPBT wins, ties and loses",
        WINS,
        *(t.verdicts(configs, ours) for ours in methods),
        *comparison_sections(configs, methods),
        "## Clean labels: not below cross-entropy?",
        SAFE_TEXT,
        clean_labels(configs, ["epbt", "epbt-paper", *SAFE]),
    ]
    if ablated:
        parts += [
            "## Which part of EPBT earns its keep",
            ABLATED,
            t.comparison_table(ablated, "epbt", ["selection-alone", *ABLATIONS]),
        ]
    return "\n\n".join(part for part in parts if part)


def chosen_safe(configs: t.ByConfig) -> str | None:
    """Return the candidate with the best mean over digits, clean and noisy; None before any ran."""
    digits = [arms for config, arms in configs.items() if config in CHOSEN_ON]
    candidates = [name for name in SAFE if digits and all(name in arms for arms in digits)]

    def mean_accuracy(name: str) -> float:
        return mean(mean(t.accuracies(arms[name]).values()) for arms in digits)

    return max(candidates, key=mean_accuracy, default=None)


def comparison_sections(configs: t.ByConfig, methods: Sequence[str]) -> list[str]:
    parts = []
    for ours in methods:
        ran = {config: arms for config, arms in configs.items() if ours in arms}
        if ran:
            parts += [
                f"### `{ours}`, difference in points",
                t.comparison_table(ran, ours, [*BASELINES, *METHODS]),
            ]
    return parts


def clean_labels(configs: t.ByConfig, methods: Sequence[str]) -> str:
    """Say whether EPBT's mean is below cross-entropy's by more than one standard error."""
    lines = []
    for config, arms in configs.items():
        if CONFIGS[config].noise_rate or "cross-entropy" not in arms:
            continue
        fair = summarise(list(t.accuracies(arms["cross-entropy"]).values()))
        for ours in methods:
            if ours not in arms:
                continue
            own = summarise(list(t.accuracies(arms[ours]).values()))
            standard_error = (fair.se**2 + own.se**2) ** 0.5
            below = own.mean < fair.mean - standard_error
            lines.append(
                f"- `{config}`, `{ours}`: {own.mean:.2f} against cross-entropy's {fair.mean:.2f}, "
                f"one standard error of the difference being {standard_error:.2f}: "
                f"{'below by more than that' if below else 'not below by more than that'}."
            )
    if safe := chosen_safe(configs):
        chosen_on = " and ".join(f"`{config}`" for config in CHOSEN_ON if config in configs)
        lines.insert(0, f"Chosen on {chosen_on}: `{safe}` ({ARMS[safe].description}).\n")
    return "\n".join(lines) or "No clean config was run."


def pictures(configs: t.ByConfig, figures: Path, page: Path) -> list[str]:
    """Draw the figures; return the sections that show them and the tables about the same."""
    parts = ["## Table 2: epochs to overtake", TABLE_2, t.overtaking_table(configs)]
    parts.append("## Figures 2–4: accuracy over epochs")
    for config, arms in configs.items():
        shown = {name: arms[name] for name in CURVES if name in arms}
        path = figures / f"{config}-accuracy.svg"
        draw_accuracies(shown, path)
        parts.append(picture(f"{config}: mean test accuracy with standard errors", path, page))
    parts += [
        "## Section 4.4: what it takes",
        EFFORT.format(n_losses=EPBTSampler(40).n_trials(25)),
        t.effort_table(configs),
        t.stage_table(configs),
        "## Figure 5: ancestries of losses",
        FIGURE_5,
    ]
    for config, arms in configs.items():
        if "epbt" in arms:
            path = figures / f"{config}-ancestries.svg"
            draw_ancestries(arms["epbt"], path)
            parts.append(picture(f"{config}: losses along the best ancestries", path, page))
    parts += [
        "## Section 5: shapes, measured", SHAPES, t.shape_table(configs), t.trend_table(configs),
    ]  # fmt: skip
    return parts


def picture(title: str, path: Path, page: Path) -> str:
    place = path.relative_to(page.parent) if path.is_relative_to(page.parent) else path.resolve()
    return f"![{title}]({place.as_posix()})\n\n*{title}*"


PREFACE = """\
# The paper's experiments

Made by `python -m examples.paper report`; do not edit. Every number is computed from the files
`{folder}/CONFIG.jsonl`, whose lines, one for each arm and seed, hold the settings, the device,
the versions, the test accuracy after every epoch or generation, the time by stage and the
hyperparameters along the best ancestry. All arms of a config and seed share images, wrong labels,
network, initial weights of the first network, batch size and the learning rate by epoch."""

SUMMARY = """\
Mean test accuracy in % of EPBT, and of the best of each group of rivals, which favours the rival;
EPBT wins or loses where the 95 % interval of the paired difference leaves out zero."""

COMMANDS = """\
A run that is cut off goes on when it is called again. With `--results docs/results` its files are
those of this page, which the second line makes.

```console
$ python -m examples.paper run digits-noisy --arms core safe ablations --workers 2
$ python -m examples.paper report
$ python -m examples.paper run fashion-resnet32 --devices cuda:0 --workers 4
$ python -m examples.paper run cifar10-resnet32 --devices cuda:0 cuda:1 --workers 2
```

CIFAR-10 and SVHN are downloaded by torchvision. Tests run their configs, ResNet-32 and WRN-16-8 on
small files of the same format; no accuracy on them is claimed."""

TABLE_1 = """\
Mean test accuracy in % (standard deviation, number of seeds) of the network that did best on the
validation images, which have wrong labels too; that is early stopping for a single network. Only
the paper's first baseline keeps no images back and is taken as it ends. PBT, random search and
TPE have the epochs of EPBT with half of the population as elites, rounded up. Test labels are
right, and nothing is chosen on them."""

WINS = """\
Differences are paired by seed, with 95 % intervals and two-sided p of Student's t. An arm wins or
loses where the interval leaves out zero, and ties otherwise. Nothing is corrected for the number
of comparisons: of twenty ties one is expected to look like a win or a loss."""

SAFE_TEXT = """\
Candidates for one setting that does not lose where labels are right start half of the founders at
a θ that stands in for cross-entropy, or do without elites; the one with the best mean over clean
and noisy digits is chosen. Below, all that were run on clean labels; before them `epbt`, the
demo's setting, and `epbt-paper`, the letter of the paper."""

ABLATED = """\
Each row is `epbt` less `epbt` with one thing changed (paired, in points): a win means that the
change does harm. The budget is the same for all: the fewer elites, the smaller the population."""

TABLE_2 = """\
The first epoch, by the clock of a lineage, at which the mean test accuracy of EPBT's fittest
individual exceeds the baseline's entry in Table 1. EPBT trains a whole population meanwhile."""

EFFORT = """\
The paper counts 520 losses in its 25 generations of 40 with 20 elites, and so does the sampler:
`EPBTSampler(40).n_trials(25)` is {n_losses}. Here, means over seeds; the third column is how long
the chosen network itself has been trained: elites are not, so EPBT's lineages leave generations
out. The fourth is what it would take to train a network from scratch with each loss. Then the
share of each stage in the time of an `epbt` job, test accuracy aside."""

FIGURE_5 = """\
The losses along each chosen ancestry of `epbt` in the two-class view (y is the true class's
probability), early ones dark and late ones light, each shifted and scaled to [0, 1]."""

SHAPES = """\
The paper saw minima at about y = 0.8, and slopes at y = 1 that grow with training while, by its
own reading, a positive slope regularises. Here the minimum of each loss on [0, 1] and the slope
of equation (1) at y = 1, all seeds together, by thirds of the generations; then the change from
the first to the last loss of an ancestry, with 95 % intervals over seeds."""
