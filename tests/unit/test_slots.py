"""Slots go to the highest priority first, and none is lost when a waiter gives up."""

from __future__ import annotations

import asyncio

from mismo_grpc.slots import Slots


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_waiters_get_slots_by_priority_and_then_in_order() -> None:
    slots, served = Slots(1), list[str]()

    async def caller(name: str, priority: int) -> None:
        await slots.acquire(lambda: priority)
        served.append(name)

    await slots.acquire()
    assert slots.locked
    tasks = [
        asyncio.create_task(caller(name, priority))
        for name, priority in [("low", 1), ("normal", 2), ("other low", 1), ("high", 3), ("other high", 3)]
    ]
    await settled()
    assert served == []
    for _ in tasks:
        slots.release()
        await settled()
    assert served == ["high", "other high", "normal", "low", "other low"]
    slots.release()
    assert not slots.locked


async def test_the_priority_may_change_while_it_is_waited_for() -> None:
    slots, served = Slots(1), list[str]()
    priorities = {"a": 2, "b": 2, "c": 2}

    async def caller(name: str) -> None:
        await slots.acquire(lambda: priorities[name])
        served.append(name)

    await slots.acquire()
    tasks = [asyncio.create_task(caller(name)) for name in priorities]
    await settled()
    priorities |= {"a": 1, "c": 3}
    for _ in tasks:
        slots.release()
        await settled()
    assert served == ["c", "b", "a"]


async def test_a_waiter_that_is_cancelled_costs_no_slot() -> None:
    slots = Slots(1)
    await slots.acquire()
    waiting = asyncio.create_task(slots.acquire())
    await settled()
    waiting.cancel()
    await settled()
    slots.release()
    assert not slots.locked


async def test_a_slot_that_was_granted_to_a_cancelled_waiter_goes_to_the_next() -> None:
    slots = Slots(1)
    await slots.acquire()
    first, second = asyncio.create_task(slots.acquire()), asyncio.create_task(slots.acquire())
    await settled()
    slots.release()
    # Granted, but the task has not run since.
    first.cancel()
    await settled()
    assert first.cancelled()
    assert second.done()
    slots.release()
    assert not slots.locked


async def test_as_many_hold_a_slot_as_there_are() -> None:
    slots = Slots(2)
    await slots.acquire()
    assert not slots.locked
    await slots.acquire()
    assert slots.locked
