"""The ask/tell face of the samplers: a whole generation at once."""

from __future__ import annotations

from collections.abc import Mapping

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import Trial, TrialState

from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.samplers.generation import GenerationSampler

__all__ = ["ask_generation"]


def ask_generation(
    study: Study, fixed_distributions: Mapping[str, BaseDistribution] | None = None
) -> list[Trial]:
    """Ask all trials of the study's next generation at once, or those still missing of it.

    The ask/tell face of the samplers: train the whole generation as one batch, then tell every
    trial. Enqueued trials come first, as with `study.ask`. One process drives the study: other
    workers asking at the same time would take numbers of the generation.

    Args:
        study: A study whose sampler is an `EPBTSampler` or a `PBTSampler`.
        fixed_distributions: The variables to suggest, as for `optuna.Study.ask`.

    Returns:
        The trials, by number. Generation 0 has p, every later one p − k.

    Raises:
        TypeError: The study's sampler is another one.
    """
    sampler = study.sampler
    if not isinstance(sampler, GenerationSampler):
        raise TypeError(
            "`study.sampler` must be an EPBTSampler or a PBTSampler but got "
            f"{type(sampler).__name__}."
        )
    distributions = dict(fixed_distributions or {})
    trials = [study.ask(distributions)]
    first = trials[0].number
    for number in range(first + 1, sampler.trial_numbers(sampler.generation_of(first)).stop):
        trial = read_trial(study, number)
        if trial is None or trial.state == TrialState.WAITING:
            trials.append(study.ask(distributions))
    return trials
