"""The connection to a server."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

MIB = 1 << 20


@dataclass(frozen=True)
class ChannelOptions:
    """Times in seconds, sizes in bytes.

    A message holds one chunk of at most 1 MiB, or a page of jobs.
    """

    keepalive_time: float = 30.0
    keepalive_timeout: float = 15.0
    max_message_bytes: int = 16 * MIB
    reconnect_initial: float = 0.1
    reconnect_longest: float = 2.0

    def grpc_options(self) -> list[tuple[str, int]]:
        """As grpcio wants them."""
        return [
            ("grpc.keepalive_time_ms", round(self.keepalive_time * 1000)),
            ("grpc.keepalive_timeout_ms", round(self.keepalive_timeout * 1000)),
            ("grpc.keepalive_permit_without_calls", 0),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            # gRPC's own default waits up to two minutes before it looks for a restarted server again.
            ("grpc.initial_reconnect_backoff_ms", round(self.reconnect_initial * 1000)),
            ("grpc.max_reconnect_backoff_ms", round(self.reconnect_longest * 1000)),
        ]


def open_channel(target: str, options: ChannelOptions) -> grpc.aio.Channel:
    """A channel to `host:port`; connects when it is first used."""
    return grpc.aio.insecure_channel(target, options=options.grpc_options())
