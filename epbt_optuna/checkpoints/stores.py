"""Artifact stores of Optuna's as places for checkpoints."""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, BinaryIO, TypeAlias, cast

from optuna.artifacts.exceptions import ArtifactNotFound

from epbt_optuna._internal.optuna import remove_artifact
from epbt_optuna._internal.paths import local_path
from epbt_optuna.checkpoints.artifacts import Artifacts, ArtifactStore, FolderArtifacts
from epbt_optuna.checkpoints.shipping import (
    LazyStore,
    is_store,
    shippable,
    with_absolute_folders,
)

__all__ = ["Place", "StoreArtifacts", "artifacts_in"]

Place: TypeAlias = str | os.PathLike[str] | ArtifactStore | Callable[[], ArtifactStore]


def artifacts_in(place: Place) -> Artifacts:
    """Return the artifacts in a folder or an artifact store of Optuna's.

    Args:
        place: The folder or store, or a function without arguments that returns a store.

    Raises:
        TypeError: `place` is none of these.
        ValueError: It is a URL.
    """
    if isinstance(place, str | os.PathLike):
        return FolderArtifacts(local_path("store", place))
    if is_store(place):
        return StoreArtifacts(with_absolute_folders(cast(ArtifactStore, place)))
    if callable(place):
        try:
            inspect.signature(place).bind()
        except TypeError as error:
            raise TypeError(
                f"`store` must be called without arguments, if it makes the store, but {place!r} "
                f"needs some: {error}."
            ) from error
        return StoreArtifacts(LazyStore(place))
    raise TypeError(
        "`store` must be a path or an Optuna artifact store, or a function that makes one, but "
        f"got {place!r}."
    )


class StoreArtifacts:
    """An artifact store of Optuna's, through a temporary local file on the way in and out."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def __reduce__(self) -> Any:
        return StoreArtifacts, (shippable(self._store),)

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

    def touch(self, artifact_id: str) -> None:
        """Do nothing: artifacts that cannot be listed are not swept, however old they are."""

    def holds(self, artifact_id: str) -> bool:  # noqa: ARG002
        """Return True, for the same reason."""
        return True

    def sweep(self, file: str, is_recorded: Callable[[], bool]) -> None:
        """Do nothing: nothing is listed."""

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
