"""Populations: generation arithmetic, and who is alive after each generation.

A generation is arithmetic on Optuna's trial numbers, which every storage hands out atomically.
So any process anywhere knows which generation a trial belongs to, and whom it may breed from,
without a lock, a counter or a message to another worker.

`generations.py` is that arithmetic, `individuals.py` says who is alive, `origin.py` where an
individual comes from, and `fitness.py` what its ancestors count for; `history.py` reads all of it
from a study.
"""

from __future__ import annotations

from epbt_optuna.population.fitness import SmoothedFitness
from epbt_optuna.population.generations import Generations
from epbt_optuna.population.history import PopulationHistory
from epbt_optuna.population.individuals import Individual, Population, next_population
from epbt_optuna.population.origin import Lineage

__all__ = [
    "Generations",
    "Individual",
    "Lineage",
    "Population",
    "PopulationHistory",
    "SmoothedFitness",
    "next_population",
]
