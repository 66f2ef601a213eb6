"""From a study to MLflow's runs: each exactly once, however many processes deliver at a time.

What must be there are the study's finished trials; nothing else is kept of what is to be done, so a
kill, an outage or a dropped number costs nothing that cannot be found out again.

A trial belongs to the process that ran it, which creates its run without asking. When that is a
while ago, or was tried before, anybody may deliver it, and looks first. Between looking and
creating another process may create the same run. So a process that has delivered what another may
have delivered too looks again afterwards: of two, the later one sees both runs. Of several runs of
one trial the one with the lowest id stays: all who look agree on it, so they never delete both. A
run is terminated last, so one that is not was cut short, and gets what it lacks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.attrs import pass_over
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna._internal.text import get_logger
from epbt_optuna.checkpoints.records import CheckpointError
from epbt_optuna.checkpoints.reports import reports_of
from epbt_optuna.population import Generations, Lineage
from epbt_optuna.tracking.destination import Destination
from epbt_optuna.tracking.experiment import Experiment
from epbt_optuna.tracking.models import MODEL_TAG, PARENT_MODEL_TAG, bring_model, link_model
from epbt_optuna.tracking.parent import NOTE, ParentRun, child_note
from epbt_optuna.tracking.runs import TrialRun, started

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["Delivery"]

_OWNERS_SECONDS = 60.0  # for so long a trial is left to the process that ran it
_UNFINISHED = "RUNNING"  # MLflow's word for a run that is not terminated
_STARTED = "epbt.started"
_TAGS = (_STARTED, "mlflow.parentRunId", "epbt.parent_run_id", PARENT_MODEL_TAG, MODEL_TAG)


_logger = get_logger("epbt_optuna.tracking")


class _Child(NamedTuple):
    """What there is to know of a trial's run; the run itself is a hundred times as large."""

    run_id: str
    is_whole: bool
    tags: dict[str, str]

    @classmethod
    def of(cls, run: Run) -> _Child:
        tags = {name: run.data.tags[name] for name in _TAGS if name in run.data.tags}
        return cls(str(run.info.run_id), run.info.status != _UNFINISHED, tags)

    def is_of(self, trial: FrozenTrial) -> bool:
        """Tell whether this is the trial's run, and not that of a copy of its study.

        A copy in another database may look the same from inside, and goes on with trials of the
        same numbers. Runs of version 0.1 do not say when their trials started.
        """
        return self.tags.get(_STARTED, started(trial)) == started(trial)


class Delivery:
    """Brings one study to one experiment.

    Raises:
        TrackingError: The experiment was deleted.
        MlflowException: The server cannot be reached, or refuses.
    """

    def __init__(self, study: Study, destination: Destination) -> None:
        self._study = study
        self._destination = destination
        self._generations = Generations.recorded(study)
        self.experiment = Experiment(study, destination)
        self._client = self.experiment.client
        self._children: dict[int, _Child] = {}
        self.parent = ParentRun(
            study, destination, self.experiment, self._generations, self._run_of
        )
        self.parent.begin()
        self._has_warned = False  # of a copy

    def deliver(self, number: int, *, is_first_try: bool, is_listed: bool) -> None:
        """Bring one finished trial.

        Args:
            number: The trial's.
            is_first_try: False after a try that failed: it may have created the run.
            is_listed: Whether `missing` has just listed the runs that are there.
        """
        trial = read_trial(self._study, number)
        is_whole = number in self._children and self._children[number].is_whole
        if is_whole or trial is None or not trial.state.is_finished():
            return  # the last two: a callback that was called by hand
        may_be_there = number in self._children if is_listed else _is_old(trial)
        run = self._find(trial) if may_be_there or not is_first_try else None
        identity = self.experiment.identity
        reports = reports_of(trial, identity, partial(read_trial, self._study))
        content = TrialRun.of(
            trial,
            self._generations,
            identity,
            reports,
            keeps_case=self.experiment.keeps_case,
        )
        values, tags = content.values, {}
        parent = self._children.get(-1 if content.parent is None else content.parent)
        if run is None:
            content.tags.update(self._note(trial, parent))
            run_id = self.experiment.create_child(content, parent and parent.run_id)
        elif run.info.status != _UNFINISHED:
            return
        else:
            run_id = str(run.info.run_id)
            logged = self.experiment.history(run_id, run.data.metrics)
            there = {(metric.key, metric.step) for metric in logged}
            values = [value for value in values if (value.key, value.step) not in there]
        self.experiment.log(run_id, values, content.params, content.notes)
        if self._destination.log_checkpoints:
            try:
                model = bring_model(self.experiment, trial, run_id, len(reports))
            except CheckpointError as error:
                pass_over(str(error))
                model = None
            if model is not None:
                tags = {MODEL_TAG: model}
            if parent is not None and MODEL_TAG in parent.tags:
                link_model(self.experiment, run_id, parent.tags[MODEL_TAG])
        self._client.set_terminated(run_id, content.status, content.end)
        self._children[number] = _Child(run_id, True, tags | {_STARTED: started(trial)})

    def missing(self, ours: Collection[int], *, everything: bool) -> list[int]:
        """Return the trials to be delivered, after deleting what is there twice.

        Args:
            ours: Trials that this process ran, and has not delivered.
            everything: Whether what other processes have just finished is to be delivered too.
        """
        found: dict[int, list[_Child]] = defaultdict(list)
        for run in self.experiment.children():
            found[int(run.data.tags["epbt.trial"])].append(_Child.of(run))
        # Read after the runs, so that of each run of this study the trial is among them.
        trials = self._study.get_trials(deepcopy=False)
        self._children = {}
        for trial in trials:
            there = found.pop(trial.number, [])
            own = sorted((c for c in there if c.is_of(trial)), key=attrgetter("run_id"))
            self._warn_of_copy(len(own) < len(there))
            if own:
                self._children[trial.number] = own[0]
            for other in own[1:]:
                self.experiment.withdraw(other.run_id)
        whole = {number for number, child in self._children.items() if child.is_whole}
        return [
            trial.number
            for trial in trials
            if trial.state.is_finished()
            and trial.number not in whole
            # Optuna calls nobody back for a trial whose error ends the run: nobody else brings it.
            and (
                (everything or trial.number in ours)
                or (trial.state == TrialState.FAIL or _is_old(trial))
            )
        ]

    def _warn_of_copy(self, is_there: bool) -> None:
        if is_there and not self._has_warned:
            self._has_warned = True
            _logger.warning(
                "A copy of study %r has gone on in MLflow's parent run %s: both have a run for "
                "each of their trials there, but metrics and pictures of generations are of one "
                "or the other. `epbt_optuna.branch(study)` or `epbt branch` gives this study a "
                "parent run of its own.",
                self._study.study_name,
                self.experiment.parent,
            )

    def link(self) -> None:
        """Correct what runs say of others, which may have come or gone since they were created.

        By what `missing` has seen: when it returns nothing, all are there.
        """
        for trial in self._study.get_trials(deepcopy=False):
            if (child := self._children.get(trial.number)) is None:
                continue
            wanted = {"mlflow.parentRunId": self.experiment.parent}
            if (parent := self._children.get(self._parent_of(trial))) is not None:
                wanted["epbt.parent_run_id"] = parent.run_id
                model = parent.tags.get(MODEL_TAG)
                if model is not None and model != child.tags.get(PARENT_MODEL_TAG):
                    link_model(self.experiment, child.run_id, model)
            changed = dict(wanted.items() - child.tags.items())
            if "epbt.parent_run_id" in changed:
                changed |= self._note(trial, parent)
            for tag in changed.items():
                self._client.set_tag(child.run_id, *tag)

    def _lineage_of(self, trial: FrozenTrial) -> Lineage | None:
        return Lineage.readable(trial.number, trial.system_attrs, self.experiment.identity)

    def _parent_of(self, trial: FrozenTrial) -> int:
        """Return the trial whose weights this one inherited; -1, which is none, where nobody is."""
        lineage = self._lineage_of(trial)
        return -1 if lineage is None or lineage.parent is None else lineage.parent

    def _note(self, trial: FrozenTrial, parent: _Child | None) -> dict[str, str]:
        """Return a trial's note as a tag; none where no sampler of ours has bred it."""
        if self._lineage_of(trial) is None:
            return {}
        number = self._parent_of(trial)
        of = None if number < 0 else read_trial(self._study, number)
        return {NOTE: child_note(trial, of, self.experiment.id, parent.run_id if parent else "")}

    def _run_of(self, trial: FrozenTrial) -> str | None:
        """Return the id of a trial's run, whoever brought it; None if it is not there."""
        if (child := self._children.get(trial.number)) is not None:
            return child.run_id
        run = self._find(trial)
        return None if run is None else str(run.info.run_id)

    def _find(self, trial: FrozenTrial) -> Run | None:
        """Look for a trial's run."""
        runs = (r for r in self.experiment.children(trial.number) if _Child.of(r).is_of(trial))
        return min(runs, key=lambda run: str(run.info.run_id), default=None)


def _is_old(trial: FrozenTrial) -> bool:
    """Tell whether a trial ended so long ago that it no longer belongs to its own process."""
    ended = trial.datetime_complete
    return ended is None or datetime.now() - ended > timedelta(seconds=_OWNERS_SECONDS)
