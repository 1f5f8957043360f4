"""Qdrant's gRPC health, by grpcio's own server. Both calls are answered without a key."""

from concurrent.futures import ThreadPoolExecutor

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # nor does this

TITLE = b"qdrant - vector search engine"


class GrpcHealth:
    """grpc.health.v1.Health and qdrant.Qdrant/HealthCheck on a free port of 127.0.0.1."""

    def __init__(self, version: str) -> None:
        self._server = grpc.server(ThreadPoolExecutor(max_workers=2, thread_name_prefix="grpc-health"))
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reply = _string(1, TITLE) + _string(2, version.encode())
        check = grpc.unary_unary_rpc_method_handler(lambda _, __: reply)
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("qdrant.Qdrant", {"HealthCheck": check})]
        )
        self.port = int(self._server.add_insecure_port("127.0.0.1:0"))
        self._server.start()

    def serving(self, serving: bool) -> None:
        """Say SERVING or NOT_SERVING from now on."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", "qdrant.Qdrant"):
            self._health.set(service, status)

    def stop(self) -> None:
        """End the server and its threads. Blocks for a moment."""
        self._server.stop(grace=None).wait()


def _string(number: int, text: bytes) -> bytes:
    """A protobuf field of type string, shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(text)]) + text
