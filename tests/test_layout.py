"""The layout: imports run one way, folders are subsystems, a file has one subject."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import epbt_optuna
from tests import untraced

PACKAGE = Path(epbt_optuna.__path__[0])
TESTS = Path(__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# From what everybody may import to what nobody does. A name stands for the module or package;
# `lineage.schedule` is what `samplers.replay` reads.
ORDER = [
    "_internal",
    "genome",
    "operators",
    "population",
    "evolution",
    "losses",
    "journal",
    "checkpoints",
    "samplers",
    "pruning",
    "parallel",
    "batched",
    "testing",
    "lineage",
    "visualization",
    "tracking",
    "integrations",
    "cli",
    "__main__",
]
EXCEPTIONS = {("samplers.replay", "lineage.schedule")}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported_at_import(path: Path) -> set[str]:
    """Return the modules of ours that a module imports when it is imported itself."""
    own = module_name(path)
    found = set()
    body = list(ast.parse(path.read_text()).body)
    while body:
        node = body.pop()
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("epbt"):
            found.add(node.module.removeprefix("epbt_optuna").lstrip("."))
            if node.module == "epbt_optuna":
                found |= {alias.name for alias in node.names}
            if node.module == f"epbt_optuna.{own}":  # a package's own module, by its name
                found |= {f"{own}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Try):
            body += node.body
    return found - {"", own}


def test_the_top_level_has_few_entries_and_each_is_named_in_the_order() -> None:
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert len(entries) <= 22
    named = {entry.removesuffix(".py") for entry in entries}
    assert named == {*ORDER, "__init__", "__init__.pyi", "py.typed"}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_run_one_way(path: Path) -> None:
    own = module_name(path)
    if not own:
        return
    place = ORDER.index(own.split(".")[0])
    for other in imported_at_import(path):
        if (own, other) not in EXCEPTIONS:
            assert ORDER.index(other.split(".")[0]) <= place, f"{own} imports {other}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    imports = {module_name(path): imported_at_import(path) for path in MODULES}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"a circle: {' → '.join((*above, module))}"
        if module not in done:
            for other in imports.get(module, ()):
                visit(other, (*above, module))
            done.add(module)

    for module in imports:
        visit(module, ())


@pytest.mark.parametrize(("folder", "most"), [(PACKAGE, 300), (TESTS, 400)])
def test_no_file_has_grown_two_subjects(folder: Path, most: int) -> None:
    long = {
        str(path.relative_to(folder)): n_lines
        for path in folder.rglob("*.py")
        if (n_lines := len(path.read_text().splitlines())) > most
    }
    assert long == {}


def test_no_named_tuple_has_another_base_which_python_3_10_refuses() -> None:
    nodes = (node for path in MODULES for node in ast.walk(ast.parse(path.read_text())))
    classes = [(c.name, [*map(ast.unparse, c.bases)]) for c in nodes if isinstance(c, ast.ClassDef)]
    assert len(classes) > 100
    assert not [name for name, bases in classes if "NamedTuple" in bases and len(bases) > 1]


@pytest.mark.parametrize("path", untraced.PATHS)
def test_what_coverage_is_not_to_look_at_is_there(path: str) -> None:
    assert (TESTS / path).exists()
