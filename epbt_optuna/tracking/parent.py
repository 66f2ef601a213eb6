"""The parent run: the study's settings, generations, winner and pictures, and a note to read first.

A param cannot be changed in MLflow, nor a metric's value be taken back. So a setting is what it was
when the study's run was first delivered to; a hyperparameter that the fittest no longer has is NaN,
since its last value would stand beside those of another individual; and a schedule is named after
its winner, since the next winner has other ancestors.
"""

from __future__ import annotations

import math
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import AttrError, pass_over
from epbt_optuna.lineage import GenerationSummary, Schedule, summarize_generations
from epbt_optuna.lineage.overview import format_number, format_param
from epbt_optuna.population import Generations
from epbt_optuna.samplers.wrappers import generation_sampler
from epbt_optuna.tracking.dashboard import HEADING, plain, study_list
from epbt_optuna.tracking.destination import Destination
from epbt_optuna.tracking.experiment import Experiment, page_of
from epbt_optuna.tracking.pictures import write_artifacts
from epbt_optuna.tracking.runs import MetricValue, milliseconds, text_of, texts, valid_key

__all__ = ["NOTE", "ParentRun", "child_note"]

NOTE = "mlflow.note.content"  # shown as the description on a run's page, as Markdown
_PAUSE = 20.0  # times what a summary or a set of pictures took, before the next: 5 %
_SETTING_LENGTH = 500  # MLflow's limit was that once, and nobody reads more in a table


class ParentRun:
    """Brings to the parent run what a study as a whole has to show."""

    def __init__(
        self,
        study: Study,
        destination: Destination,
        experiment: Experiment,
        generations: Generations | None,
        run_of: Callable[[FrozenTrial], str | None],
    ) -> None:
        self._study = study
        self._pictures_every = destination.pictures_every
        self._experiment = experiment
        self._generations = generations
        self._run_of = run_of  # returns the id of a trial's run, if it is there
        self._client, self._id = experiment.client, experiment.parent
        self._due_at = 0.0  # the next generations
        self._n_undrawn = 0  # generations since the last pictures

    def begin(self) -> None:
        """Mark the study as running, and bring the settings that are not there."""
        self._client.update_run(self._id, status="RUNNING")
        there = self._client.get_run(self._id).data.params
        settings = _settings(self._study, self._generations)
        missing = {name: text for name, text in settings.items() if name not in there}
        self._experiment.log(self._id, params=missing)

    def end_generation(self, number: int) -> None:
        """Bring the generations that have ended, if this trial is the last of one.

        Not after each one where they are short: to summarise a study, and to draw it, takes longer,
        the longer it is. What is left out comes with a later one, or at the end.
        """
        generations, start = self._generations, time.monotonic()
        if generations is None or start < self._due_at:
            return
        if number + 1 == generations.n_trials(generations.of(number) + 1):
            self.bring_generations()
            if 0 < self._pictures_every <= self._n_undrawn:
                self.draw()
            self._due_at = time.monotonic() + _PAUSE * (time.monotonic() - start)

    def bring_generations(self) -> None:
        """Bring the generations that have ended and are not there, and who is the winner now."""
        trials = self._study.get_trials(deepcopy=False)
        if self._generations is None or not trials:
            return
        data = self._client.get_run(self._id).data
        there = {metric.step for metric in self._experiment.history(self._id, ["best"])}
        names = {name for name in data.metrics if name.startswith("best.")}
        former = {name for name in data.tags if name.startswith("epbt.best")}
        for summary in summarize_generations(self._study):
            generation = summary.generation
            numbers = self._generations.numbers(generation)
            n_ended = summary.n_complete + summary.n_pruned + summary.n_failed
            if generation in there or n_ended != len(numbers):
                continue
            best = None if summary.best_trial is None else trials[summary.best_trial]
            values, tags = _generation(summary, best, keeps_case=self._experiment.keeps_case)
            values = dict.fromkeys(names, math.nan) | values
            names.update(name for name in values if name.startswith("best."))
            if generation < max(there, default=0):  # it ended late: the tags are of a later one
                tags = {}
            else:
                for name in former - tags.keys():
                    self._client.delete_tag(self._id, name)
                former = set(tags)
            end = _end(trials[n] for n in numbers)
            metrics = [MetricValue(name, value, end, generation) for name, value in values.items()]
            self._experiment.log(self._id, metrics, tags=tags)
            there.add(generation)
            self._n_undrawn += 1
        self._bring_winner(data.tags.get(NOTE, ""))

    def draw(self) -> None:
        """Bring the pictures and the schedule, as they are now."""
        if self._generations is not None:
            self._n_undrawn = 0
            with tempfile.TemporaryDirectory() as folder:
                with_pictures = self._pictures_every > 0
                write_artifacts(self._study, Path(folder), with_pictures=with_pictures)
                self._client.log_artifacts(self._id, folder)

    def end(self) -> None:
        """Bring the winner's schedule; mark the study as finished, unless trials are running."""
        trials = self._study.get_trials(deepcopy=False)
        if (schedule := self._schedule()) is not None:
            values = _schedule_values(schedule, trials, keeps_case=self._experiment.keeps_case)
            names = {value.key for value in values}
            names &= self._client.get_run(self._id).data.metrics.keys()
            there = {(m.key, m.step) for m in self._experiment.history(self._id, names)}
            self._experiment.log(self._id, (v for v in values if (v.key, v.step) not in there))
        if all(trial.state != TrialState.RUNNING for trial in trials):
            self._client.set_terminated(self._id, "FINISHED", _end(trials) or None)

    def _bring_winner(self, note: str) -> None:
        """Bring whose weights are the best so far, and the note with what people wrote above."""
        if (schedule := self._schedule()) is None:
            return
        number = schedule.steps[-1].trial
        run_id = self._run_of(self._study.get_trials(deepcopy=False)[number])
        tags = {"epbt.winner_trial": str(number)}
        winner = f"Trial {number}"
        if run_id is not None:
            tags["epbt.winner_run_id"] = run_id
            winner = _link(winner, self._experiment.id, run_id)
        lines = [  # MLflow folds all but the first four
            f"{winner} is the best so far. Its schedule is under *Model metrics* once the run has "
            "ended, and under *Artifacts*, beside the lineage.\n",
            *study_list(self._study),
        ]
        own = note.partition(HEADING)[0]
        tags[NOTE] = text_of("\n".join([own + HEADING, *lines]))
        self._experiment.log(self._id, tags=tags)

    def _schedule(self) -> Schedule | None:
        """Return the winner's schedule, if there is any."""
        try:
            return None if self._generations is None else Schedule.from_study(self._study)
        except AttrError as error:
            pass_over(str(error))
        except ValueError:  # there is no winner
            pass
        return None


def child_note(trial: FrozenTrial, parent: FrozenTrial | None, experiment: str, run_id: str) -> str:
    """Return what a trial's run says first: from whom it has its weights, and what it changed.

    `run_id` is the parent's run; empty where that is not there, or there is no parent.
    """
    if parent is None:
        return "A founder: nobody's weights, and hyperparameters that were drawn."
    whose = f"trial {parent.number}"
    whose = _link(whose, experiment, run_id) if run_id else whose
    value = f" ({format_number(parent.values[0])})" if parent.values else ""
    changes = [
        f"{plain(name)} {plain(format_param(parent.params[name]))} → {plain(format_param(own))}"
        for name, own in trial.params.items()
        if name in parent.params and parent.params[name] != own
    ]
    return text_of(
        f"Goes on with the weights of {whose}{value}: {', '.join(changes) or 'as it was'}."
    )


def _link(text: str, experiment: str, run_id: str) -> str:
    return f"[{text}](#{page_of(experiment, run_id)})"


def _settings(study: Study, generations: Generations | None) -> dict[str, str]:
    """Return the sampler's settings; where the study was loaded without it, what is recorded."""
    sampler = generation_sampler(study.sampler)
    settings: dict[str, Any] = {} if generations is None else dict(vars(generations))
    if sampler is not None:
        settings = {"": type(sampler).__name__, **sampler.settings}

    def shown(value: Any) -> str:  # the addresses of functions say nothing
        return text_of(re.sub(r" at 0x[0-9a-fA-F]+", "", f"{value}"), _SETTING_LENGTH)

    settings = {name: value for name, value in settings.items() if value is not None}
    by_name = texts("setting", settings, shown)
    return {f"sampler.{name}".rstrip("."): text for name, text in by_name.items()}


def _generation(
    summary: GenerationSummary, best: FrozenTrial | None, *, keeps_case: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """Return what a generation adds: metrics and tags.

    The hyperparameters of `best`, the fittest individual alive after it, are `best.<name>`;
    categories, which are no numbers, are tags.
    """
    names = ("best", "mean", "median", "worst", "diversity")
    values: dict[str, float] = {name: getattr(summary, name) for name in names}
    values |= {"pruned": summary.n_pruned, "failed": summary.n_failed}
    values["epochs_trained"] = summary.n_reports
    tags: dict[str, str] = {}
    if best is not None:
        tags["epbt.best_trial"] = str(best.number)
        for name, value in best.params.items():
            is_category = isinstance(best.distributions[name], CategoricalDistribution)
            key = valid_key(f"{'epbt.' * is_category}best.{name}", keeps_case=keeps_case)
            if is_category:
                tags[key] = text_of(value)
            else:
                values[key] = float(value)
    return values, tags


def _schedule_values(
    schedule: Schedule, trials: Sequence[FrozenTrial], *, keeps_case: bool
) -> list[MetricValue]:
    """Return the numbers of a schedule, at the generations in which its trials trained."""
    prefix = f"schedule of trial {schedule.steps[-1].trial}"
    return [
        MetricValue(
            valid_key(f"{prefix}/{name}", keeps_case=keeps_case),
            float(value),
            milliseconds(trials[step.trial].datetime_complete),
            step.generation,
        )
        for step in schedule.steps
        for name, value in step.params.items()
        if not isinstance(schedule.distributions[name], CategoricalDistribution)
    ]


def _end(trials: Iterable[FrozenTrial]) -> int:
    """Return when the last of the trials ended."""
    return max((milliseconds(trial.datetime_complete) for trial in trials), default=0)
