"""Ray Tune's population uses up the same steps, and its values stay in their ranges."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from examples.tuning.ray_pbt import within
from tests.tuning.jobs import TINY, run

pytestmark = pytest.mark.xdist_group("ray")


def test_ray_tunes_population_uses_up_the_same_steps(tmp_path: Path, data_root: Path) -> None:
    # Ray is one to a process, and in this one may be that of other tests.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        record = process.submit(run, tmp_path, "ray-pbt", data_root).result()
    assert record["n_steps"] == TINY.budget
    assert record["n_networks"] == TINY.n_members
    assert 0 < record["incumbents"][-1][1] <= record["seconds"]
    assert 1 <= len(record["schedule"]) <= TINY.n_steps
    for step in record["schedule"]:
        assert all(v.low <= step[v.name] <= v.high for v in TINY.variables)


def test_values_that_were_explored_are_kept_in_their_ranges() -> None:
    explored = {v.name: v.high * 1.2 for v in TINY.variables}
    assert within(explored, TINY) == {v.name: v.high for v in TINY.variables}
    assert within(dict.fromkeys(explored, -1.0), TINY) == {v.name: v.low for v in TINY.variables}
