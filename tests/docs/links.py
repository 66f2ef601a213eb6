"""The links of a page in HTML, and whether they lead somewhere.

python -m tests.docs.links    # lists the addresses outside of the project: nothing fetches them
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown import markdown

__all__ = ["MARKDOWN", "Page", "broken", "external", "read_html", "read_markdown"]

ROOT = Path(__file__).parents[2]
MARKDOWN = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@dataclass
class Page(HTMLParser):
    """What a page links to, and what can be linked to on it."""

    path: Path
    links: list[str] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of one tag."""
        found = dict(attrs)
        if found.get("id"):
            self.anchors.append(str(found["id"]))
        link = found.get("src") if tag in ("img", "script") else found.get("href")
        if link:
            self.links.append(link)


def read_html(path: Path) -> Page:
    """Read a page of the site."""
    page = Page(path)
    page.feed(path.read_text("utf-8"))
    return page


def read_markdown(path: Path) -> Page:
    """Read a file of Markdown as the site makes pages of it, references to the API apart."""
    page = Page(path)
    page.feed(markdown(path.read_text("utf-8"), extensions=["toc", "tables", "fenced_code"]))
    return page


def external(page: Page) -> list[str]:
    """Return the addresses that a page names outside of the project."""
    return sorted({link for link in page.links if urlsplit(link).netloc})


def broken(page: Page, pages: dict[Path, Page]) -> list[str]:
    """Return the links of a page to files that are not there, or to anchors that these lack.

    Args:
        page: The page.
        pages: All pages whose anchors are known, by their paths.
    """
    return sorted({link for link in page.links if not _leads_somewhere(link, page, pages)})


def _leads_somewhere(link: str, page: Page, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
    if target.is_dir() and (target / "index.html").is_file():
        target /= "index.html"
    anchor = unquote(parts.fragment)
    if not anchor:
        return target.exists()
    return target in pages and anchor in pages[target].anchors


if __name__ == "__main__":
    for file in MARKDOWN:
        for address in external(read_markdown(file)):
            sys.stdout.write(f"{file.relative_to(ROOT)}: {address}\n")
