"""How greedy the populations are: PBT-Zoo's toys, beside the best that is possible there."""

from __future__ import annotations

from examples.greed import SETTINGS, TOYS, known, measure
from tests.benchmarks.table import Case, Figure, Table


def bench_greed(quick: bool) -> Table:
    """Find by how much the best network of each run falls short of the best schedule's."""
    n_rounds, n_seeds = (2, 1) if quick else (50, 10)
    found = measure(n_rounds, n_seeds, n_workers=2)
    cases = []
    for toy in TOYS:
        worth = known(toy, n_rounds)
        samples = {name: found[name, toy] for name in SETTINGS}
        samples |= {"best constant": [worth["constant"]], "greed itself": [worth["greed"]]}
        short = {
            name: Figure.of(worth["best"] - value for value in values)
            for name, values in samples.items()
        }
        cases.append(Case(f"{toy} toy", "", short))
    title = "How far the best network of a run falls short of the best possible"
    return Table(title, tuple(cases), over={})


BENCHMARKS = {"greed": bench_greed}
