"""The wheel, installed into an environment of its own, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("without_torch.py")


def run(*command: str | Path, folder: Path) -> str:
    """Run a command and return what it says; nothing leads it to this environment's packages."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.mark.timeout(600)
def test_without_torch_all_but_states_and_losses_works(tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--quiet")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", "wheels", ROOT, folder=tmp_path)
    (wheel,) = (tmp_path / "wheels").iterdir()
    venv.create(tmp_path / "venv", symlinks=os.name != "nt")
    commands = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    run(*pip, "--python", commands / "python", "install", wheel, folder=tmp_path)
    run(commands / "python", PROGRAM, folder=tmp_path)
    for command, expected in (("summary", "6 individuals"), ("lineage", "the ancestry of trial")):
        said = run(commands / "epbt", command, "study.log", "serial", folder=tmp_path)
        assert expected in said
