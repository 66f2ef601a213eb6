"""The site as a reader gets it: every link leads somewhere, every public name is there once."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager
from mkdocs.commands.build import build
from mkdocs.config import load_config

import epbt_optuna
from tests.docs.links import MARKDOWN, ROOT, Page, broken, external, read_html, read_markdown

pytestmark = pytest.mark.xdist_group("docs")

REPOSITORY = ProjectMetadata(str(ROOT), PluginManager()).core.urls["Repository"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The pages of the site, built once and strictly: a warning of MkDocs' is an error."""
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return {path: read_html(path) for path in folder.rglob("*.html") if path.name != "404.html"}


@pytest.mark.filterwarnings("ignore")  # MkDocs and its plugins have theirs
def test_every_link_and_anchor_of_the_site_exists(site: dict[Path, Page]) -> None:
    wrong = {str(path): links for path, page in site.items() if (links := broken(page, site))}
    assert wrong == {}
    assert sum(len(page.links) for page in site.values()) > 1000


def test_every_link_and_anchor_of_a_file_of_markdown_exists() -> None:
    pages = {path: read_markdown(path) for path in MARKDOWN}
    # References to the API, and to what stands on its page, are made by the site alone.
    wrong = {
        str(path.relative_to(ROOT)): links
        for path, page in pages.items()
        if (links := [link for link in broken(page, pages) if "api.md#epbt_optuna" not in link])
    }
    assert wrong == {}


def test_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "# One\n[a](#one) [b](page.md#two) [c](other.md) ![d](d.png) [e](https://e.org)"
    )
    page = read_markdown(path)
    assert broken(page, {path: page}) == ["d.png", "other.md", "page.md#two"]
    assert external(page) == ["https://e.org"]


def test_addresses_outside_are_safe_and_those_of_the_project_come_from_one_constant() -> None:
    addresses = {link for path in MARKDOWN for link in external(read_markdown(path))}
    assert all(link.startswith("https://") for link in addresses)
    own = {link for link in addresses if re.search(r"epbt[-_]optuna", link)}
    assert all(link.startswith(REPOSITORY) for link in own)


def public_objects() -> dict[str, Any]:
    """Every public name, its most convenient one, with what it means."""
    packages = re.findall(r"^from \. import (\w+) as", _interface(), re.MULTILINE)
    names = {f"epbt_optuna.{name}": getattr(epbt_optuna, name) for name in epbt_optuna.__all__}
    modules = [importlib.import_module(f"epbt_optuna.{name}") for name in packages]
    modules.append(importlib.import_module("epbt_optuna.visualization.matplotlib"))
    for module in modules:
        if module.__name__ != "epbt_optuna.cli":  # the command has a page of its own
            names |= {f"{module.__name__}.{name}": getattr(module, name) for name in module.__all__}
    return {name: value for name, value in names.items() if not hasattr(value, "__path__")}


def _interface() -> str:
    return (ROOT / "epbt_optuna" / "__init__.pyi").read_text("utf-8")


def meaning(anchor: str) -> Any:
    """What the heading of an API entry names; None for what only instances have."""
    parts = anchor.split(".")
    if parts[-2:-1] == parts[-1:]:  # a function with its module's name hides that module
        parts.pop()
    found: Any = epbt_optuna
    for name in parts[1:]:
        found = getattr(found, name, None)
    return found


@pytest.mark.filterwarnings("ignore")
def test_every_public_name_is_documented_once(site: dict[Path, Page]) -> None:
    (path,) = (path for path in site if path.parent.name == "api")
    headings = re.findall(r'<h\d id="([^"]+)" class="doc', path.read_text("utf-8"))
    documented = Counter(id(meaning(heading)) for heading in headings)
    wrong = {
        name: documented[id(value)]
        for name, value in public_objects().items()
        if documented[id(value)] != 1
    }
    assert wrong == {}
    assert len(public_objects()) > 80
