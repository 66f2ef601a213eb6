"""The names of checkpoints' bytes: whose they are, and which trial wrote them.

Only names of exactly this form are ever read, written or removed. A record in a database may name
anything, such as a path out of the folder, or a file of somebody else.
"""

from __future__ import annotations

import re
import uuid
from typing import NamedTuple

__all__ = ["ArtifactName", "new_token", "prefix_of"]

_FORM = re.compile(r"(epbt-[0-9a-f]{12}-)([0-9]{6,})(-[0-9a-f]{32}\.(?:pt|tar))")


class ArtifactName(NamedTuple):
    """A name, in its parts.

    Attributes:
        prefix: Of the study that owns the bytes.
        trial: Number of the trial that wrote them.
        ending: What tells the checkpoints of one trial apart, with the suffix of the kind.
    """

    prefix: str
    trial: int
    ending: str

    def __str__(self) -> str:
        return f"{self.prefix}{self.trial:06d}{self.ending}"

    @classmethod
    def drawn(cls, token: str, trial: int, suffix: str) -> ArtifactName:
        """Return a name that nothing has yet."""
        return cls(prefix_of(token), trial, f"-{uuid.uuid4().hex}.{suffix}")

    @classmethod
    def parsed(cls, text: str) -> ArtifactName | None:
        """Return the parts of a name; None if it is none of ours, to the letter."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        name = cls(match[1], int(match[2]), match[3])
        return name if str(name) == text else None

    @classmethod
    def of_file(cls, file: str) -> ArtifactName | None:
        """Return what a file in a folder is, or was to be before its writer was cut off."""
        is_temporary = file.startswith(".") and file.endswith(".tmp")
        return cls.parsed(file[1:-4] if is_temporary else file)

    @property
    def temporary(self) -> str:
        """The file that is written before it is given the name."""
        return f".{self}.tmp"

    def copied(self, token: str, trial: int) -> ArtifactName:
        """Return the name of a copy that another study has, in which the trial's number is this."""
        return self._replace(prefix=prefix_of(token), trial=trial)


def new_token() -> str:
    """Return a token that no study has yet."""
    return uuid.uuid4().hex[:12]


def prefix_of(token: str) -> str:
    """Return what the names of the checkpoints begin with that are saved under a token."""
    return f"epbt-{token}-"
