"""StreamStems, ReadStem and GetArtifact over the wire."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import google_crc32c
import grpc
import pytest
from google.protobuf import duration_pb2

from mismo.analysis.v1 import audio_pb2, job_pb2, job_service_pb2, stage_pb2
from mismo.analysis.v1 import transfer_service_pb2 as pb
from tests.unit.rpc.conftest import DONE, FRAMES, Served
from tests.unit.rpc.wire import drained, refused

pytestmark = pytest.mark.service

PLENTY = 1 << 30


def opening(job_id: str = DONE, **fields: Any) -> pb.StreamStemsRequest:
    return pb.StreamStemsRequest(open=pb.StreamOpen(job_id=job_id, **fields))


def seek(generation: int, start_frame: int) -> pb.StreamStemsRequest:
    return pb.StreamStemsRequest(seek=pb.StreamSeek(generation=generation, start_frame=start_frame))


def credit(granted: int) -> pb.StreamStemsRequest:
    return pb.StreamStemsRequest(credit=pb.StreamCredit(bytes=granted))


async def next_of(call: Any, kind: str) -> Any:
    """The next message of a kind."""
    while (message := await call.read()) is not grpc.aio.EOF:
        if message.WhichOneof("message") == kind:
            return getattr(message, kind)
    raise AssertionError(f"the stream ended without {kind}")


def audio(chunks: Iterable[Any]) -> bytes:
    """The payload; fails for a wrong checksum or a gap."""
    at: int | None = None
    data: list[bytes] = []
    for chunk in chunks:
        assert chunk.crc32c == google_crc32c.value(chunk.data)
        assert at is None or chunk.start_frame == at
        at = chunk.start_frame + chunk.frame_count
        data.append(chunk.data)
    return b"".join(data)


async def test_a_finished_job_is_streamed_whole(served: Served) -> None:
    call = served.transfer.StreamStems(iter([opening(credit=pb.StreamCredit(bytes=PLENTY))]))
    messages = await drained(call)
    info = messages[0].info
    assert (info.total_frames, info.sample_rate, info.channels) == (FRAMES, 44_100, 2)
    assert info.encoding == audio_pb2.ENCODING_PCM_S16LE
    assert info.server_epoch == served.app.epoch
    chunks = [message.chunk for message in messages if message.HasField("chunk")]
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    for place, name in enumerate(info.stem_names):
        mine = [chunk for chunk in chunks if chunk.stem_index == place]
        assert audio(mine) == served.stem_pcm(name)
    ends = [message.end_of_stem for message in messages if message.HasField("end_of_stem")]
    assert sorted(end.stem_index for end in ends) == [0, 1, 2, 3]
    assert all(len(end.sha256) == 64 for end in ends)
    assert messages[-1].WhichOneof("message") == "end"
    await served.all_let_go()


async def test_the_info_says_what_a_player_must_know(served: Served) -> None:
    messages = await drained(served.transfer.StreamStems(iter([opening(encoding=audio_pb2.ENCODING_FLAC)])))
    info = messages[0].info
    job = (await served.jobs.GetJob(job_service_pb2.GetJobRequest(job_id=DONE))).job
    assert (info.job_id, info.run_id, info.model) == (DONE, job.run_id, job.model)
    assert (info.bits_per_sample, info.chunk_bytes, info.max_chunk_frames) == (16, 65_536, 16_384)
    assert info.segment_frames == 6 * 44_100
    assert info.idle_timeout.ToSeconds() > 0
    read = await drained(served.transfer.ReadStem(pb.ReadStemRequest(job_id=DONE, stem_name="bass")))
    assert (read[0].info.run_id, read[0].info.segment_frames) == (info.run_id, info.segment_frames)
    assert not read[0].info.HasField("idle_timeout")


async def test_times_frames_of_credit_and_refused_seeks_go_over_the_wire(served: Served) -> None:
    call = served.transfer.StreamStems()
    start = duration_pb2.Duration(nanos=500_000_000)
    await call.write(
        opening(
            stem_names=["bass"],
            start_time=start,
            generation=5,
            credit=pb.StreamCredit(bytes=PLENTY, frames=1_500),
        )
    )
    chunk = await next_of(call, "chunk")
    assert (chunk.start_frame, chunk.frame_count, chunk.generation) == (22_050, 1_500, 5)
    waits = await next_of(call, "awaiting_credit")
    assert (waits.generation, waits.missing_bytes, waits.missing_frames) == (5, 0, 1_024)
    past = pb.StreamSeek(generation=6, start_time=duration_pb2.Duration(seconds=3_600))
    await call.write(pb.StreamStemsRequest(seek=past))
    refused_seek = await next_of(call, "seek_refused")
    assert refused_seek.generation == 6
    assert "seek.start_time" in refused_seek.message
    there = pb.StreamSeek(generation=7, start_time=start, credit=pb.StreamCredit(frames=FRAMES))
    await call.write(pb.StreamStemsRequest(seek=there))
    applied = await next_of(call, "seek_applied")
    assert (applied.generation, applied.start_frame) == (7, 22_050)
    ended = await next_of(call, "end_of_stem")
    assert ended.start_frame == 22_050
    assert ended.sha256 == hashlib.sha256(served.stem_pcm("bass")[22_050 * 4 :]).hexdigest()
    assert len(ended.stem_sha256) == 64
    await call.done_writing()
    await drained(call)
    await served.all_let_go()


async def test_one_stem_is_read_by_time(served: Served) -> None:
    request = pb.ReadStemRequest(
        job_id=DONE,
        stem_name="vocals",
        start_time=duration_pb2.Duration(nanos=250_000_000),
        time_limit=duration_pb2.Duration(nanos=100_000_000),
    )
    first, *rest = await drained(served.transfer.ReadStem(request))
    assert first.start_frame == 11_025
    assert audio(rest) == served.stem_pcm("vocals")[11_025 * 4 : (11_025 + 4_410) * 4]


async def test_credit_paces_the_stream_and_a_seek_leaves_no_more_than_it(served: Served) -> None:
    call = served.transfer.StreamStems()
    await call.write(opening(credit=pb.StreamCredit(bytes=32_768), chunk_bytes=8_192))
    received = 0
    while received < 32_768:
        received += len((await next_of(call, "chunk")).data)
    assert received == 32_768
    await call.write(seek(1, 40_000))
    applied = await next_of(call, "seek_applied")
    assert (applied.generation, applied.start_frame) == (1, 40_000)
    await call.write(credit(PLENTY))
    chunk = await next_of(call, "chunk")
    assert (chunk.generation, chunk.sequence, chunk.start_frame) == (1, 0, 40_000)
    await call.done_writing()
    await drained(call)
    await served.all_let_go()


async def test_a_hundred_seeks_at_once_end_where_the_last_one_leads(served: Served) -> None:
    call = served.transfer.StreamStems()
    await call.write(opening(credit=pb.StreamCredit(bytes=PLENTY), chunk_bytes=4_096))
    await next_of(call, "info")
    for generation in range(1, 101):
        await call.write(seek(generation, generation * 500))
    await call.done_writing()
    chunks: list[Any] = []
    begin = None
    for message in await drained(call):
        if message.HasField("seek_applied") and message.seek_applied.generation == 100:
            begin = message.seek_applied.start_frame
        if message.HasField("chunk") and message.chunk.generation == 100:
            chunks.append(message.chunk)
    assert begin == 50_000
    mine = [chunk for chunk in chunks if chunk.stem_index == 0]
    assert audio(mine) == served.stem_pcm("drums")[50_000 * 4 :]
    await served.all_let_go()


async def test_the_job_that_is_being_made_is_streamed_while_it_is_made(served: Served) -> None:
    source = job_pb2.Source(path=str(served.track))
    options = job_pb2.JobOptions(stems=stage_pb2.StemOptions(shifts=1))
    submit = job_service_pb2.SubmitJobRequest(job_id="fresh", source=source, options=options)
    await served.jobs.SubmitJob(submit)
    call = served.transfer.StreamStems(
        iter([opening("fresh", credit=pb.StreamCredit(bytes=PLENTY), follow=True)])
    )
    messages = await drained(call)
    assert {"info", "chunk", "end_of_stem", "end"} <= {m.WhichOneof("message") for m in messages}
    frames = sum(m.chunk.frame_count for m in messages if m.HasField("chunk"))
    assert frames == 4 * FRAMES


async def test_a_client_that_vanishes_leaves_nothing_open(served: Served) -> None:
    for said in (
        [opening(credit=pb.StreamCredit(bytes=PLENTY), chunk_bytes=4_096)],
        [opening(credit=pb.StreamCredit(bytes=10_000))],
        [opening()],
    ):
        call = served.transfer.StreamStems()
        for message in said:
            await call.write(message)
        await next_of(call, "info")
        call.cancel()
        await served.all_let_go()
    call = served.transfer.ReadStem(pb.ReadStemRequest(job_id=DONE, stem_name="bass", chunk_bytes=4_096))
    await call.read()
    call.cancel()
    call = served.transfer.GetArtifact(pb.GetArtifactRequest(job_id=DONE, name="stems.zip"))
    await call.read()
    call.cancel()
    await served.all_let_go()


async def test_a_client_that_never_grants_credit_is_let_go_of(
    serve: Callable[..., Awaitable[Served]],
) -> None:
    served = await serve(stream_idle_seconds=0.1)
    call = served.transfer.StreamStems()
    await call.write(opening())
    refusal = await refused(drained(call))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "STREAM_IDLE")
    await served.all_let_go()


@pytest.mark.parametrize(
    ("said", "reason", "field"),
    [
        ([pb.StreamStemsRequest()], "STREAM_PROTOCOL", None),
        ([seek(1, 0)], "STREAM_PROTOCOL", "open"),
        ([credit(5)], "STREAM_PROTOCOL", "open"),
        ([opening(), opening()], "STREAM_PROTOCOL", "open"),
        ([opening(), seek(0, 0)], "STREAM_PROTOCOL", "seek.generation"),
        ([opening(stem_names=["piano"])], "STEM_NOT_FOUND", "open.stem_names"),
        ([opening(stem_names=["bass"] * 65)], "INVALID_FIELD", "open.stem_names"),
        ([opening(encoding=audio_pb2.Encoding.ValueType(77))], "INVALID_FIELD", "open.encoding"),
        ([opening(start_frame=FRAMES + 1)], "INVALID_FIELD", "open.start_frame"),
        ([opening(start_time=duration_pb2.Duration(seconds=-1))], "INVALID_FIELD", "open.start_time"),
        ([opening(start_time=duration_pb2.Duration(seconds=900))], "INVALID_FIELD", "open.start_time"),
        (
            [opening(start_time=duration_pb2.Duration(nanos=-1, seconds=1))],
            "INVALID_FIELD",
            "open.start_time",
        ),
        ([opening(credit=pb.StreamCredit(frames=-1))], "INVALID_FIELD", "open.credit.frames"),
        ([opening(chunk_bytes=5)], "INVALID_FIELD", "open.chunk_bytes"),
        ([opening(), credit(-1)], "INVALID_FIELD", "credit.bytes"),
        ([], "STREAM_PROTOCOL", "open"),
    ],
)
async def test_a_wrong_message_ends_the_stream_with_its_reason(
    served: Served, said: list[pb.StreamStemsRequest], reason: str, field: str | None
) -> None:
    call = served.transfer.StreamStems(iter(said))
    refusal = await refused(drained(call))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    if field is not None:
        assert refusal.fields == (field,)
    await served.all_let_go()


async def test_a_stream_of_no_job_is_not_found(served: Served) -> None:
    refusal = await refused(drained(served.transfer.StreamStems(iter([opening("nowhere")]))))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")


async def test_bytes_that_are_no_message_end_the_stream(served: Served) -> None:
    raw = served.channel.stream_stream("/mismo.analysis.v1.TransferService/StreamStems")
    call = raw(iter([b"\xff\xff\xff\xff"]))
    refusal = await refused(drained(call))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    await served.all_let_go()


@pytest.mark.parametrize(("start", "limit"), [(0, 0), (1_000, 500), (FRAMES, 0)])
async def test_one_stem_is_read(served: Served, start: int, limit: int) -> None:
    request = pb.ReadStemRequest(job_id=DONE, stem_name="vocals", start_frame=start, frame_limit=limit)
    first, *rest = await drained(served.transfer.ReadStem(request))
    assert first.info.total_frames == FRAMES
    assert list(first.info.stem_names) == ["vocals"]
    assert first.start_frame == start
    assert not any(message.HasField("info") for message in rest)
    end = min(start + limit, FRAMES) if limit else FRAMES
    assert audio(rest) == served.stem_pcm("vocals")[start * 4 : end * 4]


async def test_a_stem_that_is_not_decoded_yet_is_not_ready_unless_one_follows(served: Served) -> None:
    source = job_pb2.Source(path=str(served.track))
    options = job_pb2.JobOptions(stems=stage_pb2.StemOptions(shifts=2))
    await served.jobs.SubmitJob(
        job_service_pb2.SubmitJobRequest(job_id="fresh", source=source, options=options)
    )
    request = pb.ReadStemRequest(job_id="fresh", stem_name="bass")
    refusal = await refused(drained(served.transfer.ReadStem(request)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_READY")
    request.follow = True
    messages = await drained(served.transfer.ReadStem(request))
    assert sum(message.frame_count for message in messages) == FRAMES


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"stem_name": "piano"}, "STEM_NOT_FOUND", "stem_name"),
        ({"stem_name": "bass", "start_frame": -1}, "INVALID_FIELD", "start_frame"),
        ({"stem_name": "bass", "frame_limit": -1}, "INVALID_FIELD", "frame_limit"),
        (
            {"stem_name": "bass", "start_time": duration_pb2.Duration(seconds=900)},
            "INVALID_FIELD",
            "start_time",
        ),
        (
            {"stem_name": "bass", "time_limit": duration_pb2.Duration(seconds=-1)},
            "INVALID_FIELD",
            "time_limit",
        ),
        ({"stem_name": "bass", "chunk_bytes": 1}, "INVALID_FIELD", "chunk_bytes"),
        ({"stem_name": "bass", "encoding": audio_pb2.Encoding.ValueType(77)}, "INVALID_FIELD", "encoding"),
    ],
)
async def test_a_wrong_read_names_its_field(
    served: Served, fields: dict[str, Any], reason: str, field: str
) -> None:
    call = served.transfer.ReadStem(pb.ReadStemRequest(job_id=DONE, **fields))
    refusal = await refused(drained(call))
    assert (refusal.reason, refusal.fields) == (reason, (field,))
    await served.all_let_go()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"start_frame": -1}, "start_frame"),
        ({"start_time": duration_pb2.Duration(seconds=1, nanos=-1)}, "start_time"),
        ({"frame_limit": -1}, "frame_limit"),
        ({"chunk_bytes": 1}, "chunk_bytes"),
        ({"encoding": audio_pb2.Encoding.ValueType(77)}, "encoding"),
    ],
)
async def test_what_no_track_allows_is_refused_before_the_job_is_looked_at(
    served: Served, fields: dict[str, Any], field: str
) -> None:
    request = pb.ReadStemRequest(job_id="nowhere", stem_name="bass", follow=True, **fields)
    refusal = await refused(drained(served.transfer.ReadStem(request)))
    assert (refusal.reason, refusal.fields) == ("INVALID_FIELD", (field,))


async def test_artifacts_come_in_chunks_from_any_offset(served: Served) -> None:
    async def fetch(name: str, offset: int = 0) -> tuple[Any, bytes]:
        request = pb.GetArtifactRequest(job_id=DONE, name=name, offset=offset)
        messages = await drained(served.transfer.GetArtifact(request))
        at = offset
        for message in messages:
            assert message.offset == at
            assert message.crc32c == google_crc32c.value(message.data)
            at += len(message.data)
        assert at == messages[0].artifact.total_bytes
        return messages[0], b"".join(message.data for message in messages)

    first, content = await fetch("stems.json")
    assert first.artifact.content_type == "application/json"
    assert json.loads(content)["model"] == "mismo_lite"

    first, content = await fetch("stems.zip")
    assert first.artifact.content_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        wav = (served.folder / "jobs" / DONE / "stems" / "bass.wav").read_bytes()
        assert archive.read("bass.wav") == wav
    for offset in (1, len(content) // 2, len(content)):
        _, rest = await fetch("stems.zip", offset)
        assert rest == content[offset:]
    await served.all_let_go()


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (pb.GetArtifactRequest(job_id=DONE, name="../secret"), "NOT_FOUND", "ARTIFACT_NOT_FOUND"),
        (pb.GetArtifactRequest(job_id="nowhere", name="stems.zip"), "NOT_FOUND", "JOB_NOT_FOUND"),
        (
            pb.GetArtifactRequest(job_id=DONE, name="stems.zip", offset=-1),
            "INVALID_ARGUMENT",
            "INVALID_FIELD",
        ),
        (
            pb.GetArtifactRequest(job_id=DONE, name="stems.zip", offset=1 << 40),
            "INVALID_ARGUMENT",
            "INVALID_FIELD",
        ),
    ],
)
async def test_an_artifact_that_is_not_there(
    served: Served, request_: pb.GetArtifactRequest, code: str, reason: str
) -> None:
    refusal = await refused(drained(served.transfer.GetArtifact(request_)))
    assert (refusal.code.name, refusal.reason) == (code, reason)


async def test_many_players_of_one_job_do_not_mix(served: Served) -> None:
    async def play(place: int) -> bytes:
        name = ("drums", "bass", "other", "vocals")[place % 4]
        start = place * 1_000
        call = served.transfer.StreamStems(
            iter(
                [
                    opening(
                        stem_names=[name],
                        start_frame=start,
                        credit=pb.StreamCredit(bytes=PLENTY),
                        chunk_bytes=4_096,
                    )
                ]
            )
        )
        chunks = [message.chunk for message in await drained(call) if message.HasField("chunk")]
        assert audio(chunks) == served.stem_pcm(name)[start * 4 :]
        return name.encode()

    await asyncio.gather(*(play(place) for place in range(16)))
    await served.all_let_go()
