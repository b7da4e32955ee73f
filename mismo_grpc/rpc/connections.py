"""The server's channel arguments: limits on what a connection may send, and on how long it stays open."""

from __future__ import annotations

from dataclasses import dataclass

MAX_MESSAGE_BYTES = 4 << 20
READ_AHEAD_BYTES = 256 << 10
MIN_KEEPALIVE_SECONDS = 10.0
"""A client that pings more often than this while it receives nothing is disconnected."""
PENDING_CALLS = 16_384
"""Calls of one method that wait to be accepted; grpc cancels further calls, without a status from this server."""


@dataclass(frozen=True)
class ConnectionTimes:
    """The times after which a connection is closed, in seconds."""

    handshake: float = 20.0
    """The wait for the client's HTTP/2 settings, and for its acknowledgement of the server's."""
    keepalive: float = 30.0
    """The server sends a keepalive ping if it receives nothing for this time."""
    keepalive_timeout: float = 15.0
    """The wait for the answer to the ping; an incomplete frame does not count as one."""
    idle: float = 300.0
    """The time without a call; an open stream counts as a call, also if it is paused."""


USUAL_TIMES = ConnectionTimes()


def server_options(times: ConnectionTimes) -> tuple[tuple[str, int], ...]:
    """Returns the channel arguments of the server."""
    return (
        # A second server on the same port must fail; otherwise the kernel would distribute connections over both.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # By default grpc drops some pending calls above 1,000. A limit on a connection's streams would not help: grpc
        # resets streams that arrive faster than it removes ended ones.
        ("grpc.server.max_pending_requests", PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS),
        # The bytes that a call may send before they are read. With BDP probing grpc would allow megabytes a call.
        ("grpc.http2.lookahead_bytes", READ_AHEAD_BYTES),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.server_handshake_timeout_ms", _milliseconds(times.handshake)),
        ("grpc.http2.settings_timeout", _milliseconds(times.handshake)),
        ("grpc.max_connection_idle_ms", _milliseconds(times.idle)),
        # Detects a player that lost its network within 45 s, also while nothing is sent.
        ("grpc.keepalive_time_ms", _milliseconds(times.keepalive)),
        ("grpc.keepalive_timeout_ms", _milliseconds(times.keepalive_timeout)),
        # This ends a connection whose peer acknowledges TCP but answers no ping; the option above is for a peer that
        # is gone.
        ("grpc.http2.ping_timeout_ms", _milliseconds(times.keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _milliseconds(MIN_KEEPALIVE_SECONDS)),
        ("grpc.http2.max_pings_without_data", 0),
    )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
