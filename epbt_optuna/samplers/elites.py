"""Elites that go on training: who of the last generation is continued, and by which trial."""

from __future__ import annotations

from dataclasses import replace

from optuna import Study
from optuna.trial import FrozenTrial

from epbt_optuna._internal.identity import StudyIdentity
from epbt_optuna._internal.optuna import is_enqueued, read_trial
from epbt_optuna._internal.per_study import PerStudy, empty_dict
from epbt_optuna.population import Generations, Lineage, Population

__all__ = ["TrainedElites"]


class TrainedElites:
    """Fills the slots of a generation: its first k trials, if elites go on training.

    A slot continues the fittest finished member of the last generation whom no earlier slot of its
    own generation has recorded that it continues. Where the last generation has finished, and
    slots are asked one after another, that is the k fittest in order of rank. A slot that lies
    with another worker, which has not recorded its choice, is not waited for: an elite may then
    be continued twice, which costs a trial and does no harm.

    Args:
        generations: Say which trials are slots.
    """

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        # Whom each slot continues that has recorded it, None for nobody: a record never changes.
        # Threads may note the same ones at a time.
        self._recorded: PerStudy[dict[int, int | None]] = PerStudy(empty_dict)

    def continued(
        self,
        study: Study,
        trial: FrozenTrial,
        identity: StudyIdentity,
        founder: Lineage,
        population: Population,
    ) -> Lineage | None:
        """Return the lineage of a trial that continues an elite; None for an ordinary offspring.

        A slot becomes one where all of the last generation are continued or none has finished, and
        where an enqueued trial, whose genome is not an elite's, has taken its number.

        Args:
            study: The study.
            trial: The trial just asked.
            identity: The study's identity.
            founder: The trial's lineage without anybody in it.
            population: Those whom an offspring may have as parents, the fittest first.
        """
        if not self._generations.is_slot(founder.number) or is_enqueued(trial):
            return None
        own = self._generations.numbers(founder.generation)
        last = self._generations.numbers(founder.generation - 1)
        taken = self._taken(study, identity, range(own.start, founder.number))
        # Where none of the last generation has finished, the population is an older one.
        left = (i.number for i in population if i.number in last and i.number not in taken)
        parent = next(left, None)
        return None if parent is None else replace(founder, parent=parent, elite=True)

    def _taken(self, study: Study, identity: StudyIdentity, slots: range) -> set[int | None]:
        """Return whom earlier slots continue, whatever has become of them."""
        recorded = self._recorded(study, identity)
        for number in slots:
            if number in recorded or (trial := read_trial(study, number)) is None:
                continue
            lineage = Lineage.readable(number, trial.system_attrs, identity)
            if lineage is not None:
                recorded[number] = lineage.parent if lineage.elite else None
        return {recorded.get(number) for number in slots}
