"""Real servers for every integration test that asks for one; each is started once."""

from tests.servers import grpc_proxy, postgres, s3

__all__ = ["grpc_proxy", "postgres", "s3"]
