"""Names and texts as MLflow takes them, such that no two names become one."""

from __future__ import annotations

import hashlib
import json
import re
from posixpath import normpath
from typing import Any

__all__ = ["text_of", "user_tag", "valid_key"]

_KEY_LENGTH = 250
_TAG_LENGTH = 8000


def valid_key(name: str) -> str:
    """Return a name as MLflow lets params, metrics and tags have it.

    A name that must be changed ends in a hash of what it was: `lr(head)` and `lr[head]`, or two
    long names with one beginning, would else be one, and the second would replace the first.
    """
    key = re.sub(r"[^\w.\- /:]", "_", name)
    if normpath(key) != key or key.startswith(("/", "..")) or key == ".":  # MLflow makes it a path
        key = key.replace("/", "_").lstrip(".")
    if key == name and len(key) <= _KEY_LENGTH:
        return key
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{key[: _KEY_LENGTH - 9]}_{digest}"


def user_tag(name: str) -> str:
    """Return the name of a user's tag, away from MLflow's names and ours."""
    is_taken = name.removeprefix("user.").startswith(("mlflow.", "epbt."))
    return valid_key(f"user.{name}" if is_taken else name)


def text_of(value: Any, length: int = _TAG_LENGTH) -> str:
    """Return a value as a text of at most this length."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    except (TypeError, ValueError):  # keys that are no strings, or it contains itself
        text = str(value)
    text = text.encode(errors="replace").decode()  # a lone surrogate cannot be sent
    return text if len(text) <= length else text[: length - 1] + "…"
