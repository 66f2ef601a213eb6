"""A study in brief, in words: what `epbt summary` and the dashboard's note say of it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from optuna import Study

from epbt_optuna.lineage.generations import GenerationSummary, summarize_generations
from epbt_optuna.lineage.history import History

__all__ = ["GENERATION_COLUMNS", "format_number", "format_param", "generation_rows", "study_rows"]

GENERATION_COLUMNS = (
    "gen", "trials", "pruned", "failed", "best", "mean", "median", "worst", "diversity", "reports",
    "trial",
)  # fmt: skip
"""Names of the columns of `generation_rows`; the last is the fittest alive."""

_WORDS = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


def study_rows(study: Study) -> list[tuple[str, str]]:
    """Return a row for each thing there is to say of a study as a whole: its name, and a text.

    Raises:
        ValueError: The study is empty, or no sampler of ours has asked a trial in it.
    """
    history = History.of(study)
    p, k = history.generations.population_size, history.generations.n_elites
    elites = "elites that go on training" if history.generations.train_elites else "elites"
    states = Counter(_WORDS.get(trial.state.name, "waiting") for trial in history.trials)
    last = len(history.of_generation(history.n_generations - 1))
    wanted = len(history.generations.numbers(history.n_generations - 1))
    progress = "" if last == wanted else f", the last with {last} of its {wanted} trials"
    n_reports = sum(len(trial.intermediate_values) for trial in history.trials)
    return [
        ("direction", history.direction.name.lower()),
        ("population", f"{p} individuals, {k} of them {elites}"),
        ("generations", f"{history.n_generations}{progress}"),
        (
            "trials",
            f"{len(history.trials)}: " + ", ".join(f"{n} {state}" for state, n in states.items()),
        ),
        ("reports", f"{n_reports:,}"),
        *_times(history),
        *_best(history),
        *_fittest(history),
    ]


def generation_rows(study: Study) -> list[tuple[str, ...]]:
    """Return a row for each generation that has begun: `GENERATION_COLUMNS`, as texts.

    Raises:
        ValueError: As for `study_rows`.
    """
    return [_row(summary) for summary in summarize_generations(study)]


def format_number(value: float) -> str:
    """Return a number as it is shown; nothing for NaN, which says that there is none."""
    return "" if math.isnan(value) else f"{value:.4g}"


def format_param(value: Any) -> str:
    """Return a hyperparameter's value as it is shown."""
    return format_number(value) if isinstance(value, float) else str(value)


def _row(summary: GenerationSummary) -> tuple[str, ...]:
    n_trials = summary.n_complete + summary.n_pruned + summary.n_failed + summary.n_unfinished
    return (
        str(summary.generation),
        f"{n_trials - summary.n_unfinished}/{n_trials}" if summary.n_unfinished else str(n_trials),
        *(str(count or "") for count in (summary.n_pruned, summary.n_failed)),
        *map(format_number, (summary.best, summary.mean, summary.median, summary.worst)),
        format_number(summary.diversity),
        f"{summary.n_reports:,}",
        "" if summary.best_trial is None else str(summary.best_trial),
    )


def _times(history: History) -> list[tuple[str, str]]:
    begun = [trial.datetime_start for trial in history.trials if trial.datetime_start]
    ended = [trial.datetime_complete for trial in history.trials if trial.datetime_complete]
    lines = []
    if begun:
        lines.append(("first trial", f"{min(begun):%Y-%m-%d %H:%M:%S}"))
    if ended:
        lines.append(("last ended", f"{max(ended):%Y-%m-%d %H:%M:%S}"))
    return lines


def _best(history: History) -> list[tuple[str, str]]:
    best = history.best
    if best is None:
        return [("best", "none: no trial is complete and feasible")]
    params = ", ".join(f"{name}={format_param(value)}" for name, value in best.params.items())
    generation = history.generations.of(best.number)
    return [
        (
            "best",
            f"trial {best.number} of generation {generation}: {format_number(best.values[0])}",
        ),
        ("its params", params or "none"),
    ]


def _fittest(history: History) -> list[tuple[str, str]]:
    """Return who is the fittest, where fitness is not the value alone."""
    smoothing = history.generations.fitness_smoothing
    everybody = (individual for population in history.populations for individual in population)
    fittest = max(everybody, key=lambda individual: individual.rank_key, default=None)
    if not smoothing or fittest is None:
        return []
    value = history.trials[fittest.number].values[0]
    return [
        (
            "fittest",
            f"trial {fittest.number} of generation {history.generations.of(fittest.number)}: "
            f"{format_number(value)}, its ancestors counted with {smoothing:g}",
        )
    ]
