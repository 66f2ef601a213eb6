"""The page about tuning: tables and figures from the result files, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from examples.paper import ExperimentError
from examples.paper.report import picture
from examples.paper.rivals import cell, paired
from examples.paper.statistics import compare, summarise
from examples.paper.tables import interval, shown, table
from examples.tuning.arms import arms_of
from examples.tuning.claims import claims, missing
from examples.tuning.figures import draw_incumbents, draw_schedules
from examples.tuning.results import (
    FIRST_CHOOSING_SEED,
    Result,
    for_choosing,
    read_results,
    reported,
)
from examples.tuning.tasks import TASKS, CNNTask, PPOTask

Arms = Mapping[str, Sequence[Result]]

DEFAULT = "epbt"
"""The arm that candidates are set beside."""


def write_report(results: Path, page: Path) -> None:
    """Write the page and its figures.

    Raises:
        ExperimentError: There are no results, one is foreign, or too few seeds for a test.
    """
    folder = results.relative_to(page.parent) if results.is_relative_to(page.parent) else results
    sections = [
        section(task, read_results(results, task.name), results / "figures", page)
        for task in TASKS.values()
    ]
    sections = [text for text in sections if text]
    if not sections:
        raise ExperimentError(
            f"{results} holds no result files: `python -m examples.tuning run TASK` makes them."
        )
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        "\n\n".join([PREFACE.format(folder=folder), *sections]) + "\n", encoding="utf-8"
    )


def section(task: CNNTask | PPOTask, results: Sequence[Result], figures: Path, page: Path) -> str:
    """Return what there is to say about a task; nothing before a job of it has ended."""
    arms = in_order(task, reported(results))
    parts = []
    if arms:
        together, by_number = figures / f"{task.name}.svg", figures / f"{task.name}-schedules.svg"
        draw_incumbents(task, arms, together)
        draw_schedules(task, arms[next(iter(arms))], by_number)
        parts += [
            TEXTS[task.name].format(**facts(task)),
            missing(task, arms),
            *([CLAIMED, said] if (said := claims(task, arms)) else []),
            f"### Equal steps: {task.measure}",
            main_table(task, arms, lambda result, _: result.test),
            f"### Equal time: {task.measure}",
            EQUAL_TIME,
            main_table(task, arms, lambda result, seconds: result.test_at(seconds=seconds)),
            effort_table(task, arms),
            picture(f"{task.name}: what each arm would choose, mean over seeds", together, page),
            picture(f"{task.name}: schedules that `{next(iter(arms))}` found", by_number, page),
        ]
    if choosing := in_order(task, for_choosing(results)):
        parts += ["### Settings", SETTINGS, choosing_table(task, choosing)]
    return "\n\n".join(filter(None, [f"## {TITLES[task.name]}", *parts])) if parts else ""


def in_order(task: CNNTask | PPOTask, arms: Arms) -> dict[str, Sequence[Result]]:
    return {name: arms[name] for name in arms_of(task.name) if name in arms}


def facts(task: CNNTask | PPOTask) -> dict[str, object]:
    """Return the numbers that the page's text names."""
    ranges = ", ".join(
        f"`{v.name}` {v.low:g} to {v.high:g}{' (log)' if v.log else ''}" for v in task.variables
    )
    return {**vars(task), "budget": task.budget, "ranges": ranges}


def main_table(task: CNNTask | PPOTask, arms: Arms, value: Callable[[Result, float], float]) -> str:
    """Set every arm beside the first one.

    Args:
        task: The task.
        arms: Results by arm.
        value: Returns what a result is worth, given the seconds of its seed's shortest job.
    """
    known, first = arms_of(task.name), next(iter(arms))
    seconds = shortest(arms)
    values = {
        name: {result.seed: value(result, seconds[result.seed]) for result in own}
        for name, own in arms.items()
    }
    rows = []
    for name, own in values.items():
        row = [f"{known[name].description} (`{name}`)", *spread(list(own.values()))]
        if name == first:
            row.append("–")
        else:
            what = f"Arms {first!r} and {name!r} of task {task.name!r}"
            row.append(interval(compare(values[first], own, what)))
        rows.append(row)
    return table(["", "mean (sd, seeds)", "worst seed", f"`{first}` minus it"], rows)


def spread(seeds: Sequence[float]) -> list[str]:
    """Return the cells for mean and worst seed: a mean alone hides that one of ten fails."""
    return [shown(summarise(seeds)), f"{min(seeds):.2f}"]


def shortest(arms: Arms) -> dict[int, float]:
    """Return the seconds of the shortest job of each seed."""
    seconds: dict[int, list[float]] = {}
    for own in arms.values():
        for result in own:
            seconds.setdefault(result.seed, []).append(result.seconds)
    return {seed: min(times) for seed, times in seconds.items()}


def effort_table(task: CNNTask | PPOTask, arms: Arms) -> str:
    """Say what each arm took."""
    rows = [
        [
            arms_of(task.name)[name].description,
            f"{fmean(result.record['n_steps'] for result in own):.0f}",
            f"{fmean(result.record['n_networks'] for result in own):.1f}",
            f"{fmean(result.seconds for result in own):.0f}",
        ]
        for name, own in arms.items()
    ]
    return table(["", "steps", "networks or trials", "seconds"], rows)


def choosing_table(task: CNNTask | PPOTask, arms: Arms) -> str:
    """Say what the candidates were chosen by: validation alone, and beside the default."""
    known = arms_of(task.name)
    values = {
        name: {result.seed: result.validation for result in own} for name, own in arms.items()
    }
    default = values.get(DEFAULT, {})
    rows = []
    for name, own in values.items():
        beside = None if name == DEFAULT else paired(own, default)
        rows.append([known[name].description, *spread(list(own.values())), cell(beside)])
    head = ["", "validation: mean (sd, seeds)", "worst seed", f"minus `{DEFAULT}`, same seeds"]
    return table(head, rows)


TITLES = {
    "cnn": "A convolutional network on Fashion-MNIST",
    "ppo": "PPO on Pendulum",
}

PREFACE = """\
# What people tune

Made by `python -m examples.tuning report`; do not edit. Every number is computed from the files
`{folder}/TASK.jsonl`, whose lines, one for each arm and seed, hold the settings, the versions, what
the arm would have chosen after every step and second, and the schedule of what it chose.

All arms of a task train the same number of steps, on one core, and evaluate after each. An arm
chooses the network with the best validation of all that it has had, and only what is chosen is
tested. Differences are paired by seed, with 95 % intervals and two-sided p of Student's t. An arm
wins or loses where the interval leaves out zero; nothing is corrected for the number of
comparisons.

```console
$ python -m examples.tuning run cnn --seeds 10 --workers 2 --results docs/results/tuning
$ python -m examples.tuning report
```"""

TEXTS = {
    "cnn": """\
{n_train:,} images to train on, {n_validation:,} to choose on, labels as they are; SGD with
batches of {batch_size}. Tuned are {ranges} (pixels by which images are moved).

Every arm trains {budget} steps of {epochs_per_step} epochs; a network trained from start to end
sees {n_steps} of them. Hyperband and a cosine know that end; populations do not need to.""",
    "ppo": """\
Stable-Baselines3's PPO on {environment}, otherwise as RL Baselines3 Zoo has it: {n_environments}
environments, {n_rollout} moves in each before an update, {n_epochs} passes, γ = {gamma},
state-dependent exploration. Tuned are {ranges}.

Every arm trains {budget} updates, {n_steps} of them from start to end. Policies are chosen by
{n_validation_episodes} episodes and measured on {n_test_episodes} others. A generation is one
update, and five in `epbt-five-steps`, which was chosen among the settings below.""",
}

CLAIMED = """\
Aims that were set before the runs, at equal steps: ahead where the 95 % interval of the difference
is above zero, not behind where it is not below."""

EQUAL_TIME = """\
What each arm would have chosen when the shortest job of the same seed ended. Times are of one core
of one machine, and the same network takes the same time in all arms: they differ by what surrounds
training, checkpoints above all, and by where steps are spent."""

SETTINGS = f"""\
Candidates are compared by validation alone, on seeds from {FIRST_CHOOSING_SEED} on, which enter no
other table. Some have fewer seeds than others, so the last column is over those that both have."""
