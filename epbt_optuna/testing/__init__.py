"""Property tests for genetic operators, yours included.

`strategies` generates distributions, genomes and seeds for Hypothesis; `laws` are the properties
that every operator of a kind has to keep. The library's own operators are tested by the same
laws. Needs the extra `testing`.
"""

from epbt_optuna.testing.laws import check_crossover_laws, check_mutation_laws, check_selection_laws
from epbt_optuna.testing.strategies import distributions, genomes, related_genomes, seeds

__all__ = [
    "check_crossover_laws",
    "check_mutation_laws",
    "check_selection_laws",
    "distributions",
    "genomes",
    "related_genomes",
    "seeds",
]
