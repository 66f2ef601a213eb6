"""Genetic operators: pure functions of genomes and a random generator.

The folder is the algorithm's stages: selection chooses parents, mutation and
crossover make the offspring's genome. Each operator is a small frozen dataclass that knows no
study and keeps no state; write your own against the protocols and check it with
`epbt_optuna.testing`. In a study, `checked` says which operator has returned something wrong.
"""

from epbt_optuna.operators.blending import SimulatedBinaryCrossover
from epbt_optuna.operators.crossover import Crossover, UniformCrossover
from epbt_optuna.operators.mutation import GaussianMutation, Mutation, PerturbOrResample
from epbt_optuna.operators.selection import (
    Exploit,
    ParentSelection,
    SelectionOdds,
    TournamentSelection,
    Truncation,
)

__all__ = [
    "Crossover",
    "Exploit",
    "GaussianMutation",
    "Mutation",
    "ParentSelection",
    "PerturbOrResample",
    "SelectionOdds",
    "SimulatedBinaryCrossover",
    "TournamentSelection",
    "Truncation",
    "UniformCrossover",
]
