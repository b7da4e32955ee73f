"""UploadAudio and GetUpload over the wire."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import google_crc32c
import grpc
import pytest

from mismo.analysis.v1 import job_pb2, job_service_pb2
from mismo.analysis.v1 import transfer_service_pb2 as pb
from tests.unit.rpc.conftest import Served
from tests.unit.rpc.wire import Refusal, drained, next_of, refused

pytestmark = pytest.mark.service


def header(content: bytes, upload_id: str = "", sha256: str = "") -> pb.UploadAudioRequest:
    return pb.UploadAudioRequest(
        header=pb.UploadHeader(
            upload_id=upload_id, filename="track.wav", total_bytes=len(content), sha256=sha256
        )
    )


def chunk(content: bytes, start: int, end: int, crc32c: int | None = None) -> pb.UploadAudioRequest:
    return pb.UploadAudioRequest(chunk=pb.UploadChunk(offset=start, data=content[start:end], crc32c=crc32c))


FINISH = pb.UploadAudioRequest(finish=pb.UploadFinish())


async def sent(served: Served, *requests: pb.UploadAudioRequest) -> list[pb.UploadAudioResponse]:
    """The answers to an upload that sends all this and closes its side, before it reads anything."""
    call = served.transfer.UploadAudio()
    for request in requests:
        await call.write(request)
    await call.done_writing()
    return await drained(call)


async def refused_after(served: Served, *requests: pb.UploadAudioRequest) -> Refusal:
    """How an upload was refused."""
    call = served.transfer.UploadAudio(iter(requests))
    return await refused(drained(call))


async def status(served: Served, upload_id: str) -> pb.GetUploadResponse:
    return await served.transfer.GetUpload(pb.GetUploadRequest(upload_id=upload_id))


async def test_a_track_is_sent_acknowledged_and_separated(served: Served) -> None:
    content = served.track.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    call = served.transfer.UploadAudio()
    await call.write(header(content, sha256=sha256))
    begun = await next_of(call)
    assert (begun.committed_bytes, begun.complete) == (0, False)
    step = 1 << 17
    for start in range(0, len(content), step):
        part = content[start : start + step]
        await call.write(chunk(content, start, start + step, google_crc32c.value(part)))
        # A client that waits hears how far it got.
        assert (await next_of(call)).committed_bytes == start + len(part)
    await call.write(FINISH)
    done = await next_of(call)
    assert (done.committed_bytes, done.complete, done.sha256) == (len(content), True, sha256)
    assert await call.read() is grpc.aio.EOF

    submit = job_service_pb2.SubmitJobRequest(source=job_pb2.Source(upload_id=begun.upload_id))
    job = (await served.jobs.SubmitJob(submit)).job
    watch = served.jobs.WatchJob(job_service_pb2.WatchJobRequest(job_id=job.job_id))
    assert (await drained(watch))[-1].terminal.job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert await status(served, begun.upload_id) == pb.GetUploadResponse(
        upload_id=begun.upload_id,
        committed_bytes=len(content),
        total_bytes=len(content),
        complete=True,
        sha256=sha256,
    )


async def test_a_client_that_reads_only_at_the_end_does_not_stand_still(served: Served) -> None:
    content = bytes(12 << 20)
    step = 1 << 14
    chunks = [chunk(content, start, start + step) for start in range(0, len(content), step)]
    answers = await sent(served, header(content), *chunks, FINISH)
    assert answers[-1].complete
    assert answers[-1].committed_bytes == len(content)
    assert len(answers) <= 2 + 12
    committed = [answer.committed_bytes for answer in answers]
    assert committed == sorted(committed)


async def test_an_upload_goes_on_where_a_broken_one_stopped(served: Served) -> None:
    content = bytes(range(256)) * 1_000
    call = served.transfer.UploadAudio()
    await call.write(header(content))
    upload_id = (await next_of(call)).upload_id
    await call.write(chunk(content, 0, 100_000))
    assert (await next_of(call)).committed_bytes == 100_000
    call.cancel()
    await served.all_let_go()

    assert (await status(served, upload_id)).committed_bytes == 100_000
    answers = await sent(
        served,
        header(content, upload_id),
        chunk(content, 50_000, 150_000),
        chunk(content, 150_000, 256_000),
        FINISH,
    )
    assert answers[0].committed_bytes == 100_000
    assert answers[-1].complete
    assert answers[-1].sha256 == hashlib.sha256(content).hexdigest()


async def test_an_upload_that_closes_its_side_early_can_go_on(served: Served) -> None:
    content = bytes(1_000)
    answers = await sent(served, header(content), chunk(content, 0, 400))
    assert (answers[-1].committed_bytes, answers[-1].complete) == (400, False)
    answers = await sent(served, header(content, answers[-1].upload_id), chunk(content, 400, 1_000), FINISH)
    assert answers[-1].complete


async def test_bare_headers_hold_up_nobody(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.app.uploads, "_max_unfinished", 2)
    content = bytes(1_000)
    bare = begun = ""
    for _ in range(3):
        bare = (await sent(served, header(content)))[-1].upload_id
        await served.all_let_go()
    open_streams = [served.transfer.UploadAudio() for _ in range(2)]
    for call in open_streams:
        await call.write(header(content))
        begun = (await next_of(call)).upload_id
    refusal = await refused_after(served, header(content))
    assert (refusal.code.name, refusal.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS")
    assert (await refused(status(served, bare))).reason == "UPLOAD_NOT_FOUND"
    assert (await status(served, begun)).committed_bytes == 0
    for call in open_streams:
        call.cancel()
    await served.all_let_go()
    assert (await sent(served, header(content), chunk(content, 0, 1_000), FINISH))[-1].complete


async def test_known_content_is_complete_at_once(served: Served) -> None:
    content = b"some music" * 1_000
    sha256 = hashlib.sha256(content).hexdigest()
    await sent(served, header(content), chunk(content, 0, len(content)), FINISH)
    answers = await sent(served, header(content, sha256=sha256))
    assert (answers[0].complete, answers[0].sha256, answers[0].committed_bytes) == (
        True,
        sha256,
        len(content),
    )
    # One that did not look and sends it all the same comes to the same end.
    answers = await sent(served, header(content, sha256=sha256), chunk(content, 0, len(content)), FINISH)
    assert answers[-1].complete


CONTENT = bytes(1_000)
GOOD = header(CONTENT)


@pytest.mark.parametrize(
    ("requests", "code", "reason", "field"),
    [
        ([chunk(CONTENT, 0, 10)], "INVALID_ARGUMENT", "STREAM_PROTOCOL", "header"),
        ([FINISH], "INVALID_ARGUMENT", "STREAM_PROTOCOL", "header"),
        ([GOOD, GOOD], "INVALID_ARGUMENT", "STREAM_PROTOCOL", "header"),
        ([pb.UploadAudioRequest()], "INVALID_ARGUMENT", "STREAM_PROTOCOL", "header"),
        ([GOOD, pb.UploadAudioRequest()], "INVALID_ARGUMENT", "STREAM_PROTOCOL", None),
        ([GOOD, chunk(CONTENT, 10, 20)], "OUT_OF_RANGE", "UPLOAD_GAP", "chunk.offset"),
        ([GOOD, chunk(CONTENT, 0, 20, 1)], "DATA_LOSS", "UPLOAD_CHECKSUM_MISMATCH", "chunk.crc32c"),
        ([GOOD, chunk(CONTENT, 0, 900), FINISH], "FAILED_PRECONDITION", "UPLOAD_INCOMPLETE", None),
        ([GOOD, chunk(bytes(1_001), 0, 1_001)], "INVALID_ARGUMENT", "UPLOAD_TOO_LARGE", "chunk.data"),
        ([header(b"")], "INVALID_ARGUMENT", "EMPTY_AUDIO", "header.total_bytes"),
        ([header(CONTENT, sha256="zz")], "INVALID_ARGUMENT", "INVALID_FIELD", "header.sha256"),
        ([header(CONTENT, "nowhere-nowhere-nowhere")], "NOT_FOUND", "UPLOAD_NOT_FOUND", None),
        (
            [header(CONTENT, sha256="0" * 64), chunk(CONTENT, 0, 1_000), FINISH],
            "DATA_LOSS",
            "UPLOAD_CHECKSUM_MISMATCH",
            "header.sha256",
        ),
    ],
)
async def test_a_wrong_upload_is_refused_with_its_reason(
    served: Served, requests: list[pb.UploadAudioRequest], code: str, reason: str, field: str | None
) -> None:
    refusal = await refused_after(served, *requests)
    assert (refusal.code.name, refusal.reason) == (code, reason)
    if field is not None:
        assert refusal.fields == (field,)
    await served.all_let_go()


async def test_what_was_acknowledged_before_an_error_is_kept(served: Served) -> None:
    call = served.transfer.UploadAudio(iter([GOOD, chunk(CONTENT, 0, 300), chunk(CONTENT, 500, 600)]))
    answers: list[Any] = []

    async def read() -> None:
        while True:
            answers.append(await next_of(call))

    refusal = await refused(read())
    assert (refusal.reason, refusal.metadata["committed_bytes"]) == ("UPLOAD_GAP", "300")
    assert answers[-1].committed_bytes == 300
    assert (await status(served, answers[0].upload_id)).committed_bytes == 300


async def test_a_client_that_sends_nothing_is_let_go_of(serve: Callable[..., Awaitable[Served]]) -> None:
    served = await serve(stream_idle_seconds=0.1)
    call = served.transfer.UploadAudio()
    await call.write(GOOD)
    refusal = await refused(drained(call))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "STREAM_IDLE")
