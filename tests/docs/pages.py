"""Runs the blocks of a page of the documentation, in their order, as one program.

What a reader types is in blocks of ```python, and in lines of ```console that begin with `epbt`.
What a page needs besides, such as a small study to look at, stands in comments, which are run and
not shown:

    <!-- python
    study = ...
    -->

A block that cannot run everywhere is only compiled. The comment above it says why:

    <!-- not run: needs a cluster -->
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from epbt_optuna.cli import main

__all__ = ["PAGES", "ROOT", "n_unseen", "run"]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+) -->\n)?"
    r"(?:```(?P<kind>python|console)|<!-- (?P<hidden>python))\n(?P<code>(?s:.*?))^(?:```|-->)$",
    re.MULTILINE,
)


def run(page: Path) -> dict[str, Any]:
    """Run a page in the working directory, and return the names that its blocks have defined."""
    text = page.read_text(encoding="utf-8")
    # Functions of `__main__` go to worker processes by value, as those of a user's program do.
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in _BLOCK.finditer(text):
        if block["kind"] == "console":
            if block["reason"] is None:
                _run_commands(block["code"])
            continue
        above = "\n" * text.count("\n", 0, block.start("code"))  # an error names the page's line
        code = compile(above + block["code"], str(page), "exec", dont_inherit=True)
        if block["reason"] is None:
            exec(code, names)
    return names


def _run_commands(lines: str) -> None:
    for line in lines.splitlines():
        command, *arguments = shlex.split(line, comments=True) or [""]
        if command == "epbt":
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, f"{line}\n{result.output}"


def n_unseen(page: Path) -> int:
    """Count the Python blocks that `run` passes over, for instance because they are indented."""
    text = page.read_text(encoding="utf-8")
    seen = [block for block in _BLOCK.finditer(text) if block["kind"] == "python"]
    return len(re.findall(r"^\W*(?:```|~~~) *py", text, re.MULTILINE)) - len(seen)
