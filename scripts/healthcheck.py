"""Checks with the gRPC health protocol whether a running server accepts jobs: exit status 0 (yes) or 1 (no).

Usage: healthcheck.py [HOST:PORT] [SERVICE]
"""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2


def serving(address: str, service: str = "", timeout: float = 3.0) -> bool:
    """Whether the service answers SERVING within `timeout` seconds."""
    with grpc.insecure_channel(address) as channel:
        # By name: the typed stubs of grpc_health declare the messages but not the methods.
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        except grpc.RpcError:
            return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING


def main(arguments: list[str]) -> int:
    """Returns 0 if the server accepts jobs, else 1."""
    address = arguments[0] if arguments else "127.0.0.1:50051"
    service = arguments[1] if len(arguments) > 1 else ""
    return 0 if serving(address, service) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
