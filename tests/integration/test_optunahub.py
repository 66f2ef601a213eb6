"""The packages for OptunaHub: of the registry's layout, loaded by its own loader, and they run."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import ModuleType

import optunahub
import pytest
import yaml

import epbt_optuna
from epbt_optuna import visualization

ROOT = Path(__file__).parents[2]
REGISTRY = ROOT / "examples" / "optunahub" / "package"
TAGS = {"samplers": "sampler", "pruners": "pruner", "visualization": "visualization"}
PACKAGES = [f"{category}/epbt" for category in TAGS]


def load(package: str) -> ModuleType:
    module: ModuleType = optunahub.load_local_module(package, registry_root=str(REGISTRY))
    return module


def front_matter(package: str) -> dict[str, object]:
    _, matter, _ = (REGISTRY / package / "README.md").read_text("utf-8").split("---\n", 2)
    read: dict[str, object] = yaml.safe_load(matter)
    return read


def test_there_is_a_package_in_each_category_that_we_have_something_for() -> None:
    found = {str(file.parent.relative_to(REGISTRY)) for file in REGISTRY.rglob("__init__.py")}
    assert found == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_brings_the_names_that_it_lists(package: str) -> None:
    module = load(package)
    ours = visualization if package.startswith("visualization") else epbt_optuna
    for name in module.__all__:
        assert getattr(module, name) is getattr(ours, name)
        assert f"`{name}(" in (REGISTRY / package / "README.md").read_text("utf-8")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_the_registry_asks_for(package: str) -> None:
    matter = front_matter(package)
    assert set(matter) == {"author", "title", "description", "tags", "optuna_versions", "license"}
    tags = matter["tags"]
    assert isinstance(tags, list)
    assert TAGS[package.split("/")[0]] in tags
    license_text = (ROOT / "LICENSE").read_text("utf-8")
    assert (REGISTRY / package / "LICENSE").read_text("utf-8") == license_text


@pytest.mark.parametrize("package", PACKAGES)
def test_the_example_of_a_package_runs_and_is_what_its_page_shows(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = REGISTRY / package / "example.py"
    page = (REGISTRY / package / "README.md").read_text("utf-8")
    assert f"```python\n{example.read_text('utf-8')}```" in page
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(optunahub, "load_module", load)  # its server has none of ours yet
    study = runpy.run_path(str(example))["study"]
    assert study.best_value > 0.9
