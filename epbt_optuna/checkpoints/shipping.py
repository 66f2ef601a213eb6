"""Artifact stores on their way to other processes, and to other working directories.

A client of S3 holds a connection and cannot be pickled. So it is made anew where the store arrives,
or the user gives a function that makes the store.
"""

from __future__ import annotations

import copy
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

import cloudpickle
from optuna.artifacts import FileSystemArtifactStore

from epbt_optuna._internal.optuna import remove_artifact
from epbt_optuna._internal.paths import local_path
from epbt_optuna.checkpoints.artifacts import ArtifactStore

__all__ = ["LazyStore", "is_store", "shippable", "with_absolute_folders"]

_FACTORY = (
    "Pass CheckpointStore a function that makes the store in each process, for example "
    "`CheckpointStore(lambda: Boto3ArtifactStore('bucket'))`."
)


def is_store(value: Any) -> bool:
    """Return whether a value is an artifact store, and not a class of them."""
    names = ("open_reader", "write", "remove")
    return not isinstance(value, type) and all(hasattr(value, name) for name in names)


class LazyStore:
    """An artifact store that a function makes, once in each process, when it is first used.

    Args:
        make: Returns the store.
    """

    def __init__(self, make: Callable[[], ArtifactStore]) -> None:
        self._make = make
        self._made: dict[int, ArtifactStore] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> Any:
        return LazyStore, (self._make,)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact's bytes."""
        return self._store().open_reader(artifact_id)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an artifact's bytes."""
        self._store().write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact."""
        remove_artifact(self._store(), artifact_id)

    def _store(self) -> ArtifactStore:
        process = os.getpid()  # a forked process must not use its parent's connections
        with self._lock:
            if process not in self._made:
                store = self._make()
                if not is_store(store):
                    raise TypeError(f"`store` must make an artifact store but made {store!r}.")
                self._made[process] = with_absolute_folders(store)
            return self._made[process]


def with_absolute_folders(store: ArtifactStore) -> ArtifactStore:
    """Return a store whose files stay where they are when the working directory changes.

    Raises:
        ValueError: Its folder is a URL.
    """

    def absolute(owner: Any, value: Any) -> Any:
        is_folder = isinstance(owner, FileSystemArtifactStore) and isinstance(value, Path)
        return local_path("base_path", value) if is_folder and not value.is_absolute() else value

    stays: ArtifactStore = _with_parts(store, absolute)
    return stays


def shippable(store: ArtifactStore) -> ArtifactStore:
    """Return a store that can be pickled: clients of S3 in it are made anew where it arrives.

    Raises:
        TypeError: It cannot.
    """

    def anew(_: Any, value: Any) -> Any:
        return _S3Client.like(value) if _is_client(value) else value

    shipped: ArtifactStore = _with_parts(store, anew)
    try:
        cloudpickle.dumps(shipped)
    except Exception as error:  # a client of Google's, a lock: each has an error of its own
        raise TypeError(
            f"{type(store).__name__} cannot be sent to another process ({error}). {_FACTORY}"
        ) from error
    return shipped


def _with_parts(store: Any, change: Callable[[Any, Any], Any]) -> Any:
    """Return a store with some of its attributes changed, and those of stores that it wraps."""
    changed = {}
    for name, value in getattr(store, "__dict__", {}).items():
        part = _with_parts(value, change) if is_store(value) else change(store, value)
        if part is not value:
            changed[name] = part
    if not changed:
        return store
    store = copy.copy(store)
    vars(store).update(changed)
    return store


def _is_client(value: Any) -> bool:
    botocore = sys.modules.get("botocore.client")
    return botocore is not None and isinstance(value, botocore.BaseClient)


class _S3Client:
    """What a client becomes when it is pickled: its service, region, endpoint and configuration.

    Its credentials are left out. The new client takes them from its process's environment.
    """

    def __init__(self, service: str, options: dict[str, Any]) -> None:
        self._service = service
        self._options = options

    @classmethod
    def like(cls, client: Any) -> _S3Client:
        """Describe a client.

        Raises:
            TypeError: A new one would not be the same, as where this one was given its keys.
        """
        meta = client.meta
        service = meta.service_model.service_name
        options = {"region_name": meta.region_name, "config": meta.config}
        # Where the endpoint is AWS's own, naming it would make another one of it.
        for candidate in (options, {**options, "endpoint_url": meta.endpoint_url}):
            if _whom_it_asks(client) == _whom_it_asks(_make_client(service, candidate)):
                return cls(service, candidate)
        raise TypeError(
            "A client that was not made from the environment's credentials alone cannot be sent to "
            f"another process. {_FACTORY}"
        )

    def __reduce__(self) -> Any:
        return _make_client, (self._service, self._options)


def _make_client(service: str, options: dict[str, Any]) -> Any:
    import boto3

    return boto3.session.Session().client(service, **options)  # the default one is not for threads


def _whom_it_asks(client: Any) -> tuple[str, str, list[str]] | None:
    """Return host, path and key that a client signs for; None where it has no credentials."""
    from botocore.exceptions import NoCredentialsError

    try:
        signed = client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "key"})
    except NoCredentialsError:
        return None
    url = urlsplit(signed)
    query = parse_qs(url.query)
    key = query.get("AWSAccessKeyId") or query.get("X-Amz-Credential", [""])
    return url.netloc, url.path, key[0].split("/")[:1]
