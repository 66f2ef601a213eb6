"""The messages that the page of troubleshooting quotes are those of the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
QUOTED = re.findall(r"^> (.+)$", PAGE, re.MULTILINE)


def messages() -> Iterator[str]:
    """Every text in the package's code, with "…" for what is put into it."""
    for path in (ROOT / "epbt_optuna").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "…"
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"%[sdr]|%\.\df", "…", node.value)  # a message of the log


def test_every_message_that_is_quoted_is_one_of_the_package() -> None:
    known = list(messages())
    unknown = [quote for quote in QUOTED if not any(says(text, quote) for text in known)]
    assert unknown == []
    assert len(QUOTED) > 40


def says(text: str, quote: str) -> bool:
    """Whether a message says what is quoted, where "…" stands for anything."""
    parts = [part.strip() for part in quote.split("…")]
    return re.search(".*".join(map(re.escape, parts)), text, re.DOTALL) is not None


def test_a_message_that_has_changed_is_found() -> None:
    assert says("Trial … of study … is late.", "Trial … is late")
    assert not says("Trial … of study … is late.", "Trial … was late")
