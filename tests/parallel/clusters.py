"""A Ray cluster of several nodes on this machine, for tests and benchmarks."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import ray
from ray.cluster_utils import Cluster

from tests.parallel.runs import wait_until
from tests.untraced import untraced_children

__all__ = ["PATIENT", "Nodes", "nodes", "two_nodes"]

PATIENT = {"RAY_gcs_server_port_wait_time_s": "300", "RAY_raylet_start_wait_time_s": "300"}
"""Environment in which Ray waits for a node to start; by itself it gives up after half a minute."""


class Nodes:
    """The nodes, one core each; this process is connected to the first, which has none."""

    def __init__(self) -> None:
        with untraced_children():
            self._cluster = Cluster(
                initialize_head=True,
                head_node_args={
                    "num_cpus": 0,
                    "include_dashboard": False,
                    # A node that went away is noticed in a second: Ray's default is half a minute.
                    "_system_config": {
                        "health_check_initial_delay_ms": 0,
                        "health_check_period_ms": 200,
                        "health_check_failure_threshold": 5,
                    },
                },
            )
        self._nodes: list[Any] = []

    @property
    def address(self) -> str:
        """Where `ray.init` finds the cluster."""
        return str(self._cluster.address)

    def add(self, **resources: Any) -> None:
        """Start a node."""
        with untraced_children():
            self._nodes.append(self._cluster.add_node(**{"num_cpus": 1, **resources}))

    def remove(self, node_id: str) -> None:
        """Kill a node with all its processes, and wait until Ray has noticed."""
        node = next(node for node in self._nodes if node.node_id == node_id)
        self._nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)
        wait_until(lambda: not is_alive(node_id))

    def shut_down(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()  # type: ignore[no-untyped-call]


def is_alive(node_id: str) -> bool:
    """Return whether Ray believes so of a node."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return any(node["Alive"] for node in nodes if node["NodeID"] == node_id)


@contextmanager
def nodes(n_nodes: int) -> Iterator[Nodes]:
    """Start a cluster, and connect this process to it."""
    cluster = None
    # Ray also notes the newest cluster in its default folder, whatever folder a cluster is given,
    # and fails if nobody has made that one. So the default itself is ours: the note of a cluster
    # that somebody else runs on this machine stays as it is.
    folder = tempfile.mkdtemp(prefix="ray-")  # short, as paths of sockets must be
    with patch.dict(os.environ, RAY_TMPDIR=folder, OMP_NUM_THREADS="1", **PATIENT):
        try:
            cluster = Nodes()
            for _ in range(n_nodes):
                cluster.add()
            ray.init(address=cluster.address, logging_level=logging.WARNING, log_to_driver=False)
            yield cluster
        finally:
            ray.shutdown()
            if cluster is not None:
                cluster.shut_down()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[Nodes]:
    """A cluster of two nodes; a test that removes one adds another."""
    with nodes(2) as cluster:
        yield cluster
