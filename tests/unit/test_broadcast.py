"""Waiters are woken in groups, none is forgotten, and none is woken for nothing after it has gone."""

from __future__ import annotations

import asyncio

from mismo_grpc.broadcast import WAKE_AT_ONCE, Broadcast

MANY = 10 * WAKE_AT_ONCE


async def test_all_are_woken_and_others_get_their_turn_in_between() -> None:
    broadcast, happened = Broadcast(), False
    woken: list[int] = []

    async def wait(number: int) -> None:
        assert await broadcast.wait(lambda: happened, None)
        woken.append(number)

    waiters = [asyncio.create_task(wait(number)) for number in range(MANY)]
    await asyncio.sleep(0)
    happened = True
    broadcast.notify()
    turns = 0
    while len(woken) < MANY:
        before = len(woken)
        await asyncio.sleep(0)
        assert len(woken) - before <= WAKE_AT_ONCE
        turns += 1
        assert turns < MANY
    await asyncio.gather(*waiters)
    assert woken == list(range(MANY)), "in the order in which they came"


async def test_a_beat_while_others_are_still_being_woken_wakes_those_who_wait_again() -> None:
    broadcast, count = Broadcast(), 0
    waiters = [asyncio.create_task(broadcast.wait(lambda: count >= 2, None)) for _ in range(MANY)]
    await asyncio.sleep(0)
    count = 1
    broadcast.notify()
    await asyncio.sleep(0)
    count = 2
    broadcast.notify()
    assert await asyncio.wait_for(asyncio.gather(*waiters), 5) == [True] * MANY


async def test_a_wait_that_times_out_or_is_cancelled_leaves_nothing_behind() -> None:
    broadcast = Broadcast()
    assert not await broadcast.wait(lambda: False, 0.01)
    assert not await broadcast.wait(lambda: False, 0.0)
    task = asyncio.create_task(broadcast.wait(lambda: False, None))
    await asyncio.sleep(0)
    task.cancel()
    results = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    broadcast.notify()
    assert not broadcast._waiting
    assert not broadcast._due
