"""Real servers for the tests of many workers; each is started once."""

from tests.parallel.clusters import two_nodes
from tests.servers import grpc_proxy, postgres

__all__ = ["grpc_proxy", "postgres", "two_nodes"]
