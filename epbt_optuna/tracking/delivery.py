"""From a study to MLflow's runs: each exactly once, however many processes deliver at a time.

What must be there are the study's finished trials; nothing else is kept of what is to be done, so a
kill, an outage or a dropped number costs nothing that cannot be found out again.

A trial belongs to the process that ran it, which creates its run without asking. When that is a
while ago, or was tried before, anybody may deliver it, and looks first. Between looking and
creating another process may create the same run. Therefore who delivered what may be another's
looks again afterwards: of two who did both, the later one sees both runs. Of several runs of one
trial the one with the lowest id stays: all who look agree on it, so they never delete both. A run
is terminated last, so one that is not was cut short, and gets what it lacks.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from optuna import Study
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.optuna import read_trial, storage_of
from epbt_optuna.lineage import GenerationSummary, summarize_generations
from epbt_optuna.population import Generations
from epbt_optuna.tracking.destination import Destination
from epbt_optuna.tracking.experiment import Experiment
from epbt_optuna.tracking.models import MODEL_TAG, PARENT_MODEL_TAG, Models
from epbt_optuna.tracking.pictures import write_artifacts
from epbt_optuna.tracking.runs import TrialRun, generation_run, milliseconds
from epbt_optuna.tracking.seldom import Seldom

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["Delivery"]

_OWNERS_SECONDS = 60.0  # for so long a trial is left to the process that ran it
_MOST_RUN_IDS = 10_000  # remembered; a parent is of the generations just before
_UNFINISHED = "RUNNING"  # MLflow's word for a run that is not terminated
_LINKS = ("mlflow.parentRunId", "epbt.parent_run_id", PARENT_MODEL_TAG, MODEL_TAG)


class _Child(NamedTuple):
    """What there is to know of a trial's run; the run itself may be a hundred times as large."""

    run_id: str
    is_whole: bool
    links: dict[str, str]


class Delivery:
    """Brings one study to one experiment.

    Args:
        study: The study.
        destination: Where to.

    Raises:
        TrackingError: The experiment was deleted.
        MlflowException: The server cannot be reached, or refuses.
    """

    def __init__(self, study: Study, destination: Destination) -> None:
        self._study = study
        self._pictures_every = destination.pictures_every
        self._log_checkpoints = destination.log_checkpoints
        self._generations = Generations.recorded(study)
        self._is_private = isinstance(storage_of(study), InMemoryStorage)
        self.experiment = Experiment(study, destination)
        self._models = Models(self.experiment)
        self._run_ids: dict[int, str] = {}
        self._listed: dict[int, _Child] | None = None  # between `missing` and `link`
        self._summaries = Seldom()
        self._drawing = Seldom()
        self._n_undrawn = 0  # generations since the last pictures

    def begin(self) -> None:
        """Mark the study as running."""
        self.experiment.client.update_run(self.experiment.parent, status=_UNFINISHED)

    def answers(self) -> bool:
        """Tell whether the server does what it surely can."""
        try:
            self.experiment.client.get_run(self.experiment.parent)
        except Exception:
            return False
        return True

    # Trials

    def deliver(self, number: int, *, is_first_try: bool) -> None:
        """Bring one finished trial.

        Args:
            number: Of a trial that this process ran, or that `missing` has just returned.
            is_first_try: Whether this process has surely not tried it since.
        """
        trial = read_trial(self._study, number)
        if trial is None or not trial.state.is_finished():  # it was told of by hand
            return
        is_there = _is_old(trial) if self._listed is None else number in self._listed
        run = self._find(number) if is_there or not is_first_try else None
        content = TrialRun(trial, self._generations)
        values = content.values
        if run is None:
            run_id = self.experiment.create_child(content, self._run_id(content.parent))
        else:
            run_id = str(run.info.run_id)
            if run.info.status != _UNFINISHED:
                return
            logged = self.experiment.history(run_id, run.data.metrics)
            there = {(metric.key, metric.step) for metric in logged}
            values = [value for value in values if (value.key, value.step) not in there]
        self.experiment.log(run_id, values, params=content.params)
        self._remember(number, run_id)
        if self._log_checkpoints:
            self._models.bring(trial, run_id)
            self._run_id(content.parent)  # so that its model is known
            known = None if run is None else run.data.tags.get(PARENT_MODEL_TAG)
            self._models.link(run_id, content.parent, known)
        self.experiment.client.set_terminated(run_id, content.status, content.end)

    def missing(self, ours: Collection[int], *, everything: bool) -> list[int]:
        """Return the trials to be delivered, after deleting what is there twice.

        Args:
            ours: Trials that this process ran, and has not delivered.
            everything: Whether what other processes have just finished is to be delivered too.
        """
        children = self._listed = self._children()
        return [
            trial.number
            for trial in self._trials()
            if trial.state.is_finished()
            and not (trial.number in children and children[trial.number].is_whole)
            # Optuna calls nobody back for a trial whose error ends the run: nobody else brings it.
            and (
                everything
                or self._is_private
                or trial.number in ours
                or trial.state == TrialState.FAIL
                or _is_old(trial)
            )
        ]

    def link(self) -> None:
        """Correct what runs say of others, which may have come or gone since they were created.

        By what `missing` has seen: when it returns nothing, all are there.
        """
        children, self._listed = self._listed or {}, None
        for trial in self._trials():
            if (child := children.get(trial.number)) is None:
                continue
            wanted = {"mlflow.parentRunId": self.experiment.parent}
            parent = TrialRun(trial, self._generations).parent
            if parent in children:
                wanted["epbt.parent_run_id"] = children[parent].run_id
            for key, value in wanted.items():
                if child.links.get(key) != value:
                    self.experiment.client.set_tag(child.run_id, key, value)
            if self._log_checkpoints:
                self._models.link(child.run_id, parent, child.links.get(PARENT_MODEL_TAG))

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _children(self) -> dict[int, _Child]:
        """Return the run of each trial, after deleting those that are there twice."""
        found: dict[int, list[_Child]] = defaultdict(list)
        for run in self.experiment.children():
            tags = run.data.tags
            links = {key: tags[key] for key in _LINKS if key in tags}
            child = _Child(str(run.info.run_id), run.info.status != _UNFINISHED, links)
            found[int(tags["epbt.trial"])].append(child)
        children: dict[int, _Child] = {}
        for number, runs in sorted(found.items()):
            first, *others = sorted(runs)
            for other in others:
                self.experiment.withdraw(other.run_id)
            children[number] = first
            self._remember(number, first.run_id)
            self._models.remember(number, first.links)
        return children

    def _find(self, number: int) -> Run | None:
        """Look for a trial's run."""
        runs = self.experiment.children(number)
        run = min(runs, key=lambda run: str(run.info.run_id), default=None)
        if run is not None:
            self._remember(number, str(run.info.run_id))
            self._models.remember(number, run.data.tags)
        return run

    def _run_id(self, number: int | None) -> str | None:
        """Return the id of a trial's run, if it is there."""
        if number is not None and number not in self._run_ids:
            self._find(number)
        return None if number is None else self._run_ids.get(number)

    def _remember(self, number: int, run_id: str) -> None:
        self._run_ids[number] = run_id
        if len(self._run_ids) > _MOST_RUN_IDS:
            del self._run_ids[next(iter(self._run_ids))]  # the oldest; it can be looked for

    # Generations, pictures, the end

    def end_generation(self, number: int) -> None:
        """Bring the generations that have ended, if this trial is the last of one.

        Not after each one where they are short: to summarise the study takes longer, the longer it
        is. What is left out comes with a later one, or at the end.
        """
        generations = self._generations
        if generations is None or number + 1 != generations.n_trials(generations.of(number) + 1):
            return
        if self._summaries.is_due:
            with self._summaries.spending():
                self._bring_generations()
        every = self._pictures_every
        if every and self._n_undrawn >= every and self._drawing.is_due:
            self.draw()

    def bring_generations(self) -> None:
        """Bring the generations that have ended and are not there."""
        if self._generations is not None:
            self._bring_generations()

    def draw(self) -> None:
        """Bring the pictures and the schedule, as they are now."""
        if self._generations is None:
            return
        with self._drawing.spending(), tempfile.TemporaryDirectory() as folder:
            self._n_undrawn = 0
            with_pictures = self._pictures_every > 0
            write_artifacts(self._study, Path(folder), with_pictures=with_pictures)
            self.experiment.client.log_artifacts(self.experiment.parent, folder)

    def end(self) -> None:
        """Mark the study as finished, unless trials of it are running."""
        trials = self._trials()
        if all(trial.state != TrialState.RUNNING for trial in trials):
            end = max((milliseconds(t.datetime_complete) for t in trials), default=None)
            self.experiment.client.set_terminated(self.experiment.parent, "FINISHED", end or None)

    def _bring_generations(self) -> None:
        parent = self.experiment.parent
        there = {metric.step for metric in self.experiment.history(parent, ["best"])}
        trials = self._trials()
        for summary in summarize_generations(self._study) if trials else ():
            if summary.generation in there or not self._has_ended(summary):
                continue
            numbers = self._numbers(summary)
            end = max(milliseconds(trials[number].datetime_complete) for number in numbers)
            best = None if summary.best_trial is None else trials[summary.best_trial]
            values, tags = generation_run(summary, best, end)
            self.experiment.log(parent, values, tags=tags)
            self._n_undrawn += 1

    def _has_ended(self, summary: GenerationSummary) -> bool:
        n_ended = summary.n_complete + summary.n_pruned + summary.n_failed
        return n_ended == len(self._numbers(summary))

    def _numbers(self, summary: GenerationSummary) -> range:
        assert self._generations is not None  # or there would be no summary
        return self._generations.numbers(summary.generation)


def _is_old(trial: FrozenTrial) -> bool:
    """Tell whether a trial ended so long ago that it no longer belongs to its own process."""
    ended = trial.datetime_complete
    return ended is None or datetime.now() - ended > timedelta(seconds=_OWNERS_SECONDS)
