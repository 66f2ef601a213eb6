"""The results page: tables and figures from the result files, and nothing that is not in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from epbt_optuna import EPBTSampler
from examples.label_noise import EMA_DECAY
from examples.paper import ExperimentError, texts
from examples.paper import paper_tables as p
from examples.paper import questions as q
from examples.paper import tables as t
from examples.paper.arms import (
    ABLATIONS,
    ARMS,
    BASELINES,
    EMA,
    EVOLVED_ELR,
    GENTLER,
    MEANS,
    METHODS,
    RECOMMENDED,
    ROBUST,
    SAFE,
    SLOW,
    TUNED,
    TUNED_ELR,
)  # fmt: skip
from examples.paper.brief import brief_table, fill
from examples.paper.choosing import FOLDER, choosing
from examples.paper.claims import claims
from examples.paper.configs import CONFIGS
from examples.paper.figures import draw_accuracies, draw_ancestries
from examples.paper.forest import draw_noises, draw_rivals, draw_sweeps
from examples.paper.kinds import ReplayArm, SingleNetwork
from examples.paper.plan import N_SEEDS, SIX, missing
from examples.paper.results import read_results
from examples.paper.rivals import LETTER, ByConfig

CURVES = (*RECOMMENDED, LETTER, "pbt-theta-uniform", "cross-entropy", "generalized-cross-entropy")

LOSSES = [name for name in (*BASELINES, *ROBUST, *EMA, *SLOW, "replayed-all-data")
          if isinstance(ARMS[name], SingleNetwork | ReplayArm)]  # fmt: skip

SUBJECTS = {
    "EPBT": [*RECOMMENDED, *EVOLVED_ELR, *MEANS, *METHODS],
    "PBT and searches": [n for n in (*BASELINES, *TUNED, *TUNED_ELR) if n not in LOSSES],
    "Single networks": LOSSES,
    "Other settings of EPBT, and `epbt` with one thing changed": [*GENTLER, *SAFE, *ABLATIONS],
}


def write_report(results: Path, page: Path) -> None:
    """Write the page and its figures; where it has a home page beside it, fill that and the README.

    Raises:
        ExperimentError: There are no results, one is foreign, or those pages have no marks.
    """
    configs = read_all(results)
    if (home := page.parent / "index.md").exists():
        for brief in (home, page.parent.parent / "README.md"):
            fill(brief, brief_table(configs))
    parts = [
        *in_short(configs, results, page),
        *answers(configs, results, page),
        *all_arms(configs),
        *papers_tables(configs, results / "figures", page),
    ]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def read_all(results: Path) -> ByConfig:
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


def place_of(path: Path, page: Path) -> str:
    """Return a path as the page links to it."""
    at = path.relative_to(page.parent) if path.is_relative_to(page.parent) else path.resolve()
    return at.as_posix()


def in_short(configs: ByConfig, results: Path, page: Path) -> Iterator[str]:
    """What most readers want to know."""
    yield texts.PREFACE.format(folder=place_of(results, page))
    if any(CONFIGS[config].recommended in arms for config, arms in configs.items()):
        path = results / "figures" / "summary.svg"
        draw_rivals(configs, path)
        yield "## At one look"
        yield picture("recommended settings minus each rival", path, page)
        yield texts.PICTURE.format(n_seeds=N_SEEDS)
    yield "## What was claimed, and what came out"
    yield texts.CLAIMS.format(n_seeds=N_SEEDS)
    yield claims(configs)
    yield "## The picture in numbers"
    yield texts.NUMBERS
    yield t.rivals_table(configs)


def answers(configs: ByConfig, results: Path, page: Path) -> Iterator[str]:
    """One question a section, then what is open."""
    yield "## Kinds of wrong labels"
    yield texts.NOISE
    yield t.noise_table(configs, q.ALL_THREE, "recommended", t.NOISE_RIVALS)
    yield "## Evolving a loss that remembers"
    yield texts.EVOLVED_ELR
    if any("epbt-elr" in arms for arms in configs.values()):
        path = results / "figures" / "evolved.svg"
        draw_noises(configs, path)
        yield picture("evolved losses minus the strongest single one, 95 % intervals", path, page)
    yield q.evolved_elr_table(configs)
    yield "## The three changes, one by one"
    yield texts.MEANS
    yield q.not_only_the_means()
    yield q.means_table(configs)
    yield "## How to divide a budget"
    yield texts.SWEEPS
    if any(name.startswith("sweep-") for arms in configs.values() for name in arms):
        path = results / "figures" / "sweeps.svg"
        draw_sweeps(configs, path)
        yield picture("one budget divided otherwise, 95 % intervals", path, page)
    yield q.sweep_table(configs)
    yield "## Training and validation images together"
    yield texts.REPLAYED
    yield q.replay_table(configs)
    yield "## How settings were chosen"
    yield texts.CHOSEN.format(folder=place_of(results / FOLDER, page), ema=EMA_DECAY)
    yield choosing(results) or "None of those runs is there."
    yield "## What is not known"
    yield texts.UNKNOWN.format(n_networks=CONFIGS[SIX[0]].n_lineages)
    if absent := missing(configs):
        yield "Planned, and not run:"
        yield absent


def all_arms(configs: ByConfig) -> Iterator[str]:
    """Everything that was run."""
    yield "## What was run"
    yield t.what_was_run(configs)
    not_run = ", ".join(f"`{name}`" for name in CONFIGS if name not in configs)
    yield f"No results: {not_run or 'of no config'}."
    yield texts.COMMANDS
    yield "## All arms"
    yield texts.ALL_ARMS
    for subject, names in SUBJECTS.items():
        yield f"### {subject}"
        yield t.accuracy_table(configs, names)
    ablated = {c: arms for c, arms in configs.items() if arms.keys() & ABLATIONS.keys()}
    if ablated:
        yield "### Which part of `epbt` earns its keep"
        yield texts.ABLATED
        yield t.differences_table(ablated, "epbt", ["selection-alone", *ABLATIONS])


def papers_tables(configs: ByConfig, figures: Path, page: Path) -> Iterator[str]:
    """What the paper shows of its method, here too."""
    six = {name: configs[name] for name in SIX if name in configs}
    yield "## The paper's table 2: epochs to overtake"
    yield texts.TABLE_2
    yield p.overtaking_table(six, LETTER)
    yield "## Figures 2–4: accuracy over epochs"
    for config, arms in six.items():
        shown = {name: arms[name] for name in CURVES if name in arms}
        path = figures / f"{config}-accuracy.svg"
        draw_accuracies(shown, path)
        yield picture(f"{config}: mean test accuracy with standard errors", path, page)
    yield "## Section 4.4: what it takes"
    yield texts.EFFORT.format(n_losses=EPBTSampler(40).n_trials(25))
    yield p.effort_table(six)
    yield p.stage_table(six)
    yield "## Figure 5: ancestries of losses"
    yield texts.FIGURE_5.format(arm=LETTER)
    for config, arms in six.items():
        if LETTER in arms:
            path = figures / f"{config}-ancestries.svg"
            draw_ancestries(arms[LETTER], path)
            yield picture(f"{config}: losses along the best ancestries", path, page)
    yield "## Section 5: shapes, measured"
    yield texts.SHAPES
    yield p.shape_table(six)
    yield p.trend_table(six)


def picture(title: str, path: Path, page: Path) -> str:
    return f"![{title}]({place_of(path, page)})\n\n*{title}*"
