"""Files and folders as checkpoints: what frameworks write themselves, streamed as a tar archive.

An archive holds regular files and folders, each behind the folder it is in, and nothing else. Links
are refused whatever they point to: where a link leads depends on where the folder is moved, and
`tarfile`'s own filters have let some pass.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path, PurePath
from typing import IO, cast

from epbt_optuna._internal.paths import AnyPath, local_path
from epbt_optuna.checkpoints.format import UnreadableError

__all__ = ["check_packable", "pack", "unpack", "until_the_end_of", "vacant"]

_ROOT = "content"  # a folder, or a file that an earlier version saved
_FILE = "file"  # a folder that holds one file, so that it keeps its name
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
}
_LATEST = 2**32  # seconds: times beyond it are no time that a file was written at


def check_packable(path: Path) -> None:
    """Raise unless `path` is a file, or a folder of nothing but files and folders.

    Raises:
        ValueError: There is something else, which could not be restored.
    """
    for _ in _entries(path, _ROOT, frozenset()):
        pass


def pack(path: Path, file: IO[bytes]) -> None:
    """Write a file or folder as an archive.

    Symbolic links are followed: what they point to may be gone when the archive is read.
    """
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        root = _ROOT
        if not path.is_dir():
            archive.addfile(_folder(_FILE))
            root = f"{_FILE}/{path.name}"
        for entry, name in _entries(path, root, frozenset()):
            status = entry.stat()
            info = _folder(name) if entry.is_dir() else tarfile.TarInfo(name)
            info.mtime, info.mode = status.st_mtime, 0o755 if status.st_mode & 0o100 else 0o644
            if entry.is_dir():
                archive.addfile(info)
            else:
                with entry.open("rb") as content:
                    info.size = os.fstat(content.fileno()).st_size
                    archive.addfile(info, content)


def unpack(file: IO[bytes], destination: Path, *, keep_name: bool = False) -> Path:
    """Restore the file or folder in an open archive at `destination`, whole or not at all.

    Args:
        file: The archive.
        destination: Where it is put; with `keep_name`, a single file is put into this folder.
        keep_name: Whether a single file keeps the name that it was saved under.

    Returns:
        Where it is.

    Raises:
        UnreadableError: The bytes are no such archive, or hold anything but files and folders
            of their own; nothing has been written then.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".epbt-") as folder:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                _restore(archive, _checked(archive, size), Path(folder))
        except (OSError, UnreadableError):  # of the first, nothing is wrong with the bytes
            raise
        except Exception as error:  # as when a state is read: not TarError alone
            raise UnreadableError(f"its files cannot be restored safely ({error})") from error
        unpacked = Path(folder) / _ROOT
        if not unpacked.exists():
            (unpacked,) = (Path(folder) / _FILE).iterdir()
        if keep_name and unpacked.is_file():
            destination.mkdir()
            destination /= unpacked.name
        os.replace(unpacked, destination)
    return destination


def vacant(destination: AnyPath | None) -> Path | None:
    """Return `destination` as an absolute path; None for none.

    Raises:
        ValueError: It exists, be it as a link to nothing, or is a URL.
    """
    if destination is None:
        return None
    target = local_path("destination", destination)
    if os.path.lexists(target):
        raise ValueError(f"`destination` must not exist yet but {target} does.")
    return target


def until_the_end_of(owner: object) -> Path:
    """Return a path in a new folder, which is removed with its owner, such as a live trial."""
    folder = tempfile.mkdtemp(prefix="epbt-")
    # Not `weakref.finalize`, which works by `atexit`: worker processes end without that, and a
    # child that an objective has forked would remove its parent's folder.
    Finalize(owner, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=0)
    return Path(folder) / "checkpoint"


def _folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info


def _entries(
    path: Path, name: str, within: frozenset[tuple[int, int]]
) -> Iterator[tuple[Path, str]]:
    """Yield a file, or a folder and all that is in it, with their names in the archive.

    Args:
        path: The file or folder.
        name: Its name in the archive.
        within: The folders that it is in, by device and inode.
    """
    if not path.is_file() and not path.is_dir():
        raise ValueError(f"`path` must hold only files and folders that exist but got {path}.")
    yield path, name
    if path.is_dir():
        status = path.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in within:
            raise ValueError(f"`path` must hold no link to a folder that it is in but got {path}.")
        for inner in sorted(path.iterdir()):
            yield from _entries(inner, f"{name}/{inner.name}", within | {identity})


def _checked(archive: tarfile.TarFile, size: int) -> list[tarfile.TarInfo]:
    """Return all that an archive of this many bytes holds, if it may be restored.

    Raises:
        UnreadableError: A name, kind or size is none that `pack` writes.
    """
    members: dict[str, tarfile.TarInfo] = {}
    for member in archive:  # one after the other: a size below zero makes `tarfile` go in circles
        parent, slash, last = member.name.rpartition("/")
        reason = None
        if member.type not in (*_FILES, tarfile.DIRTYPE) or member.issparse():
            reason = f"is {_KINDS.get(member.type, 'neither an ordinary file nor a folder')}"
        elif last in ("", ".", "..") or "\0" in last or PurePath(last).name != last:
            reason = "is no name of a file"
        elif member.name in members:
            reason = "is there twice"
        elif slash and not (parent in members and members[parent].isdir()):
            reason = "lies in no folder of the archive"
        elif not 0 <= member.size <= size - member.offset_data:
            reason = f"claims to have {member.size} bytes"
        if reason is not None:
            raise UnreadableError(f"its files cannot be restored safely: {member.name!r} {reason}")
        if not slash and last not in (_ROOT, _FILE):
            raise UnreadableError(f"it was not written by a CheckpointStore: it holds {last!r}")
        members[member.name] = member
    n_files = sum(not member.isdir() for member in members.values())
    if not members or (_FILE in members and (len(members), n_files) != (2, 1)):
        raise UnreadableError("it was not written by a CheckpointStore")
    return list(members.values())


def _restore(archive: tarfile.TarFile, members: list[tarfile.TarInfo], folder: Path) -> None:
    """Write what was checked, with nobody's rights but ours: whether a file can be executed."""
    for member in members:
        path = folder / member.name
        try:
            if member.isdir():
                path.mkdir()
                continue
            # `tarfile` gives no file for a folder alone.
            with path.open("xb") as file, cast(IO[bytes], archive.extractfile(member)) as content:
                shutil.copyfileobj(content, file)
            if member.mode & 0o100:
                mode = path.stat().st_mode
                path.chmod(mode | (mode & 0o444) >> 2)  # for whoever may read it
        except FileExistsError as error:  # two names may be one here, as "a" and "A" often are
            raise UnreadableError(
                f"its files cannot be restored here: {member.name!r} would be written twice"
            ) from error
    for member in reversed(members):  # a folder's time changes with what is written in it
        if 0 <= member.mtime < _LATEST:
            os.utime(folder / member.name, (member.mtime, member.mtime))
