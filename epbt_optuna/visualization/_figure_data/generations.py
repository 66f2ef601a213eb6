"""What `plot_generations` shows: how each generation did."""

from __future__ import annotations

from typing import NamedTuple

from optuna import Study

from epbt_optuna.lineage import GenerationSummary, summarize_generations
from epbt_optuna.visualization._style import is_drawable, short

__all__ = ["FITNESS_LINES", "TRIAL_COUNTS", "GenerationsInfo", "generations_info"]

FITNESS_LINES = ("best", "median", "mean", "worst")
TRIAL_COUNTS = ("complete", "pruned", "failed", "unfinished")


class GenerationsInfo(NamedTuple):
    """Everything that `plot_generations` draws; a list has an item for each generation.

    Attributes:
        study_name: The study's name.
        fitness: Best, median, mean and worst value of the population; None where it cannot be
            drawn, as infinity, which leaves a gap.
        diversity: Diversity of the population's genomes; None where nobody is alive.
        counts: How many of the generation's trials ended in which state; the unfinished too.
    """

    study_name: str
    fitness: dict[str, list[float | None]]
    diversity: list[float | None]
    counts: dict[str, list[int]]

    @property
    def n_generations(self) -> int:
        """Generations that have begun."""
        return len(self.diversity)

    @property
    def has_population(self) -> bool:
        """Whether anybody has been evaluated; else there is neither fitness nor diversity."""
        return any(value is not None for value in self.diversity)

    @property
    def title(self) -> str:
        """The picture's title."""
        return f"Generations of {short(self.study_name)}"


def generations_info(study: Study) -> GenerationsInfo:
    """Read how the generations of a study did.

    Raises:
        ValueError: The study is empty, or no sampler of ours has asked a trial in it.
    """
    summaries = summarize_generations(study)
    return GenerationsInfo(
        study_name=study.study_name,
        fitness={name: _finite(summaries, name) for name in FITNESS_LINES},
        diversity=_finite(summaries, "diversity"),
        counts={name: [getattr(s, f"n_{name}") for s in summaries] for name in TRIAL_COUNTS},
    )


def _finite(summaries: list[GenerationSummary], name: str) -> list[float | None]:
    values = [float(getattr(summary, name)) for summary in summaries]
    return [value if is_drawable(value) else None for value in values]
