"""Files and folders as checkpoints: what frameworks write themselves, streamed as a tar archive."""

from __future__ import annotations

import os
import tarfile
import tempfile
from pathlib import Path
from typing import IO

from epbt_optuna.checkpoints.format import UnreadableError

__all__ = ["check_packable", "pack", "unpack", "vacant"]

_ROOT = "content"  # a folder, or a file that an earlier version saved
_FILE = "file"  # a folder that holds one file, so that it keeps its name


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
        archive.add(path, arcname=_ROOT if path.is_dir() else f"{_FILE}/{path.name}")


def unpack(file: IO[bytes], destination: Path, *, keep_name: bool = False) -> Path:
    """Restore the file or folder in an open archive at `destination`, whole or not at all.

    Args:
        file: The archive.
        destination: Where it is put; with `keep_name`, a single file is put into this folder.
        keep_name: Whether a single file keeps the name that it was saved under.

    Returns:
        Where it is.

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
        for unpacked_file in (Path(folder) / _FILE).glob("*"):
            unpacked = unpacked_file
        if not unpacked.exists():
            raise UnreadableError("it was not written by a CheckpointStore")
        if keep_name and unpacked.is_file():
            destination.mkdir()
            destination /= unpacked.name
        os.replace(unpacked, destination)
    return destination


def vacant(destination: str | os.PathLike[str]) -> Path:
    """Return `destination` as a path.

    Raises:
        ValueError: It exists.
    """
    target = Path(destination)
    if target.exists():
        raise ValueError(f"`destination` must not exist yet but {target} does.")
    return target
