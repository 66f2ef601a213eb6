"""Runs whose workers are killed, paused and starved at any time come to their end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drills import mixes


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # the heartbeat
@pytest.mark.parametrize("seed", [0, 2], ids=["journal", "sqlite-with-heartbeat"])
def test_a_run_goes_on_through_signals_forked_children_and_full_disks(
    tmp_path: Path, seed: int
) -> None:
    mix = mixes.Mix(str(tmp_path), seed)
    mixes.run(mix)
    states = mixes.check(mix)
    assert states["COMPLETE"]
    assert states["FAIL"], "nothing was tried"
