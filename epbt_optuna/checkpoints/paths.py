"""Where in a state a value is: kept as links, written out only for an error."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["KeyPath", "shown"]

_LONGEST = 200


class KeyPath(NamedTuple):
    """A step from a container to a value in it.

    Attributes:
        parent: The steps that lead to the container; None at the state itself.
        form: How the step is written, with `{}` for what comes before and `{key}`.
        key: The key, index or attribute.
    """

    parent: KeyPath | None = None
    form: str = "state"
    key: Any = None

    def item(self, key: Any) -> KeyPath:
        """Return the path to a value under a key or an index."""
        return KeyPath(self, "{}[{key!r}]", key)

    def attribute(self, name: str) -> KeyPath:
        """Return the path to an attribute."""
        return KeyPath(self, "{}.{key}", name)

    def within(self, what: str) -> KeyPath:
        """Return the path to what has no name of its own, such as one of the keys."""
        return KeyPath(self, what + " of {}")


def shown(path: KeyPath) -> str:
    """Write a path out; of a long one, both ends."""
    steps = [path]
    while steps[-1].parent is not None:
        steps.append(steps[-1].parent)
    text = ""
    for step in reversed(steps):
        text = step.form.format(text, key=step.key)
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}"
