"""Trials that several processes train together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_rank_0_inherits_and_saves_and_all_ranks_get_the_state(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.integration.distributed", str(tmp_path), str(rank)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for rank in (0, 1)
    ]
    try:
        printed = [rank.communicate(timeout=120)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0]
    began_with = [json.loads(text) for text in printed]
    assert began_with[0] == began_with[1]
    assert began_with[0][:2] == [0.0, 0.0]
    assert all(weight > 0.5 for weight in began_with[0][2:])
