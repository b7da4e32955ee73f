"""What clients of Socket.IO send is checked, and what waits for them is bounded."""

from __future__ import annotations

import pytest
from engineio import packet as engine_packet

from mismo_grpc.gateway.api.incoming import (
    MAX_PACKETS,
    MESSAGES_AT_ONCE,
    MESSAGES_PER_SECOND,
    Rate,
    are_acceptable,
    is_acceptable,
)
from mismo_grpc.gateway.api.outgoing import MAX_QUEUED, EventPacket, OutgoingQueue


@pytest.mark.parametrize(
    "packet",
    [
        "1",
        "2probe",
        "3",
        "5",
        "6",
        "40/progress,",
        '40/progress,{"token":"x"}',
        "41/progress,",
        '42/progress,["subscribe",{"job_id":"x"}]',
        '42/progress,7["subscribe"]',
        '42["subscribe"]',
        "43/progress,7[1]",
    ],
)
def test_packets_of_the_protocol_are_accepted(packet: str) -> None:
    assert is_acceptable(packet)


@pytest.mark.parametrize(
    "packet",
    [
        "",
        "x",
        "0",
        "7",
        "²",
        "4",
        "4x",
        "44/progress,",
        '451-/progress,["subscribe",{"_placeholder":true,"num":0}]',
        "46/progress,",
        "bAAAA",
        "42/progress,",
        "42/progress,[]",
        '42/progress,{"a":1}',
        "42/progress,7",
        '42/progress,["subscribe"',
        "42/progress," + "[" * 10_000,
        "2" + "x" * 100,
    ],
)
def test_other_packets_are_not(packet: str) -> None:
    assert not is_acceptable(packet)
    assert not are_acceptable(packet.encode())


def test_a_body_has_a_bounded_number_of_packets_in_utf8() -> None:
    assert are_acceptable("\x1e".join(["3"] * MAX_PACKETS).encode())
    assert not are_acceptable("\x1e".join(["3"] * (MAX_PACKETS + 1)).encode())
    assert not are_acceptable(b"4\xff")
    assert not are_acceptable(b"3\x1e")


def test_the_rate_of_a_client_is_bounded() -> None:
    now = 0.0
    rate = Rate(lambda: now)
    assert all(rate.take() for _ in range(int(MESSAGES_AT_ONCE)))
    assert not rate.take()
    now = 10.0
    assert rate.take(int(10 * MESSAGES_PER_SECOND) - 1)
    assert not rate.take(2)


def _texts(queue: OutgoingQueue) -> list[str]:
    return [queue.get_nowait().data for _ in range(queue.qsize())]


async def test_only_the_newest_progress_of_each_job_waits() -> None:
    queue = OutgoingQueue()
    for number in range(1000):
        for job in ("a", "b"):
            await queue.put(EventPacket("progress", number, topic=job))
    assert _texts(queue) == ['2/progress,["progress",999]'] * 2
    assert not queue.overflowed


async def test_a_client_that_reads_nothing_does_not_fill_memory() -> None:
    queue = OutgoingQueue()
    for number in range(1000):
        await queue.put(EventPacket("error", number))
        await queue.put(engine_packet.Packet(engine_packet.NOOP))
    assert (queue.qsize(), queue.overflowed) == (MAX_QUEUED, True)
    # What ends the connection is never dropped.
    await queue.put(engine_packet.Packet(engine_packet.CLOSE))
    await queue.put(None)
    assert queue.qsize() == MAX_QUEUED + 2
