"""Workers as a schedule: each asks, looks at a population, records whom it chose, trains, ends.

Nothing is trained and no bytes are written, so any number of workers fits into a test, and each
step can be put anywhere: also between two reads of a collector.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna._internal.artifact_names import ArtifactName
from epbt_optuna._internal.attrs import CHECKPOINT, LINEAGE
from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import read_trial
from epbt_optuna.checkpoints.retention import Retention
from epbt_optuna.population import Generations, Lineage, Population, PopulationHistory
from epbt_optuna.samplers.elites import TrainedElites

__all__ = ["Workers"]


@dataclass
class Workers:
    """A study, and who is at what.

    Attributes:
        generations: Its arithmetic.
        random: Where chance comes from.
        asked: Trials that were given to a worker, which has not looked at a population yet.
        chosen: Trials whose worker has looked and chosen, and not recorded it yet.
        training: Trials with their record.
        stored: Trials whose bytes are there.
    """

    generations: Generations
    random: random.Random
    study: optuna.Study = field(default_factory=lambda: _silent_study())
    asked: list[int] = field(default_factory=list)
    chosen: dict[int, Lineage] = field(default_factory=dict)
    training: dict[int, Lineage] = field(default_factory=dict)
    stored: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.token = StudyIdentity.drawn(self.study, 0).own[0]
        self.generations.record(self.study)
        self.history = PopulationHistory(self.generations)
        self.elites = TrainedElites(self.generations)

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials themselves: to copy them at each step would take most of a test's time."""
        return self.study.get_trials(deepcopy=False)

    @property
    def n_running(self) -> int:
        return len(self.asked) + len(self.chosen) + len(self.training)

    def ask(self) -> int:
        """Give the next trial in the queue, or a new one, to a worker."""
        number = self.study.ask().number
        self.asked.append(number)
        return number

    def look(self, number: int, population: Population | None = None) -> None:
        """Choose from who is alive now; the least fit are the first to become garbage."""
        generation = self.generations.of(number)
        trial = read_trial(self.study, number)
        assert trial is not None
        identity = StudyIdentity.of(self.study)
        retried = Lineage.recorded(number, trial.system_attrs, identity)
        if population is None:
            population = self.history.newest(self.study, generation - 1)[0]
        founder = Lineage(number, generation)
        elite = self.elites.continued(self.study, trial, identity, founder, population)
        if retried is not None:
            lineage = replace(retried, generation=generation)
        elif not population:
            lineage = founder
        elif elite is not None:
            lineage = elite
        else:
            parent, mate = population[-1], self.random.choice(population)
            lineage = Lineage(number, generation, parent.number, mate.number)
        self.asked.remove(number)
        self.chosen[number] = lineage
        self.check(lineage)

    def record(self, number: int) -> None:
        lineage = self.chosen.pop(number)
        self._write(number, LINEAGE.key, lineage.record(self.token))
        self.training[number] = lineage
        self.check(lineage)

    def end(self, number: int, state: TrialState = TrialState.COMPLETE, luck: float = 0.0) -> None:
        """Save and end a trial; its value is better the later it was asked, but for luck."""
        name = str(ArtifactName.drawn(self.token, number, "pt"))
        record: dict[str, Any] = {"trial": number, "artifact": name, "size": 0, "sha256": ""}
        record |= {"kind": "state", "final": True, "format": 1, "token": self.token}
        self._write(number, CHECKPOINT.key, record)
        self.stored.add(number)
        value = number + luck * self.random.random()
        self.study._storage.set_trial_state_values(number, state, [value])
        del self.training[number]

    def remove(self, retention: Retention, numbers: list[int]) -> None:
        """Remove what a collector has found."""
        self.stored.difference_update(numbers)
        retention.end_collection(numbers)
        self.check(*self.chosen.values(), *self.training.values())

    def check(self, *lineages: Lineage) -> None:
        """Fail if a checkpoint is gone that somebody has chosen."""
        for lineage in lineages:
            gone = set(lineage.parents) - self.stored
            assert not gone, f"trial {lineage.number} has lost the checkpoints of {gone}"

    def check_fittest(self) -> None:
        """Fail if the checkpoint is gone of the fittest, as selection sees them."""
        fittest = self.history.fittest(self.study, self.generations.of(len(self.trials)))
        assert fittest is None or fittest.number in self.stored, "the fittest is gone"

    def _write(self, number: int, key: str, value: Any) -> None:
        self.study._storage.set_trial_system_attr(number, key, value)


def _silent_study() -> optuna.Study:
    """A study in memory, where a trial's id is its number, without a sampler of ours."""
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(storage=InMemoryStorage(), direction="maximize", sampler=sampler)
