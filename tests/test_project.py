"""The project's own files say the same as one another: versions, addresses, commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = ProjectMetadata(str(ROOT), PluginManager()).core
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
OLDEST = ROOT / "tests" / "constraints-oldest.txt"

# Frameworks are left out: nothing here tries the oldest versions of these.
EXTRAS = ["dashboard", "mlflow", "ray", "testing", "torch", "visualization"]


def oldest(requirement: Requirement) -> str:
    (version,) = (part.version for part in requirement.specifier if part.operator == ">=")
    return f"{requirement.name}=={version}"


def test_the_constraints_are_the_oldest_versions_that_the_project_allows() -> None:
    optional = [line for extra in EXTRAS for line in PROJECT.optional_dependencies[extra]]
    wanted = map(Requirement, [*PROJECT.dependencies, *optional])
    lines = {oldest(requirement) for requirement in wanted if requirement.name != "epbt-optuna"}
    text = OLDEST.read_text("utf-8").splitlines()
    assert [line for line in text if "==" in line] == sorted(lines)


def test_the_repository_has_one_address() -> None:
    address = PROJECT.urls["Repository"]
    files = [ROOT / name for name in ("pyproject.toml", "CITATION.cff", "mkdocs.yml")]
    files += [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").rglob("*.*")]
    texts = {file: file.read_text("utf-8") for file in files if file.is_file()}
    owned = re.compile(r"https://github\.com/[\w.-]+/epbt[-_]optuna\b")
    others = {
        f"{file.relative_to(ROOT)}: {found}"
        for file, text in texts.items()
        for found in owned.findall(text)
        if found != address
    }
    assert others == set()
    assert address in texts[ROOT / "CITATION.cff"]


@pytest.mark.parametrize(
    "file", [".ci/run", ".github/workflows/tests.yml", "noxfile.py", "CONTRIBUTING.md"]
)
def test_every_target_of_make_that_is_called_exists(file: str) -> None:
    command = r"^(?:    |.* \d+ |.*run: )?make[ (](?:session, \")?([\w-]+)"
    called = set(re.findall(command, (ROOT / file).read_text("utf-8"), re.MULTILINE))
    called -= {"session"}  # the definition in noxfile.py
    assert len(called) > 2
    assert called <= set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))


def test_the_workflow_runs_what_a_change_must_pass_on_each_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text("utf-8"))
    job = workflow["jobs"]["everything"]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT.classifiers))
    assert job["strategy"]["matrix"]["python"] == [pythons[0], pythons[-1]]
    assert PROJECT.requires_python == f">={pythons[0]}"
