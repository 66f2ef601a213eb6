"""Paths that users give: of this machine, and the same wherever the working directory moves."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

__all__ = ["AnyPath", "local_path"]

AnyPath: TypeAlias = str | os.PathLike[str]
"""What users give as a path."""

# One letter is a drive of Windows; `Path` makes one slash of the two in a URL.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
_DATABASES = ("mysql", "postgresql", "sqlite")
_ARTIFACT_STORES = {"s3": "Boto3ArtifactStore", "gs": "GCSArtifactStore"}


def local_path(name: str, path: AnyPath) -> Path:
    """Return a path with `~` expanded and made absolute.

    An objective, or Hydra, may change the working directory later on.

    Args:
        name: The parameter, for the error.
        path: What the user gave for it.

    Raises:
        ValueError: It is a URL, of which a folder of that name would be made.
    """
    if match := _URL.match(str(path)):
        cure = _cure(*match.groups())
        raise ValueError(f"`{name}` must be a local path but got {str(path)!r}{cure}")
    return Path(os.path.expanduser(path)).absolute()


def _cure(scheme: str, rest: str) -> str:
    if scheme.lower() == "file":
        return f": write it as {unquote('/' + rest)!r}."
    if store := _ARTIFACT_STORES.get(scheme.lower()):
        made = f"CheckpointStore(optuna.artifacts.{store}({rest.partition('/')[0]!r}))"
        return f". For checkpoints in a bucket: {made}."
    if scheme.partition("+")[0].lower() in _DATABASES:
        return (
            ". A database's URL is a study's storage as it is: `create_study(storage=…)`. For "
            "checkpoints, pass a folder or an artifact store of Optuna's."
        )
    return (
        ". Mount it as a folder, or pass CheckpointStore an artifact store: any object that has "
        "Optuna's `open_reader`, `write` and `remove`."
    )
