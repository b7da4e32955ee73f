"""Watching one job: replay for who comes back, merging for who reads slowly, one end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.jobs import event_log
from mismo_grpc.jobs.event_log import (
    Ended,
    Heartbeat,
    JobEventLog,
    JobView,
    SegmentsReady,
    WatchEvent,
    watch_events,
)
from mismo_grpc.jobs.events import Event, EventKind
from mismo_grpc.jobs.job import JobState, Priority, Progress, Stage, StageState, StageStatus
from mismo_grpc.separation.ranges import RangeSet
from tests.unit.jobs.store.test_store import a_job

PATIENCE = 10.0
DECODING = StageStatus(Stage.DECODE, StageState.RUNNING)


class Act:
    """A job that changes as told; `revision` counts from 1."""

    def __init__(self) -> None:
        self.job = a_job("a")
        self.log = JobEventLog(self.job.revision)
        self.progress = Progress()
        self.ready = RangeSet()

    def view(self) -> JobView:
        return JobView(self.job, self.progress, self.ready)

    def publish(self, kind: EventKind, body: Any = None, **changes: object) -> None:
        self.job = replace(self.job, revision=self.job.revision + 1, **changes)
        self.log.publish(Event(self.job.revision, 5.0, kind, body))

    def segment(self, start: int, end: int) -> None:
        self.ready = self.ready.union([(start, end)])
        self.publish(EventKind.SEGMENT_READY, ((start, end),))

    def end(self) -> None:
        self.publish(EventKind.TERMINAL, state=JobState.SUCCEEDED)

    def advance(self, done: int) -> None:
        self.progress = Progress(segments_done=done)
        self.log.touch()

    def watch(
        self, after: int = 0, *, replay: bool = False, heartbeat: float = 60.0, interval: float = 0.0
    ) -> AsyncGenerator[WatchEvent]:
        return watch_events(
            self.log,
            self.view,
            lambda: 7.0,
            after_revision=after,
            replay=replay,
            heartbeat=heartbeat,
            min_progress_interval=interval,
        )


async def following(events: AsyncIterator[WatchEvent]) -> WatchEvent:
    return await asyncio.wait_for(anext(events), PATIENCE)


async def all_of(events: AsyncIterator[WatchEvent]) -> list[WatchEvent]:
    async with asyncio.timeout(PATIENCE):
        return [event async for event in events]


def kinds(events: list[WatchEvent]) -> list[str]:
    return [type(event.body).__name__ for event in events]


async def test_a_watch_begins_with_a_snapshot_and_ends_with_the_end() -> None:
    act = Act()
    act.publish(EventKind.STAGE, DECODING)
    act.end()
    events = await all_of(act.watch())
    assert kinds(events) == ["JobView", "Ended"]
    assert [event.revision for event in events] == [3, 3]
    assert events[-1].body == Ended(act.view())


async def test_each_event_is_told_as_what_it_is() -> None:
    act = Act()
    async with aclosing(act.watch()) as events:
        assert kinds([await following(events), await following(events)]) == ["JobView", "Progress"]
        act.publish(EventKind.STAGE, DECODING)
        assert (await following(events)).body == DECODING
        act.segment(0, 10)
        assert (await following(events)).body == SegmentsReady(((0, 10),), "a-1")
        act.publish(EventKind.UPDATED, priority=Priority.HIGH)
        updated = await following(events)
        assert isinstance(updated.body, JobView)
        assert updated.body.job.priority is Priority.HIGH
        act.end()
        assert kinds(await all_of(events)) == ["Ended"]


async def test_who_comes_back_is_told_what_was_missed_and_no_snapshot() -> None:
    act = Act()
    act.publish(EventKind.STAGE, DECODING)
    act.segment(0, 10)
    act.end()
    events = await all_of(act.watch(2, replay=True))
    assert kinds(events) == ["SegmentsReady", "Ended"]
    assert [event.revision for event in events] == [3, 4]


@pytest.mark.parametrize("after", [0, 5, 99])
async def test_a_revision_that_cannot_be_replayed_gets_a_snapshot(after: int) -> None:
    act = Act()
    act.publish(EventKind.STAGE, DECODING)
    act.end()
    assert kinds(await all_of(act.watch(after, replay=True)))[0] == "JobView"


async def test_segments_in_a_row_are_merged_for_who_reads_late() -> None:
    act = Act()
    async with aclosing(act.watch(1, replay=True, interval=60.0)) as events:
        assert kinds([await following(events)]) == ["Progress"]
        for start, end in ((0, 10), (20, 30), (10, 20)):
            act.segment(start, end)
        act.publish(EventKind.STAGE, DECODING)
        act.segment(30, 40)
        bodies = [(await following(events)).body for _ in range(3)]
        assert bodies == [SegmentsReady(((0, 30),), "a-1"), DECODING, SegmentsReady(((30, 40),), "a-1")]


async def test_who_falls_behind_the_log_gets_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "REPLAY_EVENTS", 3)
    act = Act()
    async with aclosing(act.watch(1, replay=True, interval=60.0)) as events:
        assert kinds([await following(events)]) == ["Progress"]
        for _ in range(4):
            act.publish(EventKind.STAGE, DECODING)
        snapshot = await following(events)
        assert isinstance(snapshot.body, JobView)
        assert snapshot.revision == 5
        act.end()
        assert kinds(await all_of(events)) == ["Ended"]


async def test_progress_within_an_interval_is_told_once_at_its_end() -> None:
    act = Act()
    async with aclosing(act.watch(interval=0.05)) as events:
        assert kinds([await following(events), await following(events)]) == ["JobView", "Progress"]
        for done in (1, 2, 3):
            act.advance(done)
        assert (await following(events)).body == Progress(segments_done=3)


async def test_a_heartbeat_comes_when_nothing_else_does() -> None:
    act = Act()
    async with aclosing(act.watch(heartbeat=0.02)) as events:
        found = [await following(events) for _ in range(4)]
    assert kinds(found) == ["JobView", "Progress", "Heartbeat", "Heartbeat"]
    assert found[-1] == WatchEvent(1, 7.0, Heartbeat())


RANGES = st.tuples(st.integers(0, 50), st.integers(1, 10)).map(lambda r: (r[0], r[0] + r[1]))


@given(st.lists(RANGES, max_size=12), st.data())
def test_merged_or_not_every_frame_is_told(ranges: list[tuple[int, int]], data: st.DataObject) -> None:
    act = Act()
    for start, end in ranges:
        act.segment(start, end)
    after = data.draw(st.integers(1, act.log.revision))
    told = [tuple(event.body) for event in act.log.after(after) if isinstance(event.body, tuple)]
    expected = RangeSet(ranges[after - 1 :])
    assert RangeSet([r for body in told for r in body]) == expected
