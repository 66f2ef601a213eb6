"""Where checkpoints' bytes live: a local folder, or any of Optuna's artifact stores.

Both write whole or not at all, and read through one open local file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, cast

from optuna.artifacts.exceptions import ArtifactNotFound

from epbt_optuna._internal.optuna import remove_artifact

__all__ = ["ArtifactStore", "Artifacts", "FolderArtifacts", "StoreArtifacts", "artifacts_in"]


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

    def remove(self, artifact_id: str) -> None:
        """Remove the bytes, if they are there."""
        ...

    def listing(self, prefixes: tuple[str, ...]) -> dict[str, os.stat_result] | None:
        """Return what there is that begins with a prefix; None where that cannot be known."""
        ...

    def where(self, artifact_id: str) -> str:
        """Say where the bytes are, for messages."""
        ...


def artifacts_in(place: str | os.PathLike[str] | ArtifactStore) -> Artifacts:
    """Return the artifacts in a folder or an artifact store of Optuna's.

    Raises:
        TypeError: `place` is neither.
    """
    if isinstance(place, str | os.PathLike):
        return FolderArtifacts(Path(place))
    if all(hasattr(place, name) for name in ("open_reader", "write", "remove")):
        return StoreArtifacts(place)
    raise TypeError(f"`store` must be a path or an Optuna artifact store but got {place!r}.")


class FolderArtifacts:
    """Files in one folder: written beside, synchronised, then renamed, so never seen in part."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def writing(self, artifact_id: str) -> Iterator[IO[bytes]]:
        """Open a temporary file in the folder, and give it its name at the end."""
        path = self._path(artifact_id)
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{artifact_id}.tmp")
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
        """Open the file itself."""
        path = self._path(artifact_id)
        if not path.is_file():
            raise ArtifactNotFound(f"{path} does not exist.")
        with path.open("rb") as file:
            yield file

    def remove(self, artifact_id: str) -> None:
        """Delete the file, if it is there."""
        self._path(artifact_id).unlink(missing_ok=True)

    def listing(self, prefixes: tuple[str, ...]) -> dict[str, os.stat_result]:
        """Return the files by name, the temporary ones of dead writers included."""
        files: dict[str, os.stat_result] = {}
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.removeprefix(".").startswith(prefixes):
                    with suppress(FileNotFoundError):  # another collector was faster
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
        """Make the new name survive a power cut; only POSIX can."""
        if os.name == "posix":
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


class StoreArtifacts:
    """An artifact store of Optuna's, through a temporary local file on the way in and out."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    @contextmanager
    def writing(self, artifact_id: str) -> Iterator[IO[bytes]]:
        """Open a temporary file, and upload it at the end."""
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            self._store.write(artifact_id, cast(BinaryIO, _KeptOpen(file)))

    @contextmanager
    def reading(self, artifact_id: str) -> Iterator[IO[bytes]]:
        """Open a downloaded copy, deleted at the end; what is mapped into memory stays valid."""
        with tempfile.TemporaryFile() as file:
            try:
                with self._store.open_reader(artifact_id) as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            except ArtifactNotFound:
                raise
            except Exception as error:  # each store's client has errors of its own
                raise OSError(f"{type(error).__name__}: {error}") from error
            file.seek(0)
            yield file

    def remove(self, artifact_id: str) -> None:
        """Remove the artifact, if it is there."""
        with suppress(ArtifactNotFound):
            remove_artifact(self._store, artifact_id)

    def listing(self, prefixes: tuple[str, ...]) -> None:
        """Return None: Optuna's artifact stores cannot be listed."""

    def where(self, artifact_id: str) -> str:
        """Return the store and the artifact's id."""
        return f"{type(self._store).__name__}: {artifact_id}"


class _KeptOpen:
    """A file that `close` does not close: boto3 closes what it uploads, and nobody could retry."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def close(self) -> None:
        """Leave the file open."""
