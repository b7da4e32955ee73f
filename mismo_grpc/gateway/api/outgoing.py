"""What waits to be sent to one client of Socket.IO: bounded, and only the newest progress of each job."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

from engineio import packet as engine_packet
from socketio import packet

from mismo_grpc.gateway.api.capabilities import NAMESPACE

MAX_QUEUED = 64
"""The most packets that wait for a client; one that lets more come together reads nothing, and is disconnected."""


class EventPacket(engine_packet.Packet):
    """An event of the namespace; it replaces a waiting one with the same `topic` ("": none). Encoded once for all."""

    def __init__(self, event: str, data: object, topic: str = "") -> None:
        event_packet = packet.Packet(packet.EVENT, data=[event, data], namespace=NAMESPACE, binary=False)
        encoded = cast("str", event_packet.encode())
        super().__init__(engine_packet.MESSAGE, data=encoded)
        self.topic = topic


class OutgoingQueue(asyncio.Queue[Any]):
    """The queue of one client of Engine.IO, which has no bound of its own. Packets over MAX_QUEUED are dropped."""

    _queue: deque[Any]

    def __init__(self) -> None:
        super().__init__()
        self.overflowed = False
        """Whether a packet was dropped, so that the client must be disconnected."""

    def put_nowait(self, item: Any) -> None:
        """Adds a packet (None ends the queue), or puts it in the place of an older one of its topic."""
        topic = getattr(item, "topic", "")
        if topic:
            for index, waiting in enumerate(self._queue):
                if getattr(waiting, "topic", "") == topic:
                    self._queue[index] = item
                    return
        ends = item is None or item.packet_type == engine_packet.CLOSE
        if not ends and self.qsize() >= MAX_QUEUED:
            self.overflowed = True
            return
        super().put_nowait(item)
