"""The channel arguments of the server: what a connection may send, and how long it stays open."""

from __future__ import annotations

from dataclasses import dataclass

MAX_MESSAGE_BYTES = 4 << 20
READ_AHEAD_BYTES = 256 << 10
MIN_KEEPALIVE_SECONDS = 10.0
"""A client that pings more often than this while it receives nothing is disconnected."""
PENDING_CALLS = 16_384
"""Calls of one method that wait to be taken up; grpc cancels those above that, with no status of ours."""


@dataclass(frozen=True)
class ConnectionTimes:
    """When a connection is closed, in seconds."""

    handshake: float = 20.0
    """Without the client's HTTP/2 settings, or without its acknowledgement of the server's."""
    keepalive: float = 30.0
    """With nothing received for this long the client is asked for a sign of life."""
    keepalive_timeout: float = 15.0
    """Without an answer to that; half a frame is none."""
    idle: float = 300.0
    """Without a call; an open stream is one, also if it is paused."""


USUAL_TIMES = ConnectionTimes()


def server_options(times: ConnectionTimes) -> tuple[tuple[str, int], ...]:
    """The channel arguments of the server."""
    return (
        # A second server on the same port is an error, not a lottery between two.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # By default grpc drops some from 1,000 on. A bound on a connection's streams would not help: grpc resets
        # what comes faster than it forgets ended streams.
        ("grpc.server.max_pending_requests", PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS),
        # What a call may send before it is read. With the probe on, grpc lets each call send megabytes ahead.
        ("grpc.http2.lookahead_bytes", READ_AHEAD_BYTES),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.server_handshake_timeout_ms", _milliseconds(times.handshake)),
        ("grpc.http2.settings_timeout", _milliseconds(times.handshake)),
        ("grpc.max_connection_idle_ms", _milliseconds(times.idle)),
        # A player that lost its network is noticed within 45 s, also while nothing is sent.
        ("grpc.keepalive_time_ms", _milliseconds(times.keepalive)),
        ("grpc.keepalive_timeout_ms", _milliseconds(times.keepalive_timeout)),
        # What ends a connection whose TCP peer is there and answers no ping; the one above is for a peer that is gone.
        ("grpc.http2.ping_timeout_ms", _milliseconds(times.keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _milliseconds(MIN_KEEPALIVE_SECONDS)),
        ("grpc.http2.max_pings_without_data", 0),
    )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
