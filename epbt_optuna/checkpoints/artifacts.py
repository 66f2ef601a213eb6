"""Where checkpoints' bytes live: what all places have in common, and a local folder.

All write whole or not at all, and read through one open local file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from optuna.artifacts.exceptions import ArtifactNotFound

from epbt_optuna._internal.artifact_names import ArtifactName

__all__ = ["ArtifactStore", "Artifacts", "FolderArtifacts"]

# What file systems say that keep folders in another way (CIFS, FUSE), or let nobody list them.
_CANNOT_BE_SYNCHRONISED = {
    errno.EACCES,
    errno.EBADF,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EPERM,
}


class ArtifactStore(Protocol):
    """What Optuna's artifact stores (file system, S3, Google Cloud Storage) have in common."""

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact's bytes; `ArtifactNotFound` if there are none."""
        ...

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an artifact's bytes."""
        ...

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact."""
        ...


class Artifacts(Protocol):
    """Bytes under names."""

    def writing(self, artifact_id: str) -> AbstractContextManager[IO[bytes]]:
        """Open a file to write; its bytes are stored when the block ends without an error."""
        ...

    def reading(self, artifact_id: str) -> AbstractContextManager[IO[bytes]]:
        """Open a local file with the bytes; `ArtifactNotFound` if there are none."""
        ...

    def touch(self, artifact_id: str) -> None:
        """Make the bytes as young as if they had just been written; an error if they are gone."""
        ...

    def holds(self, artifact_id: str) -> bool:
        """Return whether bytes just written are there."""
        ...

    def remove(self, artifact_id: str) -> None:
        """Remove the bytes, if they are there."""
        ...

    def sweep(self, file: str, is_recorded: Callable[[], bool]) -> None:
        """Remove something that was listed, unless it is recorded by then."""
        ...

    def listing(self, prefixes: tuple[str, ...]) -> dict[str, os.stat_result] | None:
        """Return what there is that begins with a prefix; None where that cannot be known.

        What was begun and not finished is listed by another name.
        """
        ...

    def where(self, artifact_id: str) -> str:
        """Say where the bytes are, for messages."""
        ...


class FolderArtifacts:
    """Files in one folder: written beside, synchronised, then renamed, so never seen in part."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._was_there = False

    @contextmanager
    def writing(self, artifact_id: str) -> Iterator[IO[bytes]]:
        """Open a temporary file in the folder, and give it its name at the end."""
        path = self._path(artifact_id)
        temporary = path.with_name(f".{artifact_id}.tmp")
        if not self._was_there:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._was_there = True
        elif not self._folder.is_dir():
            raise FileNotFoundError("the folder is gone, with the checkpoints that it held")
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._synchronise_names()

    @contextmanager
    def reading(self, artifact_id: str) -> Iterator[IO[bytes]]:
        """Open the file itself, or the copy of it that a branch of its study has."""
        path = self._path(artifact_id)
        if not path.is_file():  # a record without its study cannot say which branch it is of
            name = ArtifactName.parsed(artifact_id)
            copies = [] if name is None else self._folder.glob(f"epbt-*{name.ending}")
            if (copy := next(iter(copies), None)) is None:
                raise ArtifactNotFound(f"{path} does not exist.")
            path = copy
        with path.open("rb") as file:
            self._was_there = True
            yield file

    def touch(self, artifact_id: str) -> None:
        """Set the file's times."""
        os.utime(self._path(artifact_id))

    def holds(self, artifact_id: str) -> bool:
        """Return whether the file is there."""
        try:
            self._path(artifact_id).stat()
        except OSError:  # nobody can say, so it is not relied on
            return False
        return True

    def remove(self, artifact_id: str) -> None:
        """Delete the file, if it is there."""
        self._path(artifact_id).unlink(missing_ok=True)

    def sweep(self, file: str, is_recorded: Callable[[], bool]) -> None:
        """Delete a file that is old, finished or not."""
        path = self._path(file)
        if is_recorded():
            return
        if not file.startswith("."):
            # Its writer may wake up now and record it. It looks whether the file is there after
            # that, and the records are read here after the file was moved: so either the record
            # is seen here, or the writer sees that the file is gone.
            path = path.replace(path.with_name(f".{file}.tmp"))
            is_wanted = True
            try:
                is_wanted = is_recorded()
            finally:
                if is_wanted:
                    path.replace(self._path(file))
            if is_wanted:
                return
        path.unlink(missing_ok=True)

    def listing(self, prefixes: tuple[str, ...]) -> dict[str, os.stat_result]:
        """Return the files by name, the temporary ones of dead writers included."""
        files: dict[str, os.stat_result] = {}
        if not self._was_there and not self._folder.exists():  # nothing was saved yet
            return files
        with os.scandir(self._folder) as entries:
            self._was_there = True
            for entry in entries:
                if entry.name.removeprefix(".").startswith(prefixes):
                    with suppress(OSError):  # another collector was faster; or for a moment
                        files[entry.name] = entry.stat()
        return files

    def where(self, artifact_id: str) -> str:
        """Return the file's path."""
        return str(self._folder / artifact_id)

    def _path(self, artifact_id: str) -> Path:
        if Path(artifact_id).name != artifact_id:  # a record may come from anybody's database
            raise ValueError(f"{artifact_id!r} is not the name of a file in {self._folder}.")
        return self._folder / artifact_id

    def _synchronise_names(self) -> None:
        """Make the new name survive a power cut, where the system and the file system can."""
        if os.name != "posix":
            return
        try:
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in _CANNOT_BE_SYNCHRONISED:
                raise
