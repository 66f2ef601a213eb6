"""Text of others on its way to a terminal, a log or a database: names, categories, error messages.

A study's name or an error may hold anything. Escape sequences would move a terminal's cursor,
overrides of the writing direction would show a line as another one, and a lone surrogate cannot
be written at all.
"""

from __future__ import annotations

import logging
import re
import traceback

__all__ = ["cut", "get_logger", "printable", "without_passwords"]

# Up to the last `@` of the host's part; databases also take passwords with slashes.
_USER_AND_PASSWORD = re.compile(r"://(?:[^/?#\s]*|[^:/?#\s]*:[^@\s]*)@")
_MOST_CHARACTERS = 8_000  # of an error that is stored: a database's text column holds them


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text with every character that is not shown as itself escaped, as `\x1b`.

    Args:
        text: The text.
        keep: Characters that are left as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def without_passwords(text: str) -> str:
    """Return a text whose URLs name no user, nor a password or token."""
    return _USER_AND_PASSWORD.sub("://", text)


def cut(text: str, length: int = _MOST_CHARACTERS) -> str:
    """Return a text of at most this length: where it is too long, its beginning and its end."""
    if len(text) <= length:
        return text
    gap = f" … (of {len(text):,} characters) … "
    kept = length - len(gap)
    return text[: kept - kept // 4] + gap + text[len(text) - kept // 4 :]


def get_logger(name: str) -> logging.Logger:
    """Return the logger of this name below Optuna's own, whose lines are printable."""
    logger = logging.getLogger(f"optuna.{name}")
    logger.addFilter(_make_printable)  # once, however often it is added
    return logger


def _make_printable(record: logging.LogRecord) -> bool:
    record.msg, record.args = _lines(record.getMessage()), None
    if record.exc_info and record.exc_info[0] is not None:
        # What formatters show in place of `exc_info`, which they would format themselves.
        record.exc_text = _lines("".join(traceback.format_exception(*record.exc_info)).rstrip())
    return True


def _lines(text: str) -> str:
    """Return a text, such as a traceback, whose further lines cannot be taken for other records."""
    return printable(cut(text), keep="\n").replace("\n", "\n    ")
