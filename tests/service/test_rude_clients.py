"""Clients that vanish, grant nothing, seek like mad or speak nonsense: the server stays whole and holds nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import grpc
import pytest

from mismo.analysis.v1 import transfer_service_pb2
from tests.service.conftest import Server, StartServer
from tests.support.calls import PATIENCE, Client, StemSession, ready_ranges, refused, seconds, until
from tests.support.tracks import RATE, write_track

Messages = list[transfer_service_pb2.StreamStemsRequest]


async def half_done(server: Server, music: Path, length: float = 6.0) -> str:
    """A job that stands before its next segment, some are done."""
    server.device.close()
    await server.client.submit(write_track(music / "a.wav", length), job_id="job")
    server.device.allow(3)
    await server.device.passed_at_least(3)
    await server.device.someone_waits()
    return "job"


def players(server: Server) -> int:
    """Whom the scheduler follows."""
    separation = server.app.repository.active["job"].separation
    assert separation is not None
    return len(separation.scheduled.playheads)


async def test_a_player_that_vanishes_leaves_nothing_behind(server: Server, music: Path) -> None:
    job_id = await half_done(server, music)
    strangers = [Client(f"127.0.0.1:{server.app.grpc_port}") for _ in range(4)]
    sessions = [client.stream(job_id, follow=True, start_frame=4 * RATE) for client in strangers]
    for session in sessions:
        await session.__aenter__()
        await session.next_of("not_ready")
    assert players(server) == 4
    # One cancels, one closes the connection, one is forgotten by its event loop, one waits for audio.
    sessions[0].call.cancel()
    await strangers[1].close()
    await strangers[2].channel.close(grace=0)
    await strangers[3].channel.close()
    await until(lambda: players(server) == 0)
    server.device.open()
    await server.client.succeeded(job_id)
    await server.idle()
    await server.nothing_is_held()
    for client in strangers:
        await client.close()


async def test_readers_and_watchers_that_vanish_leave_nothing_behind(server: Server, music: Path) -> None:
    job_id = await half_done(server, music)
    stranger = Client(f"127.0.0.1:{server.app.grpc_port}")
    request = transfer_service_pb2.ReadStemRequest(job_id=job_id, stem_name="bass", follow=True)
    reading = stranger.transfer.ReadStem(request)
    assert (await reading.read()).info.total_frames == 6 * RATE
    watching = stranger.watch(job_id)
    assert (await watching.read()).HasField("snapshot")
    assert server.app.runs.held_runs
    await stranger.close()
    await until(lambda: not server.app.runs.held_runs)
    await until(lambda: server.app.server.streams.count == 0)
    server.device.open()
    await server.client.succeeded(job_id)


async def test_a_client_that_grants_no_credit_is_ended_and_holds_nothing(
    start: StartServer, music: Path
) -> None:
    server = await start(stream_idle_seconds=0.3)
    await server.client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    await server.client.succeeded("job")
    for credit in (0, 5000):
        session = server.client.stream("job", credit_bytes=credit)
        await session.__aenter__()
        received = 0

        async def read_on(session: StemSession = session) -> None:
            nonlocal received
            while (message := await session.call.read()) is not grpc.aio.EOF:
                received += len(message.chunk.data)
            assert await session.call.code() is not grpc.StatusCode.OK
            raise AssertionError("no error came")

        refusal = await refused(read_on())
        assert (refusal.code, refusal.reason) == ("DEADLINE_EXCEEDED", "STREAM_IDLE")
        assert received <= credit
    await server.nothing_is_held()


async def test_a_client_that_reads_nothing_is_ended(start: StartServer, music: Path) -> None:
    """Credit without end, and not one message taken from the connection."""
    server = await start(stream_idle_seconds=0.5)
    await server.client.submit(write_track(music / "a.wav", 60.0), job_id="job", wanted=None)
    stranger = Client(f"127.0.0.1:{server.app.grpc_port}")
    await server.client.succeeded("job")
    session = stranger.stream("job", credit_bytes=1 << 34)
    await session.__aenter__()
    await until(lambda: bool(server.app.runs.held_runs))
    await server.nothing_is_held()
    await stranger.close()


async def test_a_hundred_seeks_in_a_row_end_at_the_last_one(server: Server, music: Path) -> None:
    job_id = await half_done(server, music)
    draw = random.Random(1)
    async with server.client.stream(job_id, follow=True, credit_bytes=1 << 20) as session:
        await session.next_of("info")
        frames = [draw.randrange(6 * RATE) for _ in range(300)]
        for generation, frame in enumerate(frames, 1):
            await session.seek(generation, frame)
            if generation == 150:
                server.device.open()
        applied = 0
        while applied != 300:
            message = await session.next()
            if message.HasField("seek_applied"):
                assert message.seek_applied.generation > applied
                applied = message.seek_applied.generation
                assert message.seek_applied.start_frame == frames[applied - 1]
            elif message.HasField("chunk"):
                assert message.chunk.generation == applied
                await session.credit(len(message.chunk.data))
        chunk = await session.next_of("chunk")
        assert (chunk.generation, chunk.start_frame) == (300, frames[-1])
        assert players(server) <= 1 if job_id in server.app.repository.active else True
    await server.client.succeeded(job_id)
    await server.nothing_is_held()


async def test_stale_audio_after_a_seek_is_at_most_the_granted_credit(server: Server, music: Path) -> None:
    await server.client.submit(write_track(music / "a.wav", 6.0), job_id="job")
    await server.client.succeeded("job")
    credit = 100_000
    async with server.client.stream("job", credit_bytes=credit, chunk_bytes=8192) as session:
        await session.next_of("chunk")
        await session.seek(1, 5 * RATE)
        stale = 0
        while True:
            message = await session.next()
            if message.HasField("seek_applied"):
                break
            stale += len(message.chunk.data)
        assert stale <= credit
        await session.credit(4096)
        assert (await session.next_of("chunk")).start_frame == 5 * RATE


@pytest.mark.parametrize(
    "method",
    [
        "JobService/SubmitJob",
        "JobService/GetJob",
        "JobService/ListJobs",
        "JobService/CancelJob",
        "JobService/UpdateJob",
        "JobService/DeleteJob",
        "TransferService/GetUpload",
        "SystemService/GetServerInfo",
    ],
)
async def test_garbage_in_a_unary_call_is_an_invalid_argument(server: Server, method: str) -> None:
    call = server.client.channel.unary_unary(
        f"/mismo.analysis.v1.{method}", request_serializer=bytes, response_deserializer=bytes
    )
    refusal = await refused(call(b"\xff\xff\xff\xff garbage"))
    assert refusal.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("method", ["StreamStems", "UploadAudio"])
@pytest.mark.parametrize(
    "first", [b"\xff\xff\xff garbage", b"", random.Random(1).randbytes(64), b"\x0a\x05hello"]
)
async def test_garbage_as_the_first_message_of_a_stream_ends_it_alone(
    server: Server, music: Path, method: str, first: bytes
) -> None:
    call = server.client.channel.stream_stream(
        f"/mismo.analysis.v1.TransferService/{method}", request_serializer=bytes, response_deserializer=bytes
    )

    async def speak() -> None:
        stream = call(iter([first]))
        async for _ in stream:
            pass

    refusal = await refused(speak())
    assert refusal.code in {"INVALID_ARGUMENT", "NOT_FOUND"}
    await server.client.submit(write_track(music / "a.wav", 0.3), job_id="job")
    await server.client.succeeded("job")
    await server.nothing_is_held()


async def test_bytes_that_are_no_http_end_their_own_connection_alone(server: Server, music: Path) -> None:
    await half_done(server, music)
    draw = random.Random(1)
    for opening in (b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.app.grpc_port)
        writer.write(opening + draw.randbytes(2000))
        with contextlib.suppress(OSError):
            await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    server.device.open()
    await server.client.succeeded("job")


async def test_stream_messages_out_of_place_are_refused(server: Server, music: Path) -> None:
    await server.client.submit(write_track(music / "a.wav", 0.5), job_id="job")
    await server.client.succeeded("job")
    request = transfer_service_pb2.StreamStemsRequest
    opening = request(
        open=transfer_service_pb2.StreamOpen(
            job_id="job", credit=transfer_service_pb2.StreamCredit(bytes=1 << 20)
        )
    )

    def opened(**fields: Any) -> transfer_service_pb2.StreamStemsRequest:
        return request(open=transfer_service_pb2.StreamOpen(job_id="job", **fields))

    def seek(generation: int, frame: int) -> transfer_service_pb2.StreamStemsRequest:
        return request(seek=transfer_service_pb2.StreamSeek(generation=generation, start_frame=frame))

    for messages, field in (
        ([request(credit=transfer_service_pb2.StreamCredit(bytes=1))], "open"),
        ([seek(1, 0)], "open"),
        ([opening, opening], "open"),
        ([opened(stem_names=["kazoo"])], "open.stem_names"),
        ([opened(encoding=77)], "open.encoding"),
        ([opened(start_frame=-1)], "open.start_frame"),
        ([opened(start_frame=RATE)], "open.start_frame"),
        ([opened(chunk_bytes=1)], "open.chunk_bytes"),
        ([opening, seek(0, 0)], "seek.generation"),
        ([opening, seek(2, 0), seek(2, 0)], "seek.generation"),
        ([opening, seek(1, -1)], "seek.start_frame"),
        ([opening, request(credit=transfer_service_pb2.StreamCredit(bytes=-1))], "credit.bytes"),
    ):
        call = server.client.transfer.StreamStems(timeout=PATIENCE)

        async def speak(call: Any = call, messages: Messages = messages) -> None:
            for message in messages:
                await call.write(message)
            while await call.read() is not grpc.aio.EOF:
                pass
            await call.initial_metadata()

        refusal = await refused(speak())
        assert refusal.code == "INVALID_ARGUMENT"
        assert refusal.field == field
    await server.nothing_is_held()


async def test_too_many_streams_are_refused_until_one_closes(start: StartServer, music: Path) -> None:
    server = await start(max_streams=2)
    job_id = await half_done(server, music)
    watches = [server.client.watch(job_id) for _ in range(2)]
    for watch in watches:
        await watch.read()
    refusal = await refused(server.client.events(job_id))
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS")
    assert refusal.retry_seconds is not None
    watches[0].cancel()
    await until(lambda: server.app.server.streams.count == 1)
    server.device.open()
    await server.client.succeeded(job_id)


async def test_a_slow_watcher_misses_no_stage_no_segment_and_no_end(server: Server, music: Path) -> None:
    job_id = await half_done(server, music)
    slow = server.client.watch(job_id, min_progress_interval=seconds(0))
    first = await slow.read()
    server.device.open()
    await server.client.succeeded(job_id)
    events = [first]
    while (event := await slow.read()) is not grpc.aio.EOF:
        events.append(event)
    covered = [(r.start_frame, r.end_frame) for r in first.snapshot.stem_set.ready] + ready_ranges(events)
    assert sum(end - start for start, end in covered) == 6 * RATE
    assert events[-1].HasField("terminal")
    revisions = [event.revision for event in events]
    assert revisions == sorted(revisions)


async def test_a_watch_goes_on_after_the_revision_it_saw(server: Server, music: Path) -> None:
    job_id = await half_done(server, music)
    call = server.client.watch(job_id)
    seen = await call.read()
    call.cancel()
    server.device.open()
    await server.client.succeeded(job_id)
    events = await server.client.events(job_id, after_revision=seen.revision, server_epoch=seen.server_epoch)
    assert not any(event.HasField("snapshot") for event in events)
    assert events[0].revision > seen.revision or events[0].HasField("progress")
    assert events[-1].HasField("terminal")
    other = await server.client.events(job_id, after_revision=seen.revision, server_epoch="other")
    assert other[0].HasField("snapshot")


async def test_a_clock_that_is_set_back_stops_no_heartbeat(start: StartServer, music: Path) -> None:
    day = [2e9]
    server = await start(app={"now": lambda: day[0]})
    job_id = await half_done(server, music)
    events = aiter(server.client.watch(job_id, heartbeat_interval=seconds(1)))
    await anext(events)
    day[0] -= 3600.0
    async for event in events:
        if event.HasField("heartbeat"):
            break
    else:
        raise AssertionError("the watch ended")
    server.device.open()
    await server.client.succeeded(job_id)


async def test_many_watchers_all_see_the_same_job_end(server: Server, music: Path) -> None:
    await watched_by(server, music, 150)


@pytest.mark.heavy
async def test_five_hundred_watchers_all_see_the_same_job_end(server: Server, music: Path) -> None:
    await watched_by(server, music, 500)


async def watched_by(server: Server, music: Path, count: int) -> None:
    job_id = await half_done(server, music)
    clients = [Client(f"127.0.0.1:{server.app.grpc_port}") for _ in range(5)]
    watches = [
        asyncio.create_task(clients[index % 5].events(job_id, min_progress_interval=seconds(0.25)))
        for index in range(count)
    ]
    await until(lambda: server.app.server.streams.count == count)
    server.device.open()
    for events in await asyncio.gather(*watches):
        assert events[0].HasField("snapshot")
        assert events[-1].HasField("terminal")
        ready = events[0].snapshot.stem_set.ready
        covered = [(r.start_frame, r.end_frame) for r in ready] + ready_ranges(events)
        assert sum(end - start for start, end in covered) == 6 * RATE
    for client in clients:
        await client.close()
    await until(lambda: server.app.server.streams.count == 0)
