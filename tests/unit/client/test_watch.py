"""A watcher hears of every event once, whatever happens to the stream."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from mismo.analysis.v1 import audio_pb2, job_pb2, job_service_pb2, stage_pb2
from mismo_client import AsyncClient, JobFailedError, MismoRpcError, RunReplacedError
from tests.unit.client.peer import Peer
from tests.unit.client.peer_status import break_off, fail, rich_error
from tests.unit.client.peer_transfer import JOB_ID


def ready(start: int, end: int) -> job_service_pb2.SegmentReady:
    return job_service_pb2.SegmentReady(ranges=[audio_pb2.FrameRange(start_frame=start, end_frame=end)])


def stage(state: stage_pb2.StageState) -> stage_pb2.StageStatus:
    return stage_pb2.StageStatus(stage=stage_pb2.STAGE_STEMS, state=state)


def progress(fraction: float) -> job_pb2.Progress:
    return job_pb2.Progress(fraction=fraction)


async def heard(client: AsyncClient, **options) -> list[tuple[int, str]]:
    return [(event.revision, event.WhichOneof("event")) async for event in client.watch(JOB_ID, **options)]


async def test_a_watch_ends_after_the_terminal_event(peer: Peer, client: AsyncClient) -> None:
    assert await heard(client) == [(9, "snapshot"), (9, "terminal")]


async def test_a_broken_watch_goes_on_after_the_last_revision_and_repeats_nothing(
    peer: Peer, client: AsyncClient
) -> None:
    async def first(request, context):
        yield peer.event(3, snapshot=peer.job())
        yield peer.event(4, stage=stage(stage_pb2.STAGE_STATE_RUNNING))
        yield peer.event(5, segment_ready=ready(0, 100))
        await break_off(context)

    async def second(request, context):
        # A server may well send again what it cannot know to have arrived.
        yield peer.event(5, segment_ready=ready(0, 100))
        yield peer.event(5, progress=progress(0.5))
        yield peer.event(6, segment_ready=ready(100, 200))

    async def third(request, context):
        yield peer.event(7, stage=stage(stage_pb2.STAGE_STATE_SUCCEEDED))
        yield peer.event(8, terminal=job_service_pb2.Terminal(job=peer.job()))

    peer.watch_script.extend([first, second, third])
    assert await heard(client) == [
        (3, "snapshot"),
        (4, "stage"),
        (5, "segment_ready"),
        (5, "progress"),
        (6, "segment_ready"),
        (7, "stage"),
        (8, "terminal"),
    ]
    asked = [(watch.after_revision, watch.server_epoch) for watch in peer.watches]
    assert asked == [(0, ""), (5, "epoch-1"), (6, "epoch-1")]


async def test_after_a_restart_of_the_server_a_snapshot_takes_over(peer: Peer, client: AsyncClient) -> None:
    async def first(request, context):
        yield peer.event(6, snapshot=peer.job())
        yield peer.event(7, segment_ready=ready(0, 100))

    async def after_restart(request, context):
        # The new server counts on from what it had stored, which was less than what it had told.
        yield peer.event(6, snapshot=peer.job())
        yield peer.event(7, segment_ready=ready(0, 100))
        yield peer.event(8, terminal=job_service_pb2.Terminal(job=peer.job()))

    peer.watch_script.extend([first, after_restart])
    events = []
    async for event in client.watch(JOB_ID):
        events.append((event.server_epoch, event.revision, event.WhichOneof("event")))
        if len(events) == 2:
            await peer.restart()
    assert events == [
        ("epoch-1", 6, "snapshot"),
        ("epoch-1", 7, "segment_ready"),
        ("epoch-2", 6, "snapshot"),
        ("epoch-2", 7, "segment_ready"),
        ("epoch-2", 8, "terminal"),
    ]
    assert (peer.watches[1].after_revision, peer.watches[1].server_epoch) == (7, "epoch-1")


async def test_a_restart_while_a_watch_waits_is_ridden_out(peer: Peer, client: AsyncClient) -> None:
    waiting = asyncio.Event()

    async def forever(request, context):
        yield peer.event(1, snapshot=peer.job())
        waiting.set()
        await asyncio.Event().wait()

    peer.watch_script.append(forever)
    watching = asyncio.create_task(heard(client))
    await waiting.wait()
    await peer.restart()
    assert await watching == [(1, "snapshot"), (9, "snapshot"), (9, "terminal")]


async def test_a_watch_begins_where_an_earlier_one_left_off(peer: Peer, client: AsyncClient) -> None:
    async def script(request, context):
        yield peer.event(5, segment_ready=ready(0, 1))
        yield peer.event(6, terminal=job_service_pb2.Terminal(job=peer.job()))

    peer.watch_script.append(script)
    events = await heard(client, after_revision=4, server_epoch="epoch-1", heartbeat_interval=2.5)
    assert events == [(5, "segment_ready"), (6, "terminal")]
    request = peer.watches[0]
    assert (request.after_revision, request.server_epoch) == (4, "epoch-1")
    assert request.heartbeat_interval.ToMilliseconds() == 2500


@pytest.mark.parametrize("heartbeats", [False, True])
async def test_heartbeats_are_heard_only_if_asked_for(
    peer: Peer, client: AsyncClient, heartbeats: bool
) -> None:
    async def script(request, context):
        yield peer.event(1, heartbeat=job_service_pb2.Heartbeat())
        yield peer.event(2, terminal=job_service_pb2.Terminal(job=peer.job()))

    peer.watch_script.append(script)
    kinds = [kind for _, kind in await heard(client, heartbeats=heartbeats)]
    assert kinds == (["heartbeat"] if heartbeats else []) + ["terminal"]


async def test_a_job_that_is_not_there_is_not_asked_for_again(peer: Peer, client: AsyncClient) -> None:
    async def script(request, context):
        await fail(context, rich_error(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", "no such job"))
        yield

    peer.watch_script.append(script)
    with pytest.raises(MismoRpcError, match="JOB_NOT_FOUND"):
        await heard(client)
    assert len(peer.watches) == 1


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_watch_ends_with_its_run(peer: Peer, client: AsyncClient, refuses: bool) -> None:
    async def first(request, context):
        yield peer.event(3, snapshot=peer.job())
        await break_off(context)

    # Also a server that answers with another run is not believed.
    peer.refuses_other_runs = refuses
    peer.watch_script.append(first)
    watch = client.watch(JOB_ID)
    assert (await anext(watch)).snapshot.run_id == "run-1"
    peer.run_again()
    with pytest.raises(RunReplacedError):
        await anext(watch)
    assert [asked.expected_run_id for asked in peer.watches] == ["", "run-1"]


async def test_the_run_is_known_from_a_ready_segment_too(peer: Peer, client: AsyncClient) -> None:
    async def first(request, context):
        yield peer.event(5, segment_ready=job_service_pb2.SegmentReady(run_id="run-1"))
        await break_off(context)

    peer.watch_script.append(first)
    assert await heard(client, after_revision=4, server_epoch="epoch-1") == [
        (5, "segment_ready"),
        (9, "snapshot"),
        (9, "terminal"),
    ]
    assert [asked.expected_run_id for asked in peer.watches] == ["", "run-1"]


async def test_leaving_early_ends_the_call(peer: Peer, client: AsyncClient) -> None:
    left = asyncio.Event()

    async def script(request, context):
        try:
            yield peer.event(1, snapshot=peer.job())
            await asyncio.Event().wait()
        finally:
            left.set()

    peer.watch_script.append(script)
    watch = client.watch(JOB_ID)
    await anext(watch)
    await watch.aclose()
    await left.wait()


async def test_waiting_for_a_job_returns_it_or_raises_its_error(peer: Peer, client: AsyncClient) -> None:
    running = peer.job(state=job_pb2.JOB_STATE_RUNNING)
    peer.jobs = [running]
    assert (await client.wait(JOB_ID)).state == job_pb2.JOB_STATE_SUCCEEDED
    assert peer.watches[0].expected_run_id == running.run_id

    failed = peer.job(state=job_pb2.JOB_STATE_FAILED)
    failed.error.CopyFrom(
        stage_pb2.JobError(
            code=grpc.StatusCode.INVALID_ARGUMENT.value[0], reason="EMPTY_AUDIO", message="no samples"
        )
    )

    async def script(request, context):
        yield peer.event(9, terminal=job_service_pb2.Terminal(job=failed))

    peer.watch_script.append(script)
    with pytest.raises(JobFailedError, match=r"job-1 failed: no samples \(EMPTY_AUDIO\)") as caught:
        await client.wait(JOB_ID)
    assert caught.value.error is not None
    assert caught.value.error.code is grpc.StatusCode.INVALID_ARGUMENT
