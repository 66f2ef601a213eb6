"""The package's front door: public names, and what importing it costs."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import epbt_optuna

ROOT = Path(__file__).parents[1]


def modules_after(statement: str) -> set[str]:
    """Return what a fresh interpreter has imported after `statement`."""
    result = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return set(result.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    before = modules_after("import __future__, importlib, typing")
    after = modules_after("import epbt_optuna")
    added = {name.split(".")[0] for name in after - before} - sys.stdlib_module_names
    assert added == {"epbt_optuna", "lazy_loader"}


@pytest.mark.parametrize(
    "statement",
    [
        "from epbt_optuna import EPBTSampler, PBTSampler, ask_generation",
        "import epbt_optuna.operators",
    ],
)
def test_sampling_needs_neither_torch_nor_tracking_nor_plots(statement: str) -> None:
    assert not modules_after(statement) & {"torch", "mlflow", "plotly", "hypothesis"}


def test_torch_is_imported_by_nothing_before_it_is_used() -> None:
    names = ("checkpoints", "cli", "lineage", "parallel", "pruning", "tracking", "visualization")
    statement = "import " + ", ".join(f"epbt_optuna.{name}" for name in names)
    assert "torch" not in modules_after(statement)


def test_no_framework_is_imported_before_its_name_is_used() -> None:
    frameworks = {"keras", "lightning", "sklearn", "torch", "transformers"}
    statement = "import epbt_optuna.integrations; dir(epbt_optuna.integrations)"
    assert not modules_after(statement) & frameworks
    statement = "from epbt_optuna.integrations import restore_estimator, restore_model"
    assert not modules_after(statement) & frameworks


def test_every_public_name_can_be_imported() -> None:
    for name in epbt_optuna.__all__:
        assert getattr(epbt_optuna, name).__name__ == name


def test_a_star_import_brings_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from epbt_optuna import *", names)
    assert set(epbt_optuna.__all__) == set(names) - {"__builtins__"}


def test_public_names_are_listed_once_and_sorted() -> None:
    assert list(epbt_optuna.__all__) == sorted(set(epbt_optuna.__all__))


def test_dir_lists_the_public_names_before_they_are_used() -> None:
    assert set(epbt_optuna.__all__) <= set(dir(epbt_optuna))
    script = "import epbt_optuna; assert set(epbt_optuna.__all__) <= set(dir(epbt_optuna))"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_a_name_that_does_not_exist_is_an_attribute_error_that_says_which() -> None:
    with pytest.raises(AttributeError, match="epbt_optuna attribute EBPTSampler"):
        _ = epbt_optuna.EBPTSampler  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "path",
    [
        "checkpoints",
        "integrations",
        "journal",
        "lineage",
        "parallel",
        "testing",
        "tracking",
        "visualization",
    ],
)
def test_packages_are_there_without_an_import_of_their_own(path: str) -> None:
    script = f"import epbt_optuna; print(epbt_optuna.{path}.__doc__)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def submodules() -> list[str]:
    found = pkgutil.walk_packages(epbt_optuna.__path__, "epbt_optuna.")
    return [module.name for module in found]


@pytest.mark.parametrize("name", submodules())
def test_every_module_says_what_it_is_for_and_has_the_names_that_it_lists(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    assert len(module.__all__) == len(set(module.__all__))
    assert all(hasattr(module, public_name) for public_name in module.__all__)
