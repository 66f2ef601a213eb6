"""Laws of populations, over studies with every kind of trial that finish in any order."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import optuna
from hypothesis import assume, given
from hypothesis import strategies as st
from optuna.study import StudyDirection
from optuna.trial import TrialState

from epbt_optuna.population import (
    Generations,
    Individual,
    PopulationHistory,
    next_population,
)
from tests.constraints import set_constraint
from tests.replay import Rules, is_fitter, populations


@dataclass(frozen=True)
class Outcome:
    """How a trial ends, if it does."""

    state: TrialState
    value: float
    violation: float


@dataclass(frozen=True)
class Run:
    """A study's rules, and the outcomes of its trials by number."""

    rules: Rules
    outcomes: list[Outcome]

    @property
    def generations(self) -> Generations:
        rules = self.rules
        return Generations(rules.population_size, rules.n_elites, rules.train_elites)

    @property
    def n_generations(self) -> int:
        return self.generations.of(len(self.outcomes) - 1) + 1

    def history(self) -> PopulationHistory:
        return PopulationHistory(self.generations)

    def asked(self) -> optuna.Study:
        study = optuna.create_study(
            direction=self.rules.direction, sampler=optuna.samplers.RandomSampler(seed=0)
        )
        for outcome in self.outcomes:
            trial = study.ask()
            if outcome.violation:
                set_constraint(trial, "c", outcome.violation)
        return study

    def tell(self, study: optuna.Study, number: int) -> None:
        outcome = self.outcomes[number]
        if outcome.state == TrialState.COMPLETE:
            study.tell(number, outcome.value)
        elif outcome.state != TrialState.RUNNING:
            study.tell(number, state=outcome.state)

    def told(self) -> optuna.Study:
        study = self.asked()
        for number in range(len(self.outcomes)):
            self.tell(study, number)
        return study


# Few values and many COMPLETE trials, so that there are ties and populations. Made once:
# to make a strategy takes longer than to draw from it.
OUTCOMES = st.lists(
    st.builds(
        Outcome,
        st.sampled_from(
            [TrialState.COMPLETE] * 4 + [TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING]
        ),
        st.sampled_from([0.0, 1.0, 2.0, float("inf"), float("-inf")]) | st.floats(-9, 9),
        st.sampled_from([0.0, 0.0, -1.0, 1.0, 2.0]),
    ),
    min_size=1,
    max_size=20,
)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    size = draw(st.integers(2, 6))
    rules = Rules(
        population_size=size,
        n_elites=draw(st.integers(0, size - 1)),
        direction=draw(st.sampled_from([StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE])),
        train_elites=draw(st.booleans()),
    )
    return Run(rules, draw(OUTCOMES))


def numbers_alive(history: PopulationHistory, study: optuna.Study, generation: int) -> list[int]:
    return [individual.number for individual in history.population(study, generation)]


def replayed(run: Run, study: optuna.Study) -> list[list[int]]:
    return [[trial.number for trial in alive] for alive in populations(study.trials, run.rules)]


@given(runs())
def test_populations_are_those_of_the_naive_replay(run: Run) -> None:
    study, history = run.told(), run.history()
    alive = [numbers_alive(history, study, g) for g in range(run.n_generations)]
    assert alive == replayed(run, study)


@given(runs(), st.data())
def test_populations_do_not_depend_on_when_they_were_read_and_in_which_order_trials_finished(
    run: Run, data: st.DataObject
) -> None:
    study, history = run.asked(), run.history()
    order = data.draw(st.permutations(range(len(run.outcomes))))
    readings = st.none() | st.integers(0, run.n_generations)
    for number in order:
        run.tell(study, number)
        generation = data.draw(readings)
        if generation is not None:
            alive = numbers_alive(history, study, generation)
            if generation < run.n_generations:
                assert alive == replayed(run, study)[generation]
    alive_at_last = [numbers_alive(history, study, g) for g in range(run.n_generations)]
    assert alive_at_last == replayed(run, study)


@given(runs())
def test_a_population_is_the_complete_trials_of_its_generation_and_k_standing_elites_at_most(
    run: Run,
) -> None:
    study, history = run.told(), run.history()
    k = 0 if run.rules.train_elites else run.rules.n_elites
    n_before = 0
    for g in range(run.n_generations):
        own = set(run.generations.numbers(g))
        n_complete = sum(
            trial.number in own and trial.state == TrialState.COMPLETE for trial in study.trials
        )
        alive = numbers_alive(history, study, g)
        assert len(alive) == len(set(alive)) == n_complete + min(k, n_before)
        assert len(alive) <= run.rules.population_size
        n_before = len(alive)


@given(runs())
def test_elites_are_the_fittest_of_the_population_before(run: Run) -> None:
    study, history = run.told(), run.history()
    for g in range(1, run.n_generations):
        own = set(run.generations.numbers(g))
        before = numbers_alive(history, study, g - 1)
        elites = {number for number in numbers_alive(history, study, g) if number not in own}
        for elite in elites:
            for dead in set(before) - elites:
                assert is_fitter(study.trials[elite], study.trials[dead], run.rules.direction)


@given(runs())
def test_with_standing_elites_the_best_individual_never_gets_worse(run: Run) -> None:
    assume(run.rules.n_elites > 0)
    assume(not run.rules.train_elites)  # trained on, one may get worse, or be lost
    study, history = run.told(), run.history()
    best: int | None = None
    for g in range(run.n_generations):
        alive = numbers_alive(history, study, g)
        if best is not None:
            assert not is_fitter(study.trials[best], study.trials[alive[0]], run.rules.direction)
        best = alive[0] if alive else None


@given(runs())
def test_the_fittest_is_before_all_who_were_ever_evaluated(run: Run) -> None:
    study, history = run.told(), run.history()
    fittest = history.fittest(study, run.n_generations)
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert (fittest is None) == (not complete)
    for trial in complete:
        assert fittest is not None
        is_same = trial.number == fittest.number
        assert is_same or is_fitter(study.trials[fittest.number], trial, run.rules.direction)


@given(runs())
def test_parents_are_the_newest_population_that_has_anybody(run: Run) -> None:
    study, history = run.told(), run.history()
    for g in reversed(range(run.n_generations + 1)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parents = [individual.number for individual in history.parents(study, g)]
        older = [[], *[alive for alive in replayed(run, study)[:g] if alive]]
        assert parents == older[-1]


@given(
    st.lists(st.tuples(st.floats(allow_nan=False), st.floats(0, 2)), max_size=12),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_the_fittest_of_the_last_population_survive_and_everybody_evaluated_is_alive(
    values: list[tuple[float, float]], n_previous: int, n_elites: int
) -> None:
    everybody = [Individual(number, *value) for number, value in enumerate(values)]
    previous = next_population(everybody[:n_previous], (), n_elites)
    evaluated = everybody[n_previous:]
    alive = next_population(evaluated, previous, n_elites)
    assert set(alive) == {*evaluated, *previous[:n_elites]}
    assert [i for i in alive if i in previous] == list(previous[:n_elites])
    assert sorted(alive, key=lambda i: i.rank_key) == list(reversed(alive))
