"""A run as a program, for tests that interrupt or kill it: `python -m tests.parallel.program`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from epbt_optuna.parallel import optimize
from tests.parallel.runs import Marking, journal_study

N_GENERATIONS = 2


def main(engine: Any, folder: Path) -> None:
    optimize(
        journal_study(folder / "log"),
        Marking(folder, held=(0, 1)),
        n_generations=N_GENERATIONS,
        workers=2,
        devices=["cpu", "cpu"],
        engine=engine,
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
