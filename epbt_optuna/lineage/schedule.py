"""A schedule: the hyperparameters along one ancestry, step by step, and its file format."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from epbt_optuna._internal.checks import check_integer, check_probability
from epbt_optuna.lineage.history import History
from epbt_optuna.lineage.params_json import (
    check_params,
    decode_distributions,
    decode_params,
    encode_distributions,
    encode_params,
    parse,
    take,
)

__all__ = ["Schedule", "ScheduleStep"]


@dataclass(frozen=True)
class ScheduleStep:
    """What one trial of an ancestry trained with, and for how long.

    Attributes:
        generation: The trial's generation.
        trial: Its number.
        n_reports: Values that it reported: its epochs, where the objective reports one an epoch.
            Of a retry those too that its network has from before it was cut off.
        params: Its hyperparameters.
        mate_weight: The mate's share in the weights that it started from. Where it is not 0, these
            weights had a second history, which is not in the schedule.
        reported: The first and the last step at which it reported, or None: it did not, or an
            earlier version wrote the schedule.
    """

    generation: int
    trial: int
    n_reports: int
    params: Mapping[str, Any]
    mate_weight: float = 0.0
    reported: tuple[int, int] | None = None


@dataclass(frozen=True)
class Schedule:
    """The hyperparameters along one ancestry: what PBT leaves behind in place of a configuration.

    A step is one trial. `n_epochs`, `by_epoch` and `params_at` count what trials reported: these
    are epochs where the objective reports once an epoch. Where it reports otherwise, go by `steps`.

    Attributes:
        study_name: The study that it comes from.
        distributions: The distribution of every parameter that occurs in a step; where the range
            has changed between trials, the last one's.
        steps: The steps, the founder first; at least one. `len(schedule)` is their number.

    Raises:
        TypeError: A step's generation, trial or n_reports is not an integer, or its mate_weight
            is not a number.
        ValueError: There is no step, a number is negative, or a value is not one that its
            distribution could hold (it may lie outside of a range that has changed since).

    Example:
        ```python
        Schedule.from_study(study).save("schedule.json")
        schedule = Schedule.load("schedule.json")
        for epoch, params in enumerate(schedule.by_epoch()):
            train_epoch(model, lr=params["lr"])
        ```
    """

    study_name: str
    distributions: Mapping[str, BaseDistribution]
    steps: tuple[ScheduleStep, ...]

    version: ClassVar[int] = 1
    """Version of the file format."""

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("`steps` must have at least one step but is empty.")
        for index, step in enumerate(self.steps):
            for name in ("generation", "trial", "n_reports"):
                check_integer(f"steps[{index}].{name}", getattr(step, name), at_least=0)
            check_probability(f"steps[{index}].mate_weight", step.mate_weight)
            _check_reported(f"steps[{index}].reported", step)
            check_params(f"`steps[{index}]`", step.params, self.distributions)

    @classmethod
    def from_study(cls, study: Study, trial: FrozenTrial | int | None = None) -> Schedule:
        """Return the schedule under which a trial's weights were trained.

        Args:
            study: A study that a sampler of ours has bred in.
            trial: One of its trials, or a number. Default: the best trial.

        Raises:
            TypeError: `trial` is neither a trial nor a number.
            ValueError: As for `ancestry`.
        """
        history = History.of(study)
        trials = history.ancestry(history.trial(trial))
        return cls(
            study_name=history.study_name,
            distributions={name: d for t in trials for name, d in t.distributions.items()},
            steps=tuple(
                ScheduleStep(
                    generation=history.generations.of(t.number),
                    trial=t.number,
                    n_reports=len(reports),
                    params=dict(t.params),
                    mate_weight=history.mate_weight(t),
                    reported=(reports[0].step, reports[-1].step) if reports else None,
                )
                for t in trials
                for reports in (history.reports(t),)
            ),
        )

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def is_averaged(self) -> bool:
        """Whether a step started from weights that were averaged with a mate's."""
        return any(step.mate_weight for step in self.steps)

    @property
    def n_epochs(self) -> int:
        """How many epochs the steps have together."""
        return sum(step.n_reports for step in self.steps)

    def by_epoch(self) -> Iterator[Mapping[str, Any]]:
        """Return the hyperparameters of each epoch, in order; they are not to be changed.

        Raises:
            ValueError: There are no epochs, because no trial reported anything.
        """
        self.require_epochs()  # at once, not when the first one is asked for
        params = (MappingProxyType(dict(step.params)) for step in self.steps)
        return chain.from_iterable(
            repeat(one, step.n_reports) for one, step in zip(params, self.steps, strict=True)
        )

    def params_at(self, epoch: int) -> dict[str, Any]:
        """Return the hyperparameters of one epoch, counted from 0.

        Raises:
            TypeError: `epoch` is not an integer.
            ValueError: The schedule has no such epoch.
        """
        self.require_epochs()
        check_integer("epoch", epoch, at_least=0, at_most=self.n_epochs - 1)
        for step in self.steps:
            if epoch < step.n_reports:
                break
            epoch -= step.n_reports
        return dict(step.params)

    def require_epochs(self) -> None:
        """Raise a ValueError if no step reported anything, so that there are no epochs."""
        if self.n_epochs == 0:
            raise ValueError(
                f"The schedule of study {self.study_name!r} has no epochs: none of its "
                f"{len(self)} trials reported anything. Call `trial.report` once an epoch, or "
                "go by `schedule.steps`."
            )

    def to_json(self) -> str:
        """Return the schedule as JSON; `from_json` gives back an equal one.

        Raises:
            TypeError: A category is neither None, a boolean, number or string, nor a list or dict.
        """
        steps = [
            {
                "generation": step.generation,
                "trial": step.trial,
                "n_reports": step.n_reports,
                "params": encode_params(step.params, self.distributions),
                # Left out where there is none: see `digest`.
                **({"mate_weight": step.mate_weight} if step.mate_weight else {}),
                **({"reported": list(step.reported)} if step.reported else {}),
            }
            for step in self.steps
        ]
        document = {
            "version": self.version,
            "study_name": self.study_name,
            "distributions": encode_distributions(self.distributions),
            "steps": steps,
        }
        return json.dumps(document, indent=2, allow_nan=False) + "\n"

    @property
    def digest(self) -> str:
        """What a study that replays the schedule knows it by, also one of an earlier version.

        The steps reported are not in it: earlier versions did not have them.
        """
        steps = tuple(replace(step, reported=None) for step in self.steps)
        return hashlib.sha256(replace(self, steps=steps).to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """Read a schedule back.

        Raises:
            ValueError: The text is no JSON, or of another version, or something is missing or of
                the wrong type; the message says what and where.
        """
        document = parse(text)
        version = take(document, "", "version", int)
        if version != cls.version:
            raise ValueError(
                f"`version` must be {cls.version} but got {version}: another release of "
                "epbt_optuna wrote this schedule."
            )
        distributions = decode_distributions(
            take(document, "", "distributions", dict), "distributions"
        )
        steps = take(document, "", "steps", list)
        return cls(
            study_name=take(document, "", "study_name", str),
            distributions=distributions,
            steps=tuple(
                _decode_step(step, f"steps[{index}]", distributions)
                for index, step in enumerate(steps)
            ),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schedule to a file.

        Raises:
            TypeError: As for `to_json`.
            OSError: The file cannot be written.
        """
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Schedule:
        """Read a schedule from a file.

        Raises:
            OSError: There is no such file.
            ValueError: As for `from_json`; the message names the file.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)} is no schedule: {error}") from error


def _decode_step(
    step: Any, where: str, distributions: Mapping[str, BaseDistribution]
) -> ScheduleStep:
    generation, trial, n_reports = (
        take(step, where, name, int) for name in ("generation", "trial", "n_reports")
    )
    params = take(step, where, "params", dict)
    share = take(step, where, "mate_weight", float) if "mate_weight" in step else 0.0
    reported = take(step, where, "reported", list) if "reported" in step else None
    return ScheduleStep(
        generation=generation,
        trial=trial,
        n_reports=n_reports,
        params=decode_params(params, f"{where}.params", distributions),
        mate_weight=share,
        reported=None if reported is None else tuple(reported),
    )


def _check_reported(where: str, step: ScheduleStep) -> None:
    reported: tuple[int, ...] | None = step.reported  # a file may say anything
    if reported is None:
        return
    if len(reported) != 2 or step.n_reports == 0:
        raise ValueError(
            f"`{where}` must be the first and the last step of {step.n_reports} reports but got "
            f"{reported}."
        )
    first, last = reported
    check_integer(f"{where}[0]", first, at_least=0)
    check_integer(f"{where}[1]", last, at_least=first)
