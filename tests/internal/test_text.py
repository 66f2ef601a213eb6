"""Text of others: what of it is shown, and how much."""

from __future__ import annotations

import io
import logging
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import epbt_optuna
from epbt_optuna._internal.text import cut, get_logger, printable

ANY_TEXT = st.text(st.characters() | st.sampled_from("\x1b\n\r\u202e\u2028\ud800"))


@given(ANY_TEXT)
def test_what_is_shown_is_printable_and_what_was_printable_is_unchanged(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert [c for c in shown if c not in ascii(text)] == [
        c for c in text if c.isprintable() and c not in ascii(text)
    ]
    assert printable(shown) == shown


def test_each_character_that_is_not_shown_as_itself_is_escaped_as_python_writes_it() -> None:
    assert printable("a\x1b[31mb\nc\u202ed\ud800 é 🐛") == r"a\x1b[31mb\nc\u202ed\ud800 é 🐛"
    assert printable("a\nb\r", keep="\n") == "a\nb\\r"


@given(st.text(), st.integers(60, 200))
def test_a_text_that_is_too_long_keeps_its_beginning_and_its_end(text: str, length: int) -> None:
    text = text * 20
    short = cut(text, length)
    assert len(short) <= length
    if len(text) <= length:
        assert short == text
    else:
        head, _, tail = short.partition(f" … (of {len(text):,} characters) … ")
        assert text.startswith(head)
        assert text.endswith(tail)
        assert len(head) > len(tail) > 0


@pytest.fixture
def log() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    logger = get_logger("epbt_optuna.test")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("WARNING:%(message)s"))
    logger.handlers = [handler]
    return logger, stream


def test_a_log_line_shows_names_escaped_and_no_part_of_it_looks_like_another_record(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = log
    forged = "s\x1b[2J\nWARNING:all is well\u202e"
    logger.warning("Study %s failed: %s, 100%%", forged, ValueError(forged))
    try:
        raise ValueError(forged)
    except ValueError:
        logger.exception("While it ended:")
    text = stream.getvalue()
    assert re.search(r"[^\n -~]", text) is None
    assert r"Study s\x1b[2J" in text
    assert "100%\n" in text
    assert "ValueError: s" in text
    assert [line[:10] for line in text.splitlines() if line.startswith("WARNING:")] == [
        "WARNING:St",
        "WARNING:Wh",
    ]


def test_an_error_with_a_batch_of_data_is_cut_in_the_log(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = log
    logger.warning("Trial 3 failed: %s", "x" * 5_000_000)
    assert stream.getvalue().startswith("WARNING:Trial 3 failed: xxx")
    assert len(stream.getvalue()) < 9_000


def test_every_logger_of_the_package_has_printable_lines() -> None:
    package = Path(epbt_optuna.__path__[0])
    # A progress bar makes way for the lines of the root's and Optuna's loggers; it writes none.
    own_lines = r"logging\.getLogger\((?!\"optuna\"\)|\))|logging\.get_logger|sys\.stderr\.write"
    other_loggers = re.compile(own_lines)
    own = package / "_internal" / "text.py"
    found = [path.name for path in package.rglob("*.py") if other_loggers.search(path.read_text())]
    assert found == [own.name]
    assert sys.modules[get_logger.__module__].__file__ == str(own)
