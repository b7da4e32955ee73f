"""Uploads as a client makes them: whole, broken off, wrong, and used."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from mismo.analysis.v1 import job_pb2, transfer_service_pb2
from tests.service.conftest import Server, StartServer
from tests.support.calls import (
    FAILED,
    SUCCEEDED,
    chunks_of,
    refused,
    upload_chunk,
    upload_finish,
    upload_header,
)
from tests.support.tracks import RATE, RESULT_FILES, track_bytes, write_track


def source(upload_id: str) -> job_pb2.Source:
    return job_pb2.Source(upload_id=upload_id)


def upload_files(server: Server) -> list[Path]:
    return list((server.jobs_dir / ".mismo" / "uploads").iterdir())


async def test_an_uploaded_track_is_separated_as_one_by_path(server: Server, music: Path) -> None:
    client, content = server.client, track_bytes(2.0)
    done = await client.upload(content, filename="a.wav")
    assert done.complete
    assert done.committed_bytes == len(content)
    assert done.sha256 == hashlib.sha256(content).hexdigest()
    job = await client.succeeded((await client.submit(source(done.upload_id))).job.job_id)
    write_track(music / "a.wav", 2.0)
    assert (music / "a.wav").read_bytes() == content
    assert (await client.submit(music / "a.wav")).cache_hit
    assert job.stem_set.total_frames == 2 * RATE
    await server.idle()
    assert {p.name for p in server.folder(job.job_id).iterdir()} == RESULT_FILES


async def test_a_broken_upload_goes_on_where_it_stopped(server: Server) -> None:
    client, content = server.client, track_bytes(3.0)
    half = len(content) // 2
    call = client.transfer.UploadAudio()
    await call.write(upload_header(len(content)))
    upload_id = (await call.read()).upload_id
    for message in chunks_of(content[:half]):
        await call.write(message)
    while (await call.read()).committed_bytes < half:
        pass
    call.cancel()

    known = await client.get_upload(upload_id)
    assert (known.committed_bytes, known.complete, known.total_bytes) == (half, False, len(content))
    refusal = await refused(client.submit(source(upload_id)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "UPLOAD_INCOMPLETE")
    # It sends some of it again: that is skipped.
    rest = [upload_header(len(content), upload_id=upload_id), *chunks_of(content, offset=half - 70_000)]
    answers = await client.upload_messages([*rest, upload_finish()])
    assert answers[0].committed_bytes == half
    assert answers[-1].complete
    assert answers[-1].sha256 == hashlib.sha256(content).hexdigest()


async def test_known_content_completes_at_once(server: Server) -> None:
    client, content = server.client, track_bytes(1.0)
    digest = hashlib.sha256(content).hexdigest()
    await client.upload(content, sha256=digest)
    answers = await client.upload_messages([upload_header(len(content), sha256=digest), upload_finish()])
    assert answers[-1].complete
    job = (await client.submit(source(answers[-1].upload_id))).job
    await client.succeeded(job.job_id)


async def test_a_gap_is_refused_and_says_where_to_go_on(server: Server) -> None:
    content = track_bytes(0.5)
    messages = [upload_header(len(content)), upload_chunk(0, content[:1000]), upload_chunk(1001, b"x")]
    refusal = await refused(server.client.upload_messages(messages))
    assert (refusal.code, refusal.reason) == ("OUT_OF_RANGE", "UPLOAD_GAP")
    assert refusal.metadata["committed_bytes"] == "1000"


async def test_a_wrong_checksum_of_a_chunk_is_refused_and_the_upload_can_go_on(server: Server) -> None:
    client, content = server.client, track_bytes(0.5)
    call = client.transfer.UploadAudio()
    await call.write(upload_header(len(content)))
    upload_id = (await call.read()).upload_id
    await call.write(upload_chunk(0, content[:1000], crc32c=12345))
    refusal = await refused(_to_the_end(call))
    assert (refusal.code, refusal.reason) == ("DATA_LOSS", "UPLOAD_CHECKSUM_MISMATCH")
    assert (await client.get_upload(upload_id)).committed_bytes == 0
    messages = [upload_header(len(content), upload_id=upload_id), *chunks_of(content), upload_finish()]
    assert (await client.upload_messages(messages))[-1].complete


async def _to_the_end(call: grpc.aio.StreamStreamCall[Any, Any]) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_a_wrong_checksum_of_the_whole_is_refused(server: Server) -> None:
    content = track_bytes(0.5)
    refusal = await refused(server.client.upload(content, sha256="0" * 64))
    assert (refusal.code, refusal.reason) == ("DATA_LOSS", "UPLOAD_CHECKSUM_MISMATCH")
    assert refusal.metadata["sha256"] == hashlib.sha256(content).hexdigest()


async def test_too_large_uploads_are_refused_before_and_while_they_come(start: StartServer) -> None:
    server = await start(max_upload_bytes=1000)
    refusal = await refused(server.client.upload(b"x" * 1001))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "UPLOAD_TOO_LARGE")
    assert refusal.metadata["max_upload_bytes"] == "1000"
    more = [upload_header(10), upload_chunk(0, b"x" * 11)]
    refusal = await refused(server.client.upload_messages(more))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "UPLOAD_TOO_LARGE")


async def test_an_upload_that_is_no_audio_is_refused_as_a_source(server: Server) -> None:
    done = await server.client.upload(b"not music" * 100)
    refusal = await refused(server.client.submit(source(done.upload_id)))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "UNSUPPORTED_AUDIO")
    assert refusal.field == "source.upload_id"
    refusal = await refused(server.client.upload(b""))
    assert refusal.reason == "EMPTY_AUDIO"


@pytest.mark.parametrize("upload_id", ["none", "../../../etc/passwd", "A" * 32])
async def test_an_unknown_upload_is_not_found(server: Server, upload_id: str) -> None:
    for call in (
        server.client.get_upload(upload_id),
        server.client.submit(source(upload_id)),
        server.client.upload_messages([upload_header(10, upload_id=upload_id)]),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "UPLOAD_NOT_FOUND")


async def test_an_upload_that_is_unfinished_too_early_says_what_is_missing(server: Server) -> None:
    refusal = await refused(
        server.client.upload_messages([upload_header(10), upload_chunk(0, b"123"), upload_finish()])
    )
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "UPLOAD_INCOMPLETE")
    assert refusal.metadata["committed_bytes"] == "3"


async def test_an_abandoned_upload_is_removed_and_a_used_one_is_kept(start: StartServer) -> None:
    now = [time.time()]
    server = await start(app={"now": lambda: now[0]}, upload_idle_seconds=60.0)
    client, content = server.client, track_bytes(0.5)
    call = client.transfer.UploadAudio()
    await call.write(upload_header(len(content)))
    upload_id = (await call.read()).upload_id
    await call.write(upload_chunk(0, content[:1000]))
    call.cancel()
    assert len(upload_files(server)) == 1
    now[0] += 10 * 365 * 86400
    await server.app.sweeper.sweep()
    assert (await refused(client.get_upload(upload_id))).code == "NOT_FOUND"
    assert upload_files(server) == []


async def test_a_job_keeps_its_upload_when_that_is_swept(start: StartServer) -> None:
    now = [time.time()]
    server = await start(app={"now": lambda: now[0]})
    client, content = server.client, track_bytes(1.0)
    done = await client.upload(content)
    server.hold_decoders()
    await client.submit(source(done.upload_id), job_id="job")
    now[0] += 10 * 365 * 86400
    await server.app.sweeper.sweep()
    assert (await refused(client.get_upload(done.upload_id))).code == "NOT_FOUND"
    server.release_decoders()
    assert (await client.ended("job")).state == SUCCEEDED


async def test_messages_that_are_out_of_place_are_refused(server: Server) -> None:
    empty = transfer_service_pb2.UploadAudioRequest()
    for messages in (
        [upload_chunk(0, b"x")],
        [upload_finish()],
        [empty],
        [upload_header(10), upload_header(10)],
        [upload_header(10), empty],
    ):
        refusal = await refused(server.client.upload_messages(messages))
        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "STREAM_PROTOCOL")
    for field, header in (
        ("header.total_bytes", upload_header(-1)),
        ("header.sha256", upload_header(10, sha256="xyz")),
        ("header.filename", upload_header(10, filename="x" * 2000)),
    ):
        refusal = await refused(server.client.upload_messages([header]))
        assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", field)


async def test_many_uploads_at_once(server: Server) -> None:
    contents = [track_bytes(0.4, seed=seed) for seed in range(8)]
    answers = await asyncio.gather(*(server.client.upload(content) for content in contents))
    jobs = await asyncio.gather(*(server.client.submit(source(a.upload_id)) for a in answers))
    ended = await asyncio.gather(*(server.client.ended(job.job.job_id) for job in jobs))
    assert {job.state for job in ended} == {SUCCEEDED}
    assert FAILED not in {job.state for job in ended}
