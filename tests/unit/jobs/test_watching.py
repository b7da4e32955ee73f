"""Watching all jobs: whatever happens in between, a client that applies each message knows what the store knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mismo_grpc.errors import CursorExpiredError, StoreError
from mismo_grpc.jobs import change_feed
from mismo_grpc.jobs.cursor import decode_cursor
from mismo_grpc.jobs.event_log import Heartbeat, JobEventLog, JobView
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import Job, JobState, Priority, Progress
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.jobs.store.change_records import RemovedJob
from mismo_grpc.jobs.store.port import JobStore
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.jobs.watching import CaughtUp, JobsEvent, RunProgress, WatchedJobs, watch_jobs
from mismo_grpc.separation.ranges import RangeSet
from tests.support.memory_store import MemoryJobStore
from tests.unit.jobs.store.test_store import a_job

PATIENCE = 10.0
LEFT, RIGHT = {"deck": "left"}, {"deck": "right"}


class Desk:
    """Jobs that change as a server's do, without the work."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.now = 1000.0
        self.repository = JobRepository(store, lambda: self.now)
        self.runs = 0
        self.reads = 0

    def view(self, job: Job) -> JobView:
        active = self.repository.active.get(job.job_id)
        if active is not None and active.job.run_id == job.run_id:
            job = active.job
        return JobView(job, Progress(segments_done=job.segments_done), RangeSet())

    async def submit(self, job_id: str, labels: Mapping[str, str] = LEFT, **changes: object) -> None:
        """A new run, unless one is active."""
        if job_id in self.repository.active:
            return
        self.runs += 1
        earlier = self.store.get(job_id)
        revision = 1 if earlier is None else earlier.revision + 1
        run_id = f"{job_id}-{self.runs}"
        job = a_job(job_id, run_id=run_id, labels=labels, revision=revision, **changes)
        await self.repository.accept(job, "", "")
        if job.state.ended:
            self.repository.publish_ended(run_id)
        else:
            self.repository.active[job_id] = ActiveJob(job, JobEventLog(revision))

    async def change(self, job_id: str, kind: EventKind = EventKind.STAGE, **changes: object) -> None:
        """The next revision of an active job."""
        active = self.repository.active.get(job_id)
        if active is not None:
            await self.repository.record(active, lambda job: replace(job, **changes), kind)

    async def segment(self, job_id: str) -> None:
        active = self.repository.active.get(job_id)
        if active is not None:
            done = active.job.segments_done + 1
            await self.change(job_id, EventKind.SEGMENT_READY, segments_done=done)

    async def delete(self, job_id: str) -> None:
        await self.change(job_id, EventKind.TERMINAL, state=JobState.CANCELLED)
        await self.repository.remove(job_id)

    def watch(
        self, cursor: str = "", *, heartbeat: float = 60.0, interval: float = 60.0, **watched: Any
    ) -> AsyncGenerator[JobsEvent]:
        return watch_jobs(
            self.repository,
            self.view,
            WatchedJobs(**watched),
            cursor=cursor,
            heartbeat=heartbeat,
            min_progress_interval=interval,
        )


@pytest.fixture(params=["sqlite", "memory"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(SqliteJobStore(tmp_path / "jobs.db") if request.param == "sqlite" else MemoryJobStore())
    yield desk
    desk.repository.close()


async def following(events: AsyncIterator[JobsEvent]) -> JobsEvent:
    return await asyncio.wait_for(anext(events), PATIENCE)


async def up_to(events: AsyncIterator[JobsEvent], kind: type) -> list[JobsEvent]:
    """The events up to the first with a body of this kind."""
    found = [await following(events)]
    while not isinstance(found[-1].body, kind):
        found.append(await following(events))
    return found


def told(events: list[JobsEvent]) -> list[str]:
    """Job ids, those of removed jobs with a minus; the names of other events."""
    names: list[str] = []
    for event in events:
        match event.body:
            case JobView():
                names.append(event.body.job.job_id)
            case RemovedJob():
                names.append(f"-{event.body.job_id}")
            case body:
                names.append(type(body).__name__)
    return names


async def caught_up(desk: Desk, cursor: str = "", **watched: Any) -> list[JobsEvent]:
    async with aclosing(desk.watch(cursor, **watched)) as events:
        return await up_to(events, CaughtUp)


async def test_a_watch_begins_with_the_jobs_by_their_latest_change(desk: Desk) -> None:
    for job_id in "abc":
        await desk.submit(job_id)
    await desk.change("a", state=JobState.RUNNING)
    await desk.delete("b")
    events = await caught_up(desk)
    assert told(events) == ["c", "a", "CaughtUp"], "what was removed before is nothing to who begins"
    assert await caught_up(desk, events[-1].cursor)


async def test_a_cursor_leads_on_from_each_message(desk: Desk) -> None:
    for job_id in "abcd":
        await desk.submit(job_id)
    events = await caught_up(desk)
    await desk.delete("a")
    rests = [told(await caught_up(desk, event.cursor)) for event in events]
    assert rests == [
        ["b", "c", "d", "-a", "CaughtUp"],
        ["c", "d", "-a", "CaughtUp"],
        ["d", "-a", "CaughtUp"],
        ["-a", "CaughtUp"],
        ["-a", "CaughtUp"],
    ]


async def test_a_change_wakes_who_waits(desk: Desk) -> None:
    async with aclosing(desk.watch()) as events:
        assert told(await up_to(events, CaughtUp)) == ["CaughtUp"]
        for act, expected in (
            (desk.submit("a"), "a"),
            (desk.change("a", priority=Priority.HIGH), "a"),
            (desk.delete("a"), "-a"),
        ):
            waiting = asyncio.ensure_future(following(events))
            await act
            found = [await waiting]
            if expected == "-a" and told(found) == ["a"]:
                found = [await following(events)]
            assert told(found) == [expected]


async def test_nobody_hears_of_a_change_before_it_is_published(desk: Desk) -> None:
    """Nor of later ones, which would put the cursor past it."""
    await desk.submit("a")
    await desk.submit("b")
    async with aclosing(desk.watch()) as events:
        await up_to(events, CaughtUp)
        stored, release = asyncio.Event(), asyncio.Event()

        async def in_place() -> None:
            stored.set()
            await release.wait()

        ending = asyncio.ensure_future(
            desk.repository.record(
                desk.repository.active["a"],
                lambda job: replace(job, state=JobState.SUCCEEDED),
                EventKind.TERMINAL,
                before_publishing=in_place,
            )
        )
        await stored.wait()
        await desk.change("b", state=JobState.RUNNING)
        late = await caught_up_nearly(desk)
        assert late == []
        waiting = asyncio.ensure_future(following(events))
        release.set()
        await ending
        first, second = await waiting, await following(events)
        assert told([first, second]) == ["a", "b"]
        assert isinstance(first.body, JobView)
        assert first.body.job.state is JobState.SUCCEEDED


async def caught_up_nearly(desk: Desk) -> list[str]:
    """What a new watcher hears before its first heartbeat."""
    async with aclosing(desk.watch(heartbeat=0.05)) as events:
        return told(await up_to(events, Heartbeat))[:-1]


async def test_a_run_whose_result_is_not_in_its_place_is_not_told(desk: Desk) -> None:
    job = a_job("a", state=JobState.SUCCEEDED)
    await desk.repository.accept(job, "", "")
    assert await caught_up_nearly(desk) == []
    desk.repository.publish_ended(job.run_id)
    assert told(await caught_up(desk)) == ["a", "CaughtUp"]


async def test_progress_is_told_of_running_jobs_alone_and_of_what_came_later(desk: Desk) -> None:
    for job_id in ("runs", "waits", "other"):
        await desk.submit(job_id, RIGHT if job_id == "other" else LEFT)
    for job_id in ("runs", "other"):
        await desk.change(job_id, state=JobState.RUNNING)
        await desk.segment(job_id)
    async with aclosing(desk.watch(interval=0.0, heartbeat=0.2, labels=LEFT)) as events:
        assert told(await up_to(events, CaughtUp)) == ["waits", "runs", "CaughtUp"]
        for job_id in ("other", "waits", "runs"):
            await desk.segment(job_id)
        event = await following(events)
        run_id = desk.repository.active["runs"].job.run_id
        assert event.body == RunProgress("runs", run_id, Progress(segments_done=2))
        assert told([await following(events)]) == ["Heartbeat"]
        await desk.change("waits", state=JobState.RUNNING)
        assert told([await following(events)]) == ["waits"]
        await desk.segment("waits")
        assert told([await following(events)]) == ["RunProgress"]


async def test_progress_is_coalesced_for_an_interval(desk: Desk) -> None:
    await desk.submit("a")
    await desk.change("a", state=JobState.RUNNING)
    async with aclosing(desk.watch(interval=3600.0, heartbeat=3600.0)) as events:
        await up_to(events, CaughtUp)
        await desk.segment("a")
        first = await following(events)
        assert isinstance(first.body, RunProgress)
        for _ in range(5):
            await desk.segment("a")
        await desk.change("a", state=JobState.SUCCEEDED)
        # No progress within the hour, but the job, which brings it along.
        last = await following(events)
        assert isinstance(last.body, JobView)
        assert last.body.progress.segments_done == 6


async def test_a_heartbeat_brings_the_cursor_past_what_does_not_match(desk: Desk) -> None:
    async with aclosing(desk.watch(heartbeat=0.05, labels=RIGHT)) as events:
        begin = await following(events)
        await desk.submit("a", LEFT)
        position = desk.store.change_head().last_change
        while decode_cursor((event := await following(events)).cursor).position < position:
            assert isinstance(event.body, Heartbeat)
        assert decode_cursor(begin.cursor).position == 0


async def test_states_count_as_the_job_is_sent(desk: Desk) -> None:
    await desk.submit("a")
    async with aclosing(desk.watch(states=[JobState.QUEUED])) as events:
        assert told(await up_to(events, CaughtUp)) == ["a", "CaughtUp"]
        await desk.change("a", state=JobState.RUNNING)
        await desk.submit("b")
        assert told([await following(events)]) == ["b"], "one that stops matching is not reported"
        await desk.delete("a")
        assert told([await following(events)]) == ["-a"], "deleted ones are, in whatever state"


async def test_a_watcher_that_falls_behind_the_sweeper_must_begin_anew(desk: Desk) -> None:
    for job_id in "abc":
        await desk.submit(job_id)
    async with aclosing(desk.watch()) as events:
        begin = (await following(events)).cursor
    for job_id in "ab":
        await desk.delete(job_id)
    events = desk.watch(begin)
    await desk.repository.write(desk.store.forget_removed, 0.0, 1)
    with pytest.raises(CursorExpiredError):
        await following(events)
    behind = desk.watch()
    await following(behind)
    # This one began after the removals: they are nothing to it.
    assert told(await up_to(behind, CaughtUp)) == ["CaughtUp"]
    await behind.aclose()


async def test_many_watchers_share_one_look_at_the_store(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    changes = desk.store.changes

    def counted(after: int, *more: Any) -> Any:
        calls.append(after)
        return changes(after, *more)

    monkeypatch.setattr(desk.store, "changes", counted)
    watchers = [desk.watch() for _ in range(20)]
    for events in watchers:
        await up_to(events, CaughtUp)
    calls.clear()
    waiting = [asyncio.ensure_future(following(events)) for events in watchers]
    await asyncio.sleep(0)
    await desk.submit("a")
    assert told([await each for each in waiting]) == ["a"] * 20
    assert len(calls) == 1
    for events in watchers:
        await events.aclose()


async def test_a_store_that_fails_ends_the_watch_and_the_next_one_works(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise StoreError("the job store failed")

    async with aclosing(desk.watch()) as events:
        await up_to(events, CaughtUp)
        with monkeypatch.context() as patch:
            patch.setattr(desk.store, "changes", broken)
            await desk.submit("a")
            with pytest.raises(StoreError):
                await following(events)
    assert told(await caught_up(desk)) == ["a", "CaughtUp"]


# Any interleaving


class Client:
    """Applies messages; begins again where it stopped."""

    def __init__(self, desk: Desk, labels: Mapping[str, str]) -> None:
        self.desk = desk
        self.labels = labels
        self.cursor = ""
        self.jobs: dict[str, Job] = {}
        self.positions: list[int] = []
        self._reading: asyncio.Task[None] | None = None

    def connect(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())

    async def disconnect(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
            self._reading = None

    async def _read(self) -> None:
        async with aclosing(self.desk.watch(self.cursor, labels=self.labels)) as events:
            async for event in events:
                match event.body:
                    case JobView():
                        job = event.body.job
                        earlier = self.jobs.get(job.job_id)
                        assert earlier is None or earlier.revision <= job.revision, (
                            "an old one after a new one"
                        )
                        self.jobs[job.job_id] = job
                    case RemovedJob():
                        self.jobs.pop(event.body.job_id, None)
                    case _:
                        pass
                self.cursor = event.cursor
                self.positions.append(decode_cursor(event.cursor).position)
                # A message is handled, then the next one is read.
                await asyncio.sleep(0)

    def knows_all(self) -> bool:
        if self._reading is not None and self._reading.done():
            self._reading.result()
        return self.jobs == {
            job.job_id: job for job in self.desk.store.list(labels=self.labels, page_size=99)
        }


IDS = st.sampled_from(["a", "b", "c", "d", "e"])
DECKS = st.sampled_from([LEFT, RIGHT, LEFT | {"more": "x"}])
WHO = st.integers(0, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), IDS, DECKS),
        st.tuples(st.just("found"), IDS, DECKS),
        st.tuples(st.just("change"), IDS),
        st.tuples(st.just("end"), IDS),
        st.tuples(st.just("delete"), IDS),
        st.tuples(st.just("connect"), WHO),
        st.tuples(st.just("disconnect"), WHO),
        st.tuples(st.just("turns"), st.integers(1, 30)),
    ),
    max_size=30,
)


async def lived(desk: Desk, steps: list[tuple[object, ...]]) -> None:
    clients = [Client(desk, {}), Client(desk, LEFT)]
    for name, *arguments in steps:
        await _act(desk, clients, str(name), *arguments)
    for client in clients:
        client.connect()
    async with asyncio.timeout(PATIENCE):
        # No event tells when a client has nothing left to read.
        while not all(client.knows_all() for client in clients):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    for client in clients:
        await client.disconnect()
        assert client.positions == sorted(client.positions)
        # What another client is told that begins now.
        fresh = Client(desk, client.labels)
        for event in await caught_up(desk, labels=client.labels):
            if isinstance(event.body, JobView):
                fresh.jobs[event.body.job.job_id] = event.body.job
        assert fresh.jobs == client.jobs


async def _act(desk: Desk, clients: list[Client], name: str, *arguments: object) -> None:
    acts: dict[str, Callable[..., Coroutine[None, None, None]]] = {
        "submit": desk.submit,
        "found": partial(desk.submit, state=JobState.SUCCEEDED),
        "change": partial(desk.change, state=JobState.RUNNING),
        "end": partial(desk.change, kind=EventKind.TERMINAL, state=JobState.FAILED),
        "delete": desk.delete,
    }
    if name in acts:
        await acts[name](*arguments)
    elif name == "connect":
        clients[int(str(arguments[0]))].connect()
    elif name == "disconnect":
        await clients[int(str(arguments[0]))].disconnect()
    else:
        for _ in range(int(str(arguments[0]))):
            await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
@given(steps=STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_client_that_resumes_knows_what_the_store_knows(
    kind: str, steps: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where more changes than memory and pages hold."""
    monkeypatch.setattr(change_feed, "RECENT_CHANGES", 3)
    monkeypatch.setattr(change_feed, "PAGE_CHANGES", 2)
    monkeypatch.setattr(change_feed, "LOAD_INTERVAL_SECONDS", 0.0)
    with TemporaryDirectory() as folder:
        desk = Desk(SqliteJobStore(Path(folder) / "jobs.db") if kind == "sqlite" else MemoryJobStore())
        try:
            asyncio.run(lived(desk, steps))
        finally:
            desk.repository.close()
