"""From a study to MLflow's runs: each exactly once, however many processes deliver at a time.

Nothing is written to the study. It is the queue: what must be there are its finished trials.
A trial belongs to the process that ran it, whose courier creates its run without asking. When that
is a while ago, or was tried before, anybody may deliver it, and looks first; who did so looks again
afterwards. Of several runs of one trial the one with the lowest id stays: all who look agree on it.
A run is terminated last, so one that is not was cut short, and gets what it lacks.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna.lineage import GenerationSummary, summarize_generations
from epbt_optuna.population import Generations
from epbt_optuna.tracking._experiment import Experiment
from epbt_optuna.tracking._models import PARENT_MODEL_TAG, Models
from epbt_optuna.tracking._pictures import write_artifacts
from epbt_optuna.tracking._runs import TrialRun, generation_run, milliseconds
from epbt_optuna.tracking._source import Source
from epbt_optuna.tracking._spool import Address

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["Delivery"]

_OWNERS_SECONDS = 60.0  # for so long a trial is left to the process that ran it
_UNFINISHED = "RUNNING"  # MLflow's word for a run that is not terminated


class Delivery:
    """Brings one study to one experiment.

    Args:
        address: Where to.
        source: The study.

    Raises:
        TrackingError: The experiment was deleted.
        MlflowException: The server cannot be reached, or refuses.
    """

    def __init__(self, address: Address, source: Source) -> None:
        self._address = address
        self._source = source
        self._experiment = Experiment(address)
        self._models = Models(self._experiment)
        self._run_ids: dict[int, str] = {}

    # What the program asks for

    def catch_up(self) -> None:
        """Mark the study as running, and bring what earlier runs of it left."""
        self._experiment.client.update_run(self._experiment.parent, status=_UNFINISHED)
        if self._source.is_shared and not self._address.everything:  # which comes at the end
            self._settle(self._source.study())

    def deliver(self, trial: FrozenTrial, *, is_first_try: bool) -> None:
        """Bring one finished trial.

        Args:
            trial: A trial of the process that this courier serves.
            is_first_try: Whether it has surely not been tried before.
        """
        is_ours = is_first_try and not _is_old(trial)
        self._bring(trial, None if is_ours else self._find(trial.number))

    def end_generation(self, number: int) -> None:
        """Bring the generations that have ended, if this trial is the last of one."""
        generations = self._generations
        if generations is None or number + 1 != generations.n_trials(generations.of(number) + 1):
            return
        study = self._source.study()
        ended = self._bring_generations(study)
        every = self._address.pictures_every
        if every and any((generation + 1) % every == 0 for generation in ended):
            self._bring_artifacts(study)

    def finish(self) -> None:
        """Bring what is missing, the last pictures, and the end of the study."""
        study = self._source.study()
        self._settle(study)
        if self._generations is not None:
            self._bring_generations(study)
            self._bring_artifacts(study)
        trials = study.get_trials(deepcopy=False)
        if all(trial.state != TrialState.RUNNING for trial in trials):
            end = max((milliseconds(trial.datetime_complete) for trial in trials), default=None)
            self._experiment.client.set_terminated(self._experiment.parent, "FINISHED", end)

    # Trials

    @property
    def _generations(self) -> Generations | None:
        return self._address.generations

    def _bring(self, trial: FrozenTrial, run: Run | None) -> None:
        """Create the run of a trial, or complete the one that is there."""
        content = TrialRun(trial, self._generations)
        points = content.points
        if run is None:
            run_id = self._experiment.create_child(content, self._run_id(content.parent))
        else:
            run_id = str(run.info.run_id)
            if run.info.status != _UNFINISHED:
                return
            logged = self._experiment.history(run_id, run.data.metrics)
            there = {(metric.key, metric.step) for metric in logged}
            points = [point for point in points if (point.key, point.step) not in there]
        self._experiment.log(run_id, points, params=content.params)
        self._run_ids[trial.number] = run_id
        if self._address.log_checkpoints:
            self._models.bring(trial, run_id)
            self._run_id(content.parent)  # so that its model is known
            known = None if run is None else run.data.tags.get(PARENT_MODEL_TAG)
            self._models.link(run_id, content.parent, known)
        self._experiment.client.set_terminated(run_id, content.status, content.end)

    def _find(self, number: int) -> Run | None:
        """Look for a trial's run."""
        run = next(iter(self._experiment.search("trial", number)), None)
        if run is not None:
            self._remember(number, run)
        return run

    def _run_id(self, number: int | None) -> str | None:
        """Return the id of a trial's run, if it is there."""
        if number is None:
            return None
        if number not in self._run_ids:
            self._find(number)
        return self._run_ids.get(number)

    def _remember(self, number: int, run: Run) -> None:
        self._run_ids[number] = str(run.info.run_id)
        self._models.remember(number, run)

    # The whole study

    def _settle(self, study: Study) -> None:
        """Make the runs what the study says: none missing, none twice, all with their parents."""
        trials = study.get_trials(deepcopy=False)
        while True:
            runs = self._one_run_each()
            wanting = [trial for trial in trials if self._is_wanting(trial, runs)]
            if not wanting:
                break
            for trial in wanting:
                self._bring(trial, runs.get(trial.number))
        for trial in trials:
            if trial.number in runs:
                self._link(trial, runs[trial.number], runs)

    def _is_wanting(self, trial: FrozenTrial, runs: dict[int, Run]) -> bool:
        """Tell whether a trial is not there as a whole, and it is for us to bring it."""
        run = runs.get(trial.number)
        is_there = run is not None and run.info.status != _UNFINISHED
        # Optuna calls nobody back for a trial whose error ends the run: nobody else brings it.
        is_nobodys = trial.state == TrialState.FAIL or _is_old(trial)
        is_for_us = is_nobodys or self._address.everything or not self._source.is_shared
        return trial.state.is_finished() and not is_there and is_for_us

    def _one_run_each(self) -> dict[int, Run]:
        """Return the run of each trial, after deleting those that are there twice."""
        runs: dict[int, list[Run]] = defaultdict(list)
        for run in self._experiment.search("trial"):
            runs[int(run.data.tags["epbt.trial"])].append(run)
        for number, (first, *others) in runs.items():
            for run in others:
                self._experiment.withdraw(run.info.run_id)
            self._remember(number, first)
        return {number: first for number, (first, *_) in runs.items()}

    def _link(self, trial: FrozenTrial, run: Run, runs: dict[int, Run]) -> None:
        """Correct what a run says of others, which may have come or gone since it was created."""
        wanted = {"mlflow.parentRunId": self._experiment.parent}
        parent = TrialRun(trial, self._generations).parent
        if parent is not None and parent in runs:
            wanted["epbt.parent_run_id"] = str(runs[parent].info.run_id)
        for key, value in wanted.items():
            if run.data.tags.get(key) != value:
                self._experiment.client.set_tag(run.info.run_id, key, value)
        if self._address.log_checkpoints:
            self._models.link(run.info.run_id, parent, run.data.tags.get(PARENT_MODEL_TAG))

    # Generations

    def _bring_generations(self, study: Study) -> list[int]:
        """Bring the generations that have ended and are not there; return which."""
        parent = self._experiment.parent
        there = {point.step for point in self._experiment.history(parent, ["best"])}
        ended = [
            summary
            for summary in summarize_generations(study)
            if summary.generation not in there and self._has_ended(summary)
        ]
        trials = study.get_trials(deepcopy=False)
        for summary in ended:
            numbers = self._numbers(summary)
            end = max(milliseconds(trials[number].datetime_complete) for number in numbers)
            best = None if summary.best_trial is None else trials[summary.best_trial]
            points, tags = generation_run(summary, best, end)
            self._experiment.log(parent, points, tags=tags)
        return [summary.generation for summary in ended]

    def _has_ended(self, summary: GenerationSummary) -> bool:
        n_ended = summary.n_complete + summary.n_pruned + summary.n_failed
        return n_ended == len(self._numbers(summary))

    def _numbers(self, summary: GenerationSummary) -> range:
        assert self._generations is not None  # or there would be no summary
        return self._generations.numbers(summary.generation)

    def _bring_artifacts(self, study: Study) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_artifacts(study, Path(folder), with_pictures=self._address.pictures_every > 0)
            self._experiment.client.log_artifacts(self._experiment.parent, folder)


def _is_old(trial: FrozenTrial) -> bool:
    """Tell whether a trial ended so long ago that it no longer belongs to its own process."""
    ended = trial.datetime_complete
    return ended is None or datetime.now() - ended > timedelta(seconds=_OWNERS_SECONDS)
