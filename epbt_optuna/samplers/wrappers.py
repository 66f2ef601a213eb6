"""Samplers around ours, such as Optuna's `PartialFixedSampler`: the one that breeds is found."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from optuna import Study
from optuna.samplers import BaseSampler

from epbt_optuna.population import Generations
from epbt_optuna.samplers.generation import GenerationSampler

__all__ = ["check_study", "generation_sampler", "generations_of", "required_sampler"]


@runtime_checkable
class _ChecksStudy(Protocol):
    def check_study(self, study: Study) -> None: ...


def generation_sampler(sampler: BaseSampler) -> GenerationSampler | None:
    """Return the sampler that breeds: this one, or one that it holds, at any depth."""
    return next((s for s in _layers(sampler) if isinstance(s, GenerationSampler)), None)


def required_sampler(study: Study) -> GenerationSampler:
    """Return the sampler that breeds in a study.

    Raises:
        TypeError: None does.
    """
    sampler = generation_sampler(study.sampler)
    if sampler is None:
        raise TypeError(
            "`study.sampler` must be an EPBTSampler or a PBTSampler but got "
            f"{type(study.sampler).__name__}."
        )
    return sampler


def generations_of(study: Study) -> Generations | None:
    """Return the arithmetic of a study's trial numbers; None if its trials have no generations.

    A sampler that hides ours so well that it cannot be found shows at its first ask: ours has
    recorded the arithmetic then.
    """
    sampler = generation_sampler(study.sampler)
    return Generations.recorded(study) if sampler is None else sampler.generations


def check_study(study: Study) -> None:
    """Raise what the study's sampler would raise at the next ask, before there is a trial.

    Raises:
        ValueError: The study is not one that its sampler can go on with.
    """
    for sampler in _layers(study.sampler):
        if isinstance(sampler, _ChecksStudy):
            sampler.check_study(study)


def _layers(sampler: BaseSampler) -> Iterator[BaseSampler]:
    """Yield the sampler, then those that it holds in its attributes."""
    queue, seen = deque([sampler]), set()
    while queue:
        outer = queue.popleft()
        if id(outer) not in seen:
            seen.add(id(outer))
            yield outer
            queue += [inner for inner in vars(outer).values() if isinstance(inner, BaseSampler)]
