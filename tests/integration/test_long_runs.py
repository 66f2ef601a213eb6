"""Long runs need no more of the machine at their end than at their beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drills import generations
from tests.drills.processes import memory_folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into Linux")
def test_over_a_hundred_generations_descriptors_memory_and_folder_stay_flat() -> None:
    with memory_folder() as folder:
        drill = generations.Drill(
            f"journal:///{folder}/study.log", f"{folder}/checkpoints", n_generations=100
        )
        generations.check_flat(generations.run(drill))
