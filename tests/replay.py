"""The rules of EPBT replayed from recorded trials, naively: an oracle for every kind of run.

It shares no code with the library and knows nothing but Optuna's trials and the rules: chunk the
trials by number, sort, keep the fittest. Use `populations` for who was alive after each
generation, and `check_lineage` for whether everybody was bred from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tests.constraints import violation_of

__all__ = [
    "Rules",
    "check_lineage",
    "chunks",
    "is_elite",
    "is_fitter",
    "lineage_of",
    "populations",
    "smoothed_values",
]


@dataclass(frozen=True)
class Rules:
    """What a run was started with.

    Attributes:
        population_size: Individuals in a population, p.
        n_elites: Individuals that survive a generation, k; 0 for `PBTSampler`.
        direction: The study's direction.
        train_elites: Whether elites go on training.
        fitness_smoothing: What share the parent has in a fitness.
    """

    population_size: int
    n_elites: int
    direction: StudyDirection
    train_elites: bool = False
    fitness_smoothing: float = 0.0


def chunks(trials: Sequence[FrozenTrial], rules: Rules) -> list[list[FrozenTrial]]:
    """Return the trials by generation: p of them first, then p − k at a time, or p again."""
    ordered = sorted(trials, key=lambda trial: trial.number)
    assert [trial.number for trial in ordered] == list(range(len(ordered))), "numbers have gaps"
    generations = [ordered[: rules.population_size]]
    rest = ordered[rules.population_size :]
    while rest:
        n_offspring = rules.population_size - (0 if rules.train_elites else rules.n_elites)
        generations.append(rest[:n_offspring])
        rest = rest[n_offspring:]
    return generations


def is_fitter(
    one: FrozenTrial,
    other: FrozenTrial,
    direction: StudyDirection,
    values: Mapping[int, float] | None = None,
) -> bool:
    """Return whether `one` comes before `other`.

    Feasible before infeasible, then the smaller violation, then the better value, then the newer.
    The values are the trials' own, unless others are given by number.
    """
    violation, other_violation = violation_of(one), violation_of(other)
    if violation != other_violation:
        return violation < other_violation
    if values is None:
        values = {trial.number: float(trial.values[0]) for trial in (one, other)}
    value, other_value = values[one.number], values[other.number]
    if value != other_value:
        return (value > other_value) == (direction == StudyDirection.MAXIMIZE)
    return one.number > other.number


def smoothed_values(trials: Sequence[FrozenTrial], rules: Rules) -> dict[int, float]:
    """Return the value of every COMPLETE trial, by number, with its recorded ancestors' in it."""
    complete = {trial.number: trial for trial in trials if trial.state == TrialState.COMPLETE}
    share = rules.fitness_smoothing

    def smoothed(number: int) -> float:
        value = float(complete[number].values[0])
        parent = (lineage_of(complete[number]) or {}).get("parent")
        if not share or parent not in complete or not math.isfinite(value):
            return value
        of_parent = smoothed(parent)
        return (1 - share) * value + share * of_parent if math.isfinite(of_parent) else value

    return {number: smoothed(number) for number in complete}


def populations(trials: Sequence[FrozenTrial], rules: Rules) -> list[list[FrozenTrial]]:
    """Return M_0, M_1, …, each the fittest first, as all trials finished by now make them."""
    alive: list[FrozenTrial] = []
    result: list[list[FrozenTrial]] = []
    values = smoothed_values(trials, rules)
    for generation in chunks(trials, rules):
        evaluated = [trial for trial in generation if trial.state == TrialState.COMPLETE]
        elites = [] if rules.train_elites else alive[: rules.n_elites]
        alive = _fittest_first(evaluated + elites, rules.direction, values)
        result.append(alive)
    return result


def lineage_of(trial: FrozenTrial) -> dict[str, Any] | None:
    """Return the recorded generation, parent and mate; None where no sampler of ours bred."""
    record: dict[str, Any] | None = trial.system_attrs.get("epbt:lineage")
    return record and {name: record[name] for name in ("generation", "parent", "mate")}


def is_elite(trial: FrozenTrial) -> bool:
    """Return whether a trial is recorded to be an elite that goes on training."""
    return "elite" in trial.system_attrs.get("epbt:lineage", {})


def check_lineage(
    trials: Sequence[FrozenTrial], rules: Rules, *, stragglers: bool = False
) -> list[list[FrozenTrial]]:
    """Check the recorded lineage of a run against the rules, and return its populations.

    Trials without a record (added, another sampler's, or waiting) are passed over. A retried
    trial keeps the parents of the trial that was cut off, and is checked against those that one
    could have had.

    Args:
        trials: All trials of the study, in any order.
        rules: What the run was started with.
        stragglers: The run had generations start before the last one had finished (several
            workers and no barrier), so that an offspring was bred from those known at the time.
            Then its parents need only be COMPLETE trials of earlier generations, or nobody.

    Raises:
        AssertionError: A recorded generation is not the one that the number says, a founder has
            a parent or a mate, an offspring has no parent though there was one to choose,
            a parent or mate is not of M_(g−1) (of the newest population with anybody in it, if
            that one is empty), or the mate is the parent; or an elite that goes on training is
            not whom its slot is to continue, or has a mate, or another genome.
    """
    alive = populations(trials, rules)
    by_number = {trial.number: trial for trial in trials}
    generation_of = {
        trial.number: generation
        for generation, chunk in enumerate(chunks(trials, rules))
        for trial in chunk
    }
    if rules.train_elites:
        _check_elites(chunks(trials, rules), alive, rules, stragglers)
    for number, trial in sorted(by_number.items()):
        record = lineage_of(trial)
        if record is None or trial.state == TrialState.WAITING:
            continue
        if trial.state == TrialState.FAIL and record == _inherited_record(trial, by_number):
            continue  # a retry that was cut off itself, before it was given a record of its own
        who = f"trial {number} {record}"
        assert record["generation"] == generation_of[number], (
            f"{who}: generation is {generation_of[number]}"
        )
        bred_in = generation_of[_bred_as(trial, by_number)]
        parent, mate = record["parent"], record["mate"]
        candidates = _candidates(alive, by_number, generation_of, bred_in, stragglers)
        if not candidates:
            assert parent is None, f"{who}: a founder has a parent"
        elif parent is not None or not stragglers:
            assert parent is not None, f"{who}: an offspring has no parent"
            assert parent in candidates, f"{who}: parent is not one of {sorted(candidates)}"
        if mate is not None:
            assert parent is not None, f"{who}: a mate but no parent"
            assert mate in candidates, f"{who}: mate is not one of {sorted(candidates)}"
            assert mate != parent, f"{who}: mate is the parent"
    return alive


def _check_elites(
    generations: list[list[FrozenTrial]],
    alive: list[list[FrozenTrial]],
    rules: Rules,
    stragglers: bool,
) -> None:
    """Check who goes on training: who was retried has the record of the trial that was cut off."""
    by_number = {trial.number: trial for generation in generations for trial in generation}
    for g, generation in enumerate(generations):
        fittest_first = alive[g - 1] if g else []
        continued: list[int] = []
        for place, trial in enumerate(generation):
            record, who = lineage_of(trial), f"trial {trial.number} at place {place} of {g}"
            if record is None or trial.state == TrialState.WAITING:
                continue
            if is_elite(trial):
                parent = by_number[record["parent"]]
                assert record["mate"] is None, f"{who}: an elite has a mate"
                assert trial.params.items() <= parent.params.items(), f"{who}: another genome"
            if "retry_history" in trial.system_attrs:
                continue
            is_slot = place < rules.n_elites and "fixed_params" not in trial.system_attrs
            left = [t.number for t in fittest_first if t.number not in continued]
            wanted = left[0] if is_slot and left else None
            if not stragglers:
                own = record["parent"] if is_elite(trial) else None
                assert own == wanted, f"{who}: continues {own} and not {wanted}"
            elif is_elite(trial):
                assert is_slot, f"{who}: an elite in no slot"
                assert record["parent"] in {t.number for t in fittest_first}, f"{who}: of no elite"
            if is_elite(trial):
                continued.append(record["parent"])


def _candidates(
    alive: list[list[FrozenTrial]],
    by_number: dict[int, FrozenTrial],
    generation_of: dict[int, int],
    bred_in: int,
    stragglers: bool,
) -> set[int]:
    if stragglers:
        return {
            number
            for number, trial in by_number.items()
            if generation_of[number] < bred_in and trial.state == TrialState.COMPLETE
        }
    for population in reversed(alive[:bred_in]):
        if population:
            return {trial.number for trial in population}
    return set()


def _inherited_record(
    trial: FrozenTrial, by_number: dict[int, FrozenTrial]
) -> dict[str, Any] | None:
    history = trial.system_attrs.get("retry_history")
    return lineage_of(by_number[history[-1]]) if history else None


def _bred_as(trial: FrozenTrial, by_number: dict[int, FrozenTrial]) -> int:
    """Return the number under which the trial's parents were chosen.

    Optuna notes in a retry whom it retries; a trial that was cut off before its parents were
    recorded has none to pass on.
    """
    tries: set[int] = {*trial.system_attrs.get("retry_history", ()), trial.number}
    tries.add(trial.system_attrs.get("failed_trial", trial.number))
    return min(number for number in tries if lineage_of(by_number[number]) is not None)


def _fittest_first(
    trials: list[FrozenTrial], direction: StudyDirection, values: Mapping[int, float]
) -> list[FrozenTrial]:
    def compare(one: FrozenTrial, other: FrozenTrial) -> int:
        return -1 if is_fitter(one, other, direction, values) else 1

    return sorted(trials, key=cmp_to_key(compare))
