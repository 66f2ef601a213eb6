"""Real servers for tests: PostgreSQL, Optuna's gRPC proxy in front of a storage, and S3.

Each is a process of its own, reachable on this machine only, keeps what it writes in a temporary
folder, and is gone at the end. Where PostgreSQL is not installed its tests are skipped, except in
CI, which installs it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.storages import GrpcStorageProxy, get_storage, run_grpc_proxy_server

from tests.untraced import untraced_children

__all__ = [
    "GrpcProxy",
    "PostgresServer",
    "S3Server",
    "grpc_proxy_server",
    "open_grpc",
    "postgres_server",
    "s3_server",
]

_REPOSITORY = Path(__file__).parent.parent
_START_SECONDS = 60.0


# PostgreSQL


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL server on a Unix socket.

    Attributes:
        folder: Where its socket is.
    """

    folder: Path

    def new_database(self) -> str:
        """Create an empty database and return its SQLAlchemy URL."""
        name = f"epbt_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        import psycopg  # a machine without PostgreSQL may lack its driver

        with psycopg.connect(
            host=str(self.folder), user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def postgres_programs() -> Path | None:
    """Return the folder with `initdb` and `postgres` of the newest version installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version)
    if versions:
        return versions[-1].parent
    on_path = shutil.which("postgres")
    return None if on_path is None else Path(on_path).parent


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server of our own, on a new data folder."""
    programs = postgres_programs()
    if programs is None:
        raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="epbt-postgres-"))  # a socket's path must be short
    account: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        account = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(folder, "postgres", "postgres")
    log = folder / "log"
    data = folder / "data"
    try:
        with log.open("wb") as output:
            common: dict[str, Any] = {"cwd": folder, "stdout": output, "stderr": output, **account}
            subprocess.run(
                [
                    *(str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust"),
                    *("--encoding=UTF8", "--no-locale", "--no-sync"),
                ],
                check=True,
                **common,
            )
            settings = ("listen_addresses=", "fsync=off")  # the server is never killed
            server: subprocess.Popen[bytes] = subprocess.Popen(
                [
                    *(str(programs / "postgres"), "-D", str(data), "-k", str(folder)),
                    *(argument for setting in settings for argument in ("-c", setting)),
                ],
                **common,
            )
        with _stopped_at_the_end(server, signal.SIGQUIT):  # at once: its data goes too
            result = PostgresServer(folder)
            _wait_until_ready(server, lambda: result.execute("SELECT 1"), log)
            yield result
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _version(program: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in program.parent.parent.name.split(".") if part.isdigit())


# The gRPC proxy


@dataclass(frozen=True)
class GrpcProxy:
    """A gRPC storage proxy on loopback.

    Attributes:
        url: `grpc://localhost:<port>`, as `open_grpc` takes it.
    """

    url: str


def open_grpc(url: str) -> GrpcStorageProxy:
    """Return a client of the proxy at `grpc://<host>:<port>`."""
    host, port = url.removeprefix("grpc://").rsplit(":", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return GrpcStorageProxy(host=host, port=int(port))


@contextmanager
def grpc_proxy_server(storage_url: str) -> Iterator[GrpcProxy]:
    """Run Optuna's gRPC proxy in front of the database at `storage_url`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = _start_this_module("grpc", storage_url, str(port))
    with _stopped_at_the_end(server, signal.SIGTERM):
        proxy = GrpcProxy(f"grpc://localhost:{port}")
        client = open_grpc(proxy.url)
        client.wait_server_ready(timeout=_START_SECONDS)
        client.close()
        yield proxy


def _serve_grpc(storage_url: str, port: int) -> None:
    warnings.simplefilter("ignore", ExperimentalWarning)
    run_grpc_proxy_server(get_storage(storage_url), host="localhost", port=port)


# S3


@dataclass(frozen=True)
class S3Server:
    """An S3 server on loopback.

    Attributes:
        url: Its endpoint.
    """

    url: str

    def client(self, **settings: Any) -> Any:
        """Return a boto3 client; `settings` are botocore's, such as `retries`."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(**settings),
        )

    def new_bucket(self) -> str:
        """Create an empty bucket and return its name."""
        name = f"epbt-{uuid.uuid4().hex}"
        client = self.client()
        client.create_bucket(Bucket=name)
        client.close()
        return name


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run moto's S3 server."""
    server = _start_this_module("s3")
    with _stopped_at_the_end(server, signal.SIGTERM):
        assert server.stdout is not None
        address = server.stdout.readline().decode().strip()
        assert address.startswith("http://"), f"moto did not start: {address!r}"
        yield S3Server(address)


def _serve_s3() -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()


# Processes


def _start_this_module(*arguments: str) -> subprocess.Popen[bytes]:
    """Run this module as a program; it ends when its standard input does, at our death too."""
    with untraced_children():
        return subprocess.Popen(
            [sys.executable, "-m", "tests.servers", *arguments],
            cwd=_REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def _stopped_at_the_end(server: subprocess.Popen[bytes], stop: signal.Signals) -> Iterator[None]:
    try:
        yield
    finally:
        server.send_signal(stop)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                pipe.close()


def _wait_until_ready(
    server: subprocess.Popen[bytes], probe: Callable[[], object], log: Path
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            probe()
            return
        except Exception as error:  # noqa: PERF203, to try again is the point
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The server did not start:\n{log.read_text()}") from error
            time.sleep(0.05)


def _main(arguments: list[str]) -> None:
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    if arguments[0] == "s3":
        _serve_s3()
        threading.Event().wait()
    else:
        _serve_grpc(arguments[1], int(arguments[2]))


def _end_with_standard_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


# Fixtures


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if postgres_programs() is None and not os.environ.get("CI"):
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def grpc_proxy(postgres: PostgresServer) -> Iterator[GrpcProxy]:
    """A gRPC proxy in front of a PostgreSQL database."""
    with grpc_proxy_server(postgres.new_database()) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


if __name__ == "__main__":
    _main(sys.argv[1:])
