"""Calls over WebSockets: the methods of the contract as over gRPC, their errors, and their end."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from mismo.analysis.v1 import job_service_pb2 as jobs_pb2
from mismo.analysis.v1 import system_service_pb2 as system_pb2
from mismo.analysis.v1 import transfer_service_pb2 as transfer_pb2
from mismo_grpc.gateway.websocket.calls import FAILED_CODE, GRPC_CODES
from mismo_grpc.gateway.websocket.protocol import MAX_MESSAGE_BYTES
from mismo_grpc.rpc import connections
from mismo_grpc.rpc.call_limits import MAX_REQUEST_BYTES
from mismo_grpc.wire_forms import WIRE
from tests.service.conftest import Server, StartServer
from tests.service.gateway.test_gateway import client_of
from tests.support.calls import PATIENCE, SUCCEEDED, chunks_of, until, upload_finish, upload_header
from tests.support.sockets import JOBS, SYSTEM, TRANSFER, Socket, called, calling
from tests.support.tracks import track_bytes, write_track

CREDIT = 1 << 18


def opening(job_id: str, **fields: Any) -> transfer_pb2.StreamStemsRequest:
    message = transfer_pb2.StreamOpen(job_id=job_id, credit=transfer_pb2.StreamCredit(bytes=CREDIT))
    message.MergeFrom(transfer_pb2.StreamOpen(**fields))
    return transfer_pb2.StreamStemsRequest(open=message)


async def submitted(server: Server, music: Path) -> str:
    """A job that was made over a WebSocket."""
    request = jobs_pb2.SubmitJobRequest()
    request.source.path = str(write_track(music / "track.wav"))
    port = server.app.http_port
    return (await called(port, f"{JOBS}/SubmitJob", request, jobs_pb2.SubmitJobResponse)).job.job_id


async def opened(call: Socket, job_id: str) -> transfer_pb2.StreamInfo:
    """Opens a stem stream."""
    await call.send(opening(job_id))
    return await call.next_of(transfer_pb2.StreamStemsResponse, "info")


async def played(call: Socket, info: transfer_pb2.StreamInfo) -> list[bytes]:
    """The audio of all stems up to the end of the generation; credit is granted again as it is used."""
    stems = [b""] * len(info.stem_names)
    owed = 0
    while True:
        message = await call.next(transfer_pb2.StreamStemsResponse)
        if message.HasField("end"):
            return stems
        stems[message.chunk.stem_index] += message.chunk.data
        owed += len(message.chunk.data)
        if owed >= CREDIT // 2:
            await call.send(transfer_pb2.StreamStemsRequest(credit=transfer_pb2.StreamCredit(bytes=owed)))
            owed = 0


def test_the_gateway_has_the_numbers_and_limits_of_grpc() -> None:
    assert MAX_MESSAGE_BYTES == connections.MAX_MESSAGE_BYTES
    assert GRPC_CODES[5] == "NOT_FOUND"
    assert {form.grpc_code for form in WIRE.values()} <= set(GRPC_CODES)


async def test_unary_calls_and_streams_of_a_job(server: Server, music: Path) -> None:
    port = server.app.http_port
    info = await called(
        port, f"{SYSTEM}/GetServerInfo", system_pb2.GetServerInfoRequest(), system_pb2.GetServerInfoResponse
    )
    assert info.server_epoch == server.app.epoch
    job_id = await submitted(server, music)
    async with calling(port, f"{JOBS}/WatchJob") as call:
        await call.send(jobs_pb2.WatchJobRequest(job_id=job_id))
        events = await call.rest(jobs_pb2.WatchJobResponse)
    assert events[0].HasField("snapshot")
    assert events[-1].terminal.job.state == SUCCEEDED
    async with calling(port, f"{TRANSFER}/ReadWaveform") as call:
        await call.send(transfer_pb2.ReadWaveformRequest(job_id=job_id))
        waveform = await call.rest(transfer_pb2.ReadWaveformResponse)
    assert waveform[0].info.job_id == job_id
    assert sum(len(each.peaks) for message in waveform for each in message.ranges) > 0
    await server.nothing_is_held()


async def test_a_whole_stem_stream_while_the_job_runs_equals_read_stem(server: Server, music: Path) -> None:
    server.device.close()
    job_id = await submitted(server, music)
    async with calling(server.app.http_port, f"{TRANSFER}/StreamStems") as call:
        info = await opened(call, job_id)
        waiting = await call.next_of(transfer_pb2.StreamStemsResponse, "not_ready")
        assert waiting.reason != transfer_pb2.NOT_READY_REASON_UNSPECIFIED
        server.device.open()
        stems = await played(call, info)
        await call.half_close()
        await call.rest(transfer_pb2.StreamStemsResponse)
    job = await server.client.succeeded(job_id)
    for index, name in enumerate(job.stem_set.stem_names):
        assert stems[index] == await server.client.read_stem(job_id, name) != b""
    await server.nothing_is_held()


async def test_a_seek_continues_where_it_asks(server: Server, music: Path) -> None:
    job_id = await submitted(server, music)
    job = await server.client.succeeded(job_id)
    async with calling(server.app.http_port, f"{TRANSFER}/StreamStems") as call:
        info = await opened(call, job_id)
        start = info.total_frames // 2
        seek = transfer_pb2.StreamSeek(generation=1, start_frame=start, credit={"bytes": CREDIT})
        await call.send(transfer_pb2.StreamStemsRequest(seek=seek))
        applied = await call.next_of(transfer_pb2.StreamStemsResponse, "seek_applied")
        assert (applied.generation, applied.start_frame) == (1, start)
        chunk = await call.next_of(transfer_pb2.StreamStemsResponse, "chunk")
        assert (chunk.generation, chunk.start_frame) == (1, start)
        name = job.stem_set.stem_names[chunk.stem_index]
        assert chunk.data == await server.client.read_stem(
            job_id, name, start_frame=start, frame_limit=chunk.frame_count
        )


async def test_an_upload_sends_chunks_and_reads_what_is_committed(server: Server) -> None:
    content = track_bytes()
    async with calling(server.app.http_port, f"{TRANSFER}/UploadAudio") as call:
        await call.send(upload_header(len(content)))
        for message in (*chunks_of(content, 1 << 20), upload_finish()):
            await call.send(message)
        answers = await call.rest(transfer_pb2.UploadAudioResponse)
    assert answers[-1].complete
    assert answers[-1].committed_bytes == len(content)
    source = jobs_pb2.SubmitJobRequest()
    source.source.upload_id = answers[-1].upload_id
    job = (await server.client.jobs.SubmitJob(source, timeout=PATIENCE)).job
    await server.client.succeeded(job.job_id)


async def test_an_upload_that_half_closes_keeps_what_it_sent(server: Server) -> None:
    content = track_bytes()
    async with calling(server.app.http_port, f"{TRANSFER}/UploadAudio") as call:
        await call.send(upload_header(len(content)))
        await call.send(chunks_of(content, 4096)[0])
        await call.half_close()
        answers = await call.rest(transfer_pb2.UploadAudioResponse)
    assert (answers[-1].committed_bytes, answers[-1].complete) == (4096, False)


@pytest.mark.parametrize("method", ["GetJob", "WatchJob"])
async def test_a_failed_call_ends_with_its_error(server: Server, method: str) -> None:
    async with calling(server.app.http_port, f"{JOBS}/{method}") as call:
        await call.send(jobs_pb2.GetJobRequest(job_id="nowhere"))
        failure = await call.failure()
    assert failure.close_code == FAILED_CODE + 5
    assert failure.error["code"] == "JOB_NOT_FOUND"
    assert failure.error["grpc_code"] == "NOT_FOUND"
    assert failure.error["retryable"] is False
    assert "nowhere" in failure.error["message"]


async def test_an_invalid_field_and_a_retry_time_are_named(start: StartServer) -> None:
    server = await start(max_streams=1)
    port = server.app.http_port
    async with calling(port, f"{JOBS}/WatchJobs") as first:
        await first.send(jobs_pb2.WatchJobsRequest())
        await first.next(jobs_pb2.WatchJobsResponse)
        async with calling(port, f"{JOBS}/WatchJobs") as second:
            failure = await second.failure()
        assert failure.error["code"] == "TOO_MANY_STREAMS"
        assert failure.error["grpc_code"] == "RESOURCE_EXHAUSTED"
        assert failure.error["retryable"] is True
        assert failure.error["retry_after_seconds"] > 0
    async with calling(port, f"{JOBS}/ListJobs") as call:
        await call.send(jobs_pb2.ListJobsRequest(page_size=-1))
        failure = await call.failure()
    assert (failure.error["code"], failure.error["field"]) == ("INVALID_FIELD", "page_size")


@pytest.mark.parametrize(
    "frames",
    [["text"], [b"\xff\xff\xff"], [b"\x00" * (MAX_REQUEST_BYTES + 1)], [b"", "", b""], [b"", b""], [""]],
    ids=["text", "no message", "oversize", "after the end", "second message", "no message at all"],
)
async def test_frames_that_are_no_message_get_a_clear_error(
    server: Server, frames: list[str | bytes]
) -> None:
    async with calling(server.app.http_port, f"{JOBS}/WatchJobs") as call:
        for frame in frames:
            await call.connection.send(frame)
        failure = await call.failure()
    assert failure.error["grpc_code"] == "INVALID_ARGUMENT"
    assert failure.error["code"] == "INVALID_REQUEST"
    text = failure.error["message"]
    assert any(
        word in text for word in ("binary", "stubs", "bytes", "after", "one message", "without a request")
    )
    await server.nothing_is_held()


async def test_only_methods_of_the_contract_can_be_called(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (f"{JOBS}/Nothing", "grpc.health.v1.Health/Check", "x/y"):
        with pytest.raises(InvalidStatus) as refused:
            async with calling(server.app.http_port, path):
                pass
        assert refused.value.response.status_code == 404
        error = json.loads(refused.value.response.body or b"")["error"]
        assert error["code"] == "NOT_FOUND"
        assert path in error["message"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_client_that_leaves_releases_its_stream_at_once(server: Server, music: Path) -> None:
    server.device.close()
    job_id = await submitted(server, music)
    async with calling(server.app.http_port, f"{TRANSFER}/StreamStems") as call:
        await call.send(opening(job_id))
        await call.next_of(transfer_pb2.StreamStemsResponse, "not_ready")
        assert server.app.server.streams.count == 1
    await until(lambda: server.app.server.streams.count == 0)
    # Without the closing handshake too.
    async with calling(server.app.http_port, f"{TRANSFER}/StreamStems") as call:
        await call.send(opening(job_id))
        await call.next_of(transfer_pb2.StreamStemsResponse, "not_ready")
        call.connection.transport.abort()
        await until(lambda: server.app.server.streams.count == 0)
    server.device.open()
    await server.client.succeeded(job_id)
    await server.nothing_is_held()


async def test_streams_end_with_a_retryable_error_when_the_server_stops(server: Server, music: Path) -> None:
    async with calling(server.app.http_port, f"{JOBS}/WatchJobs") as call:
        await call.send(jobs_pb2.WatchJobsRequest())
        await call.next(jobs_pb2.WatchJobsResponse)
        stopping = asyncio.create_task(server.app.stop())
        failure = await call.failure()
        assert failure.error["code"] == "SERVER_DRAINING"
        assert failure.error["retryable"] is True
        assert failure.close_code == FAILED_CODE + GRPC_CODES.index("UNAVAILABLE")
        await asyncio.wait_for(stopping, PATIENCE)


async def test_sent_audio_is_counted_under_its_own_way(server: Server, music: Path) -> None:
    job_id = await submitted(server, music)
    await server.client.succeeded(job_id)
    async with calling(server.app.http_port, f"{TRANSFER}/StreamStems") as call:
        info = await opened(call, job_id)
        total = sum(map(len, await played(call, info)))
    async with client_of(server) as http:
        lines = (await http.get("/metrics")).text.splitlines()
    [line] = [line for line in lines if line.startswith('mismo_bytes_sent_total{way="websocket"}')]
    assert float(line.split()[-1]) == total > 0
    assert any(line == 'mismo_bytes_sent_total{way="grpc"} 0.0' for line in itertools.chain(lines))
