"""The two programs of the page on migrating are those of `examples.migrating`, and both learn."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT

PROGRAMS = ["with_ray_tune.py", "with_epbt_optuna.py"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_page_shows_the_program(name: str) -> None:
    page = (ROOT / "docs" / "migrating.md").read_text("utf-8")
    program = (ROOT / "examples" / "migrating" / name).read_text("utf-8")
    assert f"```python\n{program}```" in page


@pytest.mark.xdist_group("ray")
def test_both_programs_learn_as_much() -> None:
    # Ray is one to a process, and in this one may be that of other tests.
    command = [sys.executable, "-m", "examples.migrating", "--seeds", "1", "--generations", "4"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    accuracies = [float(value) for value in re.findall(r"│ +(0\.\d+) \(", printed)]
    assert len(accuracies) == 2, printed
    assert all(0.9 < accuracy <= 1 for accuracy in accuracies)
    assert abs(accuracies[0] - accuracies[1]) < 0.05
