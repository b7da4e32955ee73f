"""All jobs in one stream: nothing is lost behind the cursor, whatever happens to the stream."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import grpc
import pytest

from mismo.analysis.v1 import job_pb2, job_service_pb2
from mismo_client import AsyncClient, Client, CursorExpiredError, JobState
from tests.unit.client.peer import Peer
from tests.unit.client.peer_status import break_off, fail, rich_error

Response = job_service_pb2.WatchJobsResponse


def changed(peer: Peer, cursor: str, job_id: str) -> Response:
    return Response(cursor=cursor, job=peer.job(job_id))


def caught_up(cursor: str) -> Response:
    return Response(cursor=cursor, caught_up=job_service_pb2.CaughtUp())


async def heard(client: AsyncClient, count: int, **options) -> list[tuple[str, str]]:
    """Cursor and kind of so many events."""
    events: list[tuple[str, str]] = []
    async with aclosing(client.watch_jobs(**options)) as watch:
        async for event in watch:
            events.append((event.cursor, event.WhichOneof("event")))
            if len(events) == count:
                break
    return events


async def test_all_jobs_come_first_then_the_stream_is_live(peer: Peer, client: AsyncClient) -> None:
    peer.jobs = [peer.job("a"), peer.job("b")]
    options = {"labels": {"deck": "A"}, "states": [JobState.JOB_STATE_RUNNING], "min_progress_interval": 0.5}
    events = await heard(client, 3, **options)
    assert events == [("cursor-0", "job"), ("cursor-1", "job"), ("cursor-end", "caught_up")]
    (request,) = peer.jobs_watches
    assert (dict(request.labels), list(request.states)) == ({"deck": "A"}, [job_pb2.JOB_STATE_RUNNING])
    assert (request.cursor, request.min_progress_interval.ToMilliseconds()) == ("", 500)


async def test_a_broken_watch_goes_on_behind_the_last_handled_message(
    peer: Peer, client: AsyncClient
) -> None:
    async def first(request, context):
        yield changed(peer, "c1", "a")
        yield caught_up("c2")
        yield Response(
            cursor="c3",
            progress=job_service_pb2.JobProgress(job_id="a", progress=job_pb2.Progress(fraction=0.5)),
        )
        await break_off(context)

    async def second(request, context):
        yield Response(cursor="c4", deleted=job_service_pb2.JobDeleted(job_id="a", run_id="run-1"))
        yield caught_up("c5")

    async def third(request, context):
        yield changed(peer, "c6", "b")
        await asyncio.Event().wait()

    peer.jobs_script.extend([first, second, third])
    assert await heard(client, 5) == [
        ("c1", "job"),
        ("c2", "caught_up"),
        ("c3", "progress"),
        ("c4", "deleted"),
        ("c6", "job"),
    ], "that it caught up is told once"
    assert [watch.cursor for watch in peer.jobs_watches] == ["", "c3", "c5"]


async def test_a_message_that_is_still_handled_is_not_behind_the_cursor(
    peer: Peer, client: AsyncClient
) -> None:
    async def script(request, context):
        yield changed(peer, "c1", "a")
        yield changed(peer, "c2", "b")
        await asyncio.Event().wait()

    peer.jobs_script.extend([script, script])
    async with aclosing(client.watch_jobs(cursor="c0")) as watch:
        stored = (await anext(watch)).cursor
        await anext(watch)
    assert await heard(client, 1, cursor=stored) == [("c1", "job")]
    assert [watch.cursor for watch in peer.jobs_watches] == ["c0", "c1"]


async def test_a_restart_of_the_server_is_ridden_out(peer: Peer, client: AsyncClient) -> None:
    peer.jobs = [peer.job("a")]
    async with aclosing(client.watch_jobs()) as watch:
        assert [(await anext(watch)).cursor for _ in range(2)] == ["cursor-0", "cursor-end"]
        waiting = asyncio.ensure_future(anext(watch))
        await client.info()
        await peer.restart()
        assert (await waiting).job.job_id == "a"
    assert [watch.cursor for watch in peer.jobs_watches] == ["", "cursor-end"]


async def expired(request, context):
    status = rich_error(grpc.StatusCode.OUT_OF_RANGE, "CURSOR_EXPIRED", "the cursor is older than 7 days")
    await fail(context, status)
    yield


async def test_a_cursor_that_expired_is_an_error_of_its_own(peer: Peer, client: AsyncClient) -> None:
    peer.jobs_script.append(expired)
    with pytest.raises(CursorExpiredError, match="7 days"):
        await heard(client, 1, cursor="old")
    assert len(peer.jobs_watches) == 1


async def test_on_demand_all_jobs_come_anew_when_the_cursor_expired(peer: Peer, client: AsyncClient) -> None:
    async def before(request, context):
        yield changed(peer, "c1", "gone")
        yield caught_up("c2")
        await break_off(context)

    peer.jobs = [peer.job("a")]
    peer.jobs_script.extend([before, expired])
    known: set[str] = set()
    events: list[str] = []
    async with aclosing(client.watch_jobs(on_expired=known.clear)) as watch:
        async for event in watch:
            events.append(event.WhichOneof("event"))
            if event.HasField("job"):
                known.add(event.job.job_id)
            if events.count("caught_up") == 2:
                break
    assert events == ["job", "caught_up", "job", "caught_up"]
    assert known == {"a"}, "what was deleted meanwhile is forgotten"
    assert [watch.cursor for watch in peer.jobs_watches] == ["", "c2", ""]


@pytest.mark.parametrize("heartbeats", [False, True])
async def test_heartbeats_are_heard_only_if_asked_for(
    peer: Peer, client: AsyncClient, heartbeats: bool
) -> None:
    async def script(request, context):
        yield Response(cursor="c1", heartbeat=job_service_pb2.Heartbeat())
        yield caught_up("c2")
        await asyncio.Event().wait()

    peer.jobs_script.append(script)
    (first,) = await heard(client, 1, heartbeats=heartbeats)
    assert first == (("c1", "heartbeat") if heartbeats else ("c2", "caught_up"))


async def test_leaving_early_ends_the_call(peer: Peer, client: AsyncClient) -> None:
    left = asyncio.Event()

    async def script(request, context):
        try:
            yield caught_up("c1")
            await asyncio.Event().wait()
        finally:
            left.set()

    peer.jobs_script.append(script)
    assert await heard(client, 1) == [("c1", "caught_up")]
    await left.wait()


async def test_without_a_loop_it_is_the_same(peer: Peer) -> None:
    peer.jobs = [peer.job("a")]

    def watch() -> list[str]:
        with Client(peer.target) as client, client.watch_jobs() as events:
            return [next(events).cursor, next(events).cursor]

    assert await asyncio.to_thread(watch) == ["cursor-0", "cursor-end"]
