"""Optuna's private names: two modules of `_internal` alone use them, and each is where it was."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import optuna
import pytest
from optuna.artifacts import Backoff, FileSystemArtifactStore

import epbt_optuna
from epbt_optuna.journal import journal_storage

PACKAGE = Path(epbt_optuna.__file__).parent
OUR_FILES = {PACKAGE / "_internal" / name for name in ("optuna.py", "optuna_loop.py")}
BY_NAME = ("attrgetter", "delattr", "getattr", "hasattr", "methodcaller", "setattr")


class Use(NamedTuple):
    line: int
    name: str
    text: str


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def defined_in(tree: ast.AST) -> Iterator[str]:
    """Yield the private names of functions, classes, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            name = node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.attr
        else:
            continue
        if is_private(name):
            yield name


def private_names_of_optuna() -> set[str]:
    root = Path(optuna.__file__).parent
    files = [path for path in root.rglob("*.py") if "testing" not in path.parts]
    modules = {part for path in files for part in path.relative_to(root).with_suffix("").parts}
    names = {name for path in files for name in defined_in(ast.parse(path.read_text("utf-8")))}
    return names | set(filter(is_private, modules))


OPTUNAS = private_names_of_optuna()


def uses(source: str) -> Iterator[Use]:
    """Yield where a module reaches for a private name of Optuna; `self._x` is its own."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                names = [node.attr]
        elif isinstance(node, ast.ImportFrom):
            if node.module is not None and node.module.split(".")[0] == "optuna":
                names = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            paths = [alias.name.split(".") for alias in node.names]
            names = [part for path in paths if path[0] == "optuna" for part in path]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in BY_NAME:
            names = [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
        else:
            continue
        for name in filter(is_private, names):
            if name in OPTUNAS:
                yield Use(node.lineno, name, ast.unparse(node))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("study._storage", ["_storage"]),
        ("number = trial._trial_id", ["_trial_id"]),
        ("optuna.storages._CachedStorage", ["_CachedStorage"]),
        ("self.study._storage.get_trial(0)", ["_storage"]),
        ("optuna.study._tell", ["_tell"]),
        ("from optuna.study._tell import _tell_with_warning", ["_tell", "_tell_with_warning"]),
        ("from optuna.storages import _CachedStorage as storage", ["_CachedStorage"]),
        ("import optuna.storages._rdb", ["_rdb"]),
        ("getattr(storage, '_backend', storage)", ["_backend"]),
        ("operator.attrgetter('_thread_local')", ["_thread_local"]),
        ("self._storage = study", []),
        ("node._replace(row=1)", []),
        ("other._a_name_that_optuna_does_not_have", []),
        ("from epbt_optuna._internal.optuna_loop import tell", []),
        ("'_storage'", []),
    ],
)
def test_uses_of_private_names_are_found(source: str, names: list[str]) -> None:
    assert [use.name for use in uses(source)] == names


@pytest.mark.parametrize(
    "path",
    sorted(set(PACKAGE.rglob("*.py")) - OUR_FILES),
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_no_other_module_uses_private_names_of_optuna(path: Path) -> None:
    found = [f"line {use.line}: {use.text}" for use in uses(path.read_text("utf-8"))]
    assert not found, "use a function of _internal/optuna.py or optuna_loop.py"


def is_in(package: str, kind: type) -> bool:
    return kind.__module__.split(".")[0] == package


def subclasses_of_optuna() -> set[type]:
    found = set()
    for module in pkgutil.walk_packages([str(PACKAGE)], "epbt_optuna."):
        if not module.name.endswith("__main__"):
            for kind in vars(importlib.import_module(module.name)).values():
                if isinstance(kind, type) and is_in("epbt_optuna", kind):
                    found |= {kind for base in kind.__mro__ if is_in("optuna", base)}
    return found


def test_no_subclass_takes_a_private_name_of_its_base_in_optuna() -> None:
    taken = {}
    for kind in subclasses_of_optuna():
        ours, optunas = (
            [ast.parse(inspect.getsource(base)) for base in kind.__mro__ if is_in(package, base)]
            for package in ("epbt_optuna", "optuna")
        )
        own = {
            node.attr
            for tree in ours
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
        }.union(*map(defined_in, ours))
        taken[kind.__name__] = own & set[str]().union(*map(defined_in, optunas))
    assert len(taken) > 3
    assert not any(taken.values()), taken


# Each name on its own


@pytest.fixture(scope="module")
def study() -> Iterator[optuna.Study]:
    study = optuna.create_study(storage="sqlite://")
    yield study
    study._storage.remove_session()
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def test_every_private_name_that_is_used_is_listed_here() -> None:
    used = {use.name for file in OUR_FILES for use in uses(file.read_text("utf-8"))}
    listed = {part for path in (*IMPORTED, *ATTRIBUTES) for part in path.split(".")}
    assert used == set(filter(is_private, listed))


IMPORTED = (
    "optuna.distributions._convert_old_distribution_to_new_distribution",
    "optuna.storages._cached_storage._CachedStorage",
    "optuna.storages._cached_storage._StudyInfo",
    "optuna.storages._heartbeat.BaseHeartbeat",
    "optuna.storages._heartbeat.get_heartbeat_thread",
    "optuna.storages._heartbeat.is_heartbeat_enabled",
    "optuna.storages._rdb.models.TrialHeartbeatModel",
    "optuna.study._tell._tell_with_warning",
)
ATTRIBUTES: dict[str, type] = {  # `object`: to be there is enough
    "study._log_completed_trial": object,
    "study._storage": optuna.storages.BaseStorage,
    "study._storage._add_trials_to_cache": object,
    "study._storage._backend": optuna.storages.RDBStorage,
    "study._storage._backend.engine": object,
    "study._storage._backend.url": str,
    "study._storage._lock": object,
    "study._storage._studies": dict,
    "study._storage._study_id_and_number_to_trial_id": dict,
    "study._storage._trial_id_to_study_id_and_number": dict,
    "study._stop_flag": bool,
    "study._study_id": int,
    "study._thread_local.cached_all_trials": type(None),
    "study._thread_local.in_optimize_loop": bool,
    "trial._cached_frozen_trial": optuna.trial.FrozenTrial,
    "trial._fixed_params": dict,
    "trial._relative_params": type(None),
    "trial._suggest": object,
    "trial._trial_id": int,
    "frozen._trial_id": int,
    "partial._base_sampler": optuna.samplers.BaseSampler,
    "partial._fixed_params": dict,
    "journal._backend": optuna.storages.journal.BaseJournalBackend,
    "backoff._backend": FileSystemArtifactStore,
    "backoff._get_sleep_secs": object,
    "backoff._max_retries": int,
}


@pytest.mark.parametrize("path", IMPORTED)
def test_what_is_imported_from_private_modules_is_there(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("path", ATTRIBUTES)
def test_a_private_attribute_is_there_and_is_what_it_was(
    path: str, study: optuna.Study, tmp_path: Path
) -> None:
    trial = study.ask()
    backoff = Backoff(FileSystemArtifactStore(tmp_path))
    partial = optuna.samplers.PartialFixedSampler({}, study.sampler)
    objects = {
        "study": study,
        "trial": trial,
        "frozen": study.trials[0],
        "partial": partial,
        "backoff": backoff,
        "journal": journal_storage(tmp_path / "study.log"),
    }
    first, _, names = path.partition(".")
    assert isinstance(attrgetter(names)(objects[first]), ATTRIBUTES[path])


def test_a_live_trial_has_the_attributes_that_are_made_without_its_constructor(
    study: optuna.Study,
) -> None:
    assert set(vars(study.ask())) == {
        "study",
        "storage",
        "relative_search_space",
        "_cached_frozen_trial",
        "_fixed_params",
        "_relative_params",
        "_trial_id",
    }


def test_the_private_tell_takes_what_it_is_given() -> None:
    from optuna.study._tell import _tell_with_warning

    parameters = inspect.signature(_tell_with_warning).parameters
    assert list(parameters)[:4] == ["study", "trial", "value_or_values", "state"]
    assert {"skip_if_finished", "suppress_warning"} <= set(parameters)


def test_an_enqueued_trial_has_its_fixed_params_in_a_system_attr(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 1})
    assert study.trials[-1].system_attrs["fixed_params"] == {"x": 1}
