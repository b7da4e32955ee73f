"""Checks what clients of Socket.IO send before the library sees it.

The library would collect attachments without a bound, and end a connection with a traceback for a malformed packet.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from engineio import packet as engine_packet
from socketio import packet

MAX_MESSAGE_BYTES = 16 << 10
"""The longest message that is read; longer ones are dropped, and their client is told."""
MAX_DROPPED_BYTES = 4 << 20
"""The most bytes of one request that are read and dropped."""
MAX_PACKETS = 64
"""The most packets in one request; clients send together what they have collected meanwhile."""
MESSAGES_PER_SECOND = 10.0
MESSAGES_AT_ONCE = 100.0
_SEPARATOR = "\x1e"


def is_acceptable(encoded: str) -> bool:
    """Whether a packet of Engine.IO is well formed, and without attachments."""
    kind, body = encoded[:1], encoded[1:]
    if kind not in ("1", "2", "3", "4", "5", "6"):
        return False
    if int(kind) != engine_packet.MESSAGE:
        return len(body) <= 64
    if body[:1] not in ("0", "1", "2", "3"):
        return False
    if int(body[0]) not in (packet.EVENT, packet.ACK):
        return True
    return _is_list(body[1:])


def _is_list(text: str) -> bool:
    """Whether the data of an event or ACK, after its namespace and id, is a list that is not empty."""
    if text.startswith("/"):
        text = text.partition(",")[2]
    text = text.lstrip("0123456789")
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, list) and data != []


def are_acceptable(payload: bytes) -> bool:
    """Whether the body of a POST has well-formed packets, and not too many."""
    try:
        packets = payload.decode().split(_SEPARATOR)
    except UnicodeDecodeError:
        return False
    return len(packets) <= MAX_PACKETS and all(map(is_acceptable, packets))


class Rate:
    """The messages of one client: on average at most MESSAGES_PER_SECOND."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or asyncio.get_running_loop().time
        self._left = MESSAGES_AT_ONCE
        self._at = self._clock()

    def take(self, count: int = 1) -> bool:
        """Counts messages; False if there were too many."""
        now = self._clock()
        self._left = min(MESSAGES_AT_ONCE, self._left + (now - self._at) * MESSAGES_PER_SECOND) - count
        self._at = now
        return self._left >= 0
