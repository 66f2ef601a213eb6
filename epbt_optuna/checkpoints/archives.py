"""Files and folders as checkpoints: what frameworks write themselves, streamed as a tar archive."""

from __future__ import annotations

import os
import tarfile
import tempfile
from pathlib import Path
from typing import IO

from epbt_optuna.checkpoints.format import UnreadableError

__all__ = ["check_packable", "pack", "unpack"]

_ROOT = "content"


def check_packable(path: Path) -> None:
    """Raise unless `path` is a file, or a folder of nothing but files and folders.

    Raises:
        ValueError: There is something else, which could not be restored.
    """
    for entry in (path, *path.rglob("*")):
        if not entry.is_file() and not entry.is_dir():
            raise ValueError(f"`path` must hold only files and folders that exist but got {entry}.")


def pack(path: Path, file: IO[bytes]) -> None:
    """Write a file or folder as an archive.

    Symbolic links are followed: what they point to may be gone when the archive is read.
    """
    with tarfile.open(
        fileobj=file, mode="w|", dereference=True, format=tarfile.PAX_FORMAT
    ) as archive:
        archive.add(path, arcname=_ROOT)


def unpack(file: IO[bytes], destination: Path) -> None:
    """Restore the file or folder in an open archive at `destination`, whole or not at all.

    Raises:
        UnreadableError: The bytes are no such archive, or would write outside of it.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".epbt-") as folder:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                archive.extractall(folder, filter="data")
        except OSError:  # nothing is wrong with the bytes
            raise
        except Exception as error:  # as when a state is read: not TarError alone
            raise UnreadableError(f"its files cannot be restored safely ({error})") from error
        unpacked = Path(folder) / _ROOT
        if not unpacked.exists():
            raise UnreadableError("it was not written by a CheckpointStore")
        os.replace(unpacked, destination)
