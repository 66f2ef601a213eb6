"""A real browser for tests: Debian's Chromium, driven by Playwright.

Where it is not installed its tests are skipped, except in CI, which installs it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect, sync_playwright

__all__ = ["browser_page"]

_PATIENCE = 120_000.0  # milliseconds; a busy machine draws slowly


@contextmanager
def browser_page(width: int, height: int) -> Iterator[Page]:
    """Lend a page of a new browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if "CI" in os.environ:
            pytest.fail("Chromium is not installed: apt-get install chromium")
        pytest.skip("Chromium is not installed.")
    # The path of its socket must be short, which that of a test's own folder is not.
    with sync_playwright() as playwright, tempfile.TemporaryDirectory(dir="/tmp") as folder:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], env={**os.environ, "TMPDIR": folder}
        )
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(_PATIENCE)
        expect.set_options(timeout=_PATIENCE)
        yield page
        browser.close()
