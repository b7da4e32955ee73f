"""A thin client on the raw stubs: what it sends and reads is the contract, nothing is mended on the way."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import google_crc32c
import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2_grpc

from mismo.analysis.v1 import audio_pb2, job_pb2, stage_pb2
from mismo.analysis.v1 import job_service_pb2 as jobs_pb2
from mismo.analysis.v1 import system_service_pb2 as system_pb2
from mismo.analysis.v1 import transfer_service_pb2 as transfer_pb2
from mismo.analysis.v1.job_service_pb2_grpc import JobServiceStub
from mismo.analysis.v1.system_service_pb2_grpc import SystemServiceStub
from mismo.analysis.v1.transfer_service_pb2_grpc import TransferServiceStub

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which a test gives up; never what it measures."""

SUCCEEDED = job_pb2.JOB_STATE_SUCCEEDED
FAILED = job_pb2.JOB_STATE_FAILED
CANCELLED = job_pb2.JOB_STATE_CANCELLED
QUEUED = job_pb2.JOB_STATE_QUEUED
RUNNING = job_pb2.JOB_STATE_RUNNING
LOW, NORMAL, HIGH = job_pb2.PRIORITY_LOW, job_pb2.PRIORITY_NORMAL, job_pb2.PRIORITY_HIGH


@dataclass(frozen=True)
class Refusal:
    """What a client reads of an error."""

    code: str
    reason: str
    field: str
    message: str
    retry_seconds: float | None
    metadata: dict[str, str]


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """The rich status of an error; fails where one of the promised parts is missing."""
    details = dict(error.trailing_metadata() or ())
    packed = details["grpc-status-details-bin"]
    assert isinstance(packed, bytes)
    status = status_pb2.Status.FromString(packed)
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    seconds: float | None = None
    for detail in status.details:
        if not detail.Unpack(info):
            detail.Unpack(bad)
        if detail.Unpack(retry):
            seconds = retry.retry_delay.ToTimedelta().total_seconds()
    assert info.domain == "mismo.dj"
    assert "Traceback" not in status.message
    name = bad.field_violations[0].field if bad.field_violations else ""
    return Refusal(error.code().name, info.reason, name, status.message, seconds, dict(info.metadata))


async def refused(call: Awaitable[Any]) -> Refusal:
    """The error that a call ends with; fails if it succeeds."""
    try:
        answer = await asyncio.wait_for(call, PATIENCE)
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    raise AssertionError(f"this was not refused: {answer}")


def health_stub(channel: grpc.aio.Channel) -> Any:
    """The stub of the health service; its type stubs name no method."""
    return health_pb2_grpc.HealthStub(channel)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what no event tells."""
    async with asyncio.timeout(PATIENCE):
        for _ in itertools.count():
            if condition():
                return
            await asyncio.sleep(0.002)


async def drained(stream: AsyncIterator[T]) -> list[T]:
    """All messages of a stream."""
    async with asyncio.timeout(PATIENCE):
        return [message async for message in stream]


def seconds(value: float) -> Duration:
    """A Duration."""
    duration = Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration


def options(**given: Any) -> job_pb2.JobOptions:
    """JobOptions with those of the stems; `playhead` in seconds, `encoding` and `sample_rate` of the output."""
    message = job_pb2.JobOptions(stages=given.pop("stages", ()))
    if "playhead" in given:
        message.stems.playhead.CopyFrom(seconds(given.pop("playhead")))
    for name in ("encoding", "sample_rate"):
        if name in given:
            setattr(message.stems.output, name, given.pop(name))
    if given:
        message.stems.MergeFrom(stage_pb2.StemOptions(**given))
    return message


def names_of(job: job_pb2.Job) -> list[str]:
    """The names of a job's artifacts."""
    return [artifact.name for artifact in job.artifacts]


@dataclass
class Played:
    """What a StreamStems session brought."""

    info: transfer_pb2.StreamInfo
    stems: list[bytes]
    sha256: list[str]
    starts: list[int]
    chunks: list[transfer_pb2.StemChunk]
    waited: int


class Client:
    """One connection to a server."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(
            address, options=[("grpc.max_receive_message_length", 8 << 20)]
        )
        self.jobs: Any = JobServiceStub(self.channel)
        self.transfer: Any = TransferServiceStub(self.channel)
        self.system: Any = SystemServiceStub(self.channel)

    async def close(self) -> None:
        await self.channel.close()

    # Jobs

    async def submit(
        self, source: Path | str | job_pb2.Source, *, wanted: job_pb2.JobOptions | None = None, **fields: Any
    ) -> jobs_pb2.SubmitJobResponse:
        """Submits a path (or any source); `wanted` are its options."""
        if not isinstance(source, job_pb2.Source):
            source = job_pb2.Source(path=str(source))
        request = jobs_pb2.SubmitJobRequest(source=source, options=wanted, **fields)
        return await self.jobs.SubmitJob(request, timeout=PATIENCE)

    async def get(self, job_id: str) -> job_pb2.Job:
        return (await self.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job_id), timeout=PATIENCE)).job

    async def cancel(self, job_id: str, **fields: Any) -> job_pb2.Job:
        request = jobs_pb2.CancelJobRequest(job_id=job_id, **fields)
        return (await self.jobs.CancelJob(request, timeout=PATIENCE)).job

    async def delete(self, job_id: str, **fields: Any) -> None:
        await self.jobs.DeleteJob(jobs_pb2.DeleteJobRequest(job_id=job_id, **fields), timeout=PATIENCE)

    async def update(
        self,
        job_id: str,
        playhead: float | None = None,
        priority: job_pb2.Priority | None = None,
        mask: Iterable[str] = (),
        **fields: Any,
    ) -> job_pb2.Job:
        """Updates the fields of `mask`, else those that are given."""
        request = jobs_pb2.UpdateJobRequest(job_id=job_id, priority=priority, **fields)
        request.update_mask.paths.extend(mask)
        if playhead is not None:
            request.playhead.CopyFrom(seconds(playhead))
        return (await self.jobs.UpdateJob(request, timeout=PATIENCE)).job

    async def list(self, **fields: Any) -> jobs_pb2.ListJobsResponse:
        return await self.jobs.ListJobs(jobs_pb2.ListJobsRequest(**fields), timeout=PATIENCE)

    def watch(self, job_id: str, **fields: Any) -> Any:
        """The call: iterate it, or cancel it."""
        return self.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job_id, **fields), timeout=PATIENCE)

    async def events(self, job_id: str, **fields: Any) -> list[jobs_pb2.WatchJobResponse]:
        """All events up to the end of the job."""
        fields.setdefault("min_progress_interval", seconds(0))
        return await drained(self.watch(job_id, **fields))

    async def ended(self, job_id: str) -> job_pb2.Job:
        """The job as it ends."""
        events = await self.events(job_id)
        assert events[-1].HasField("terminal")
        return events[-1].terminal.job

    async def succeeded(self, job_id: str) -> job_pb2.Job:
        """The job as it ends; fails if it failed."""
        job = await self.ended(job_id)
        assert job.state == SUCCEEDED, job
        return job

    async def info(self) -> system_pb2.GetServerInfoResponse:
        return await self.system.GetServerInfo(system_pb2.GetServerInfoRequest(), timeout=PATIENCE)

    # Stems

    async def read_stem(self, job_id: str, stem: str, **fields: Any) -> bytes:
        """The payload of a ReadStem."""
        request = transfer_pb2.ReadStemRequest(job_id=job_id, stem_name=stem, **fields)
        data = bytearray()
        for message in await drained(self.transfer.ReadStem(request, timeout=PATIENCE)):
            assert not message.data or message.crc32c == google_crc32c.value(message.data)
            data += message.data
        return bytes(data)

    async def artifact(self, job_id: str, name: str, offset: int = 0, **fields: Any) -> bytes:
        """The content of an artifact."""
        request = transfer_pb2.GetArtifactRequest(job_id=job_id, name=name, offset=offset, **fields)
        messages = await drained(self.transfer.GetArtifact(request, timeout=PATIENCE))
        data = bytearray()
        for message in messages:
            assert message.offset == offset + len(data)
            assert message.crc32c == google_crc32c.value(message.data)
            data += message.data
        assert messages[0].artifact.total_bytes == offset + len(data)
        return bytes(data)

    def stream(self, job_id: str, *, credit_bytes: int = 1 << 20, **fields: Any) -> StemSession:
        """Opens a StreamStems session."""
        return StemSession(self, job_id, credit_bytes, fields)

    async def play(self, job_id: str, *, credit_bytes: int = 1 << 20, **fields: Any) -> Played:
        """Plays a job to its end, granting again what came whenever half of the credit is used."""
        async with self.stream(job_id, credit_bytes=credit_bytes, **fields) as session:
            return await session.play()

    def read_waveform(self, job_id: str, **fields: Any) -> Any:
        """The call: iterate it, or cancel it."""
        request = transfer_pb2.ReadWaveformRequest(job_id=job_id, **fields)
        return self.transfer.ReadWaveform(request, timeout=PATIENCE)

    # Uploads

    async def upload(self, content: bytes, **fields: Any) -> transfer_pb2.UploadAudioResponse:
        """Sends a whole file; the last acknowledgement."""
        header = transfer_pb2.UploadHeader(total_bytes=len(content), **fields)
        messages: list[transfer_pb2.UploadAudioRequest] = [
            transfer_pb2.UploadAudioRequest(header=header),
            *chunks_of(content),
            transfer_pb2.UploadAudioRequest(finish=transfer_pb2.UploadFinish()),
        ]
        return (await self.upload_messages(messages))[-1]

    async def upload_messages(
        self, messages: Iterable[transfer_pb2.UploadAudioRequest]
    ) -> list[transfer_pb2.UploadAudioResponse]:
        """Sends these messages and reads all acknowledgements.

        The first one is answered before the rest goes out: a write into a call that has just been refused
        would hide the refusal.
        """
        first, *rest = messages
        call = self.transfer.UploadAudio(timeout=PATIENCE)
        await call.write(first)
        answers = aiter(call)
        answered = [await anext(answers)]
        for message in rest:
            await call.write(message)
        await call.done_writing()
        return answered + await drained(answers)

    async def get_upload(self, upload_id: str) -> transfer_pb2.GetUploadResponse:
        request = transfer_pb2.GetUploadRequest(upload_id=upload_id)
        return await self.transfer.GetUpload(request, timeout=PATIENCE)


def upload_header(total_bytes: int, **fields: Any) -> transfer_pb2.UploadAudioRequest:
    """The first message of an upload."""
    header = transfer_pb2.UploadHeader(total_bytes=total_bytes, **fields)
    return transfer_pb2.UploadAudioRequest(header=header)


def upload_finish() -> transfer_pb2.UploadAudioRequest:
    """The last message of an upload."""
    return transfer_pb2.UploadAudioRequest(finish=transfer_pb2.UploadFinish())


def chunks_of(content: bytes, size: int = 1 << 16, offset: int = 0) -> list[transfer_pb2.UploadAudioRequest]:
    """Chunk messages from `offset` on."""
    return [upload_chunk(place, content[place : place + size]) for place in range(offset, len(content), size)]


def upload_chunk(offset: int, data: bytes, crc32c: int | None = None) -> transfer_pb2.UploadAudioRequest:
    """One chunk, with its right checksum if none is given."""
    chunk = transfer_pb2.UploadChunk(offset=offset, data=data)
    chunk.crc32c = google_crc32c.value(data) if crc32c is None else crc32c
    return transfer_pb2.UploadAudioRequest(chunk=chunk)


class StemSession:
    """One StreamStems call; enter it, then `play`, or speak by hand."""

    def __init__(self, client: Client, job_id: str, credit_bytes: int, fields: dict[str, Any]) -> None:
        opening = transfer_pb2.StreamOpen(
            job_id=job_id, credit=transfer_pb2.StreamCredit(bytes=credit_bytes), **fields
        )
        self._opening = transfer_pb2.StreamStemsRequest(open=opening)
        self._start = opening.start_frame
        self._credit_bytes = credit_bytes
        self.call: Any = client.transfer.StreamStems(timeout=PATIENCE)

    async def __aenter__(self) -> StemSession:
        await self.call.write(self._opening)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.call.cancel()

    async def next(self) -> transfer_pb2.StreamStemsResponse:
        """The next message; fails at the end of the stream."""
        message = await asyncio.wait_for(self.call.read(), PATIENCE)
        if message is grpc.aio.EOF:
            await self.call.code()
            raise AssertionError(f"the stream ended: {self.call}")
        return message

    async def next_of(self, kind: str) -> Any:
        """The next message of one kind; others are passed over."""
        while True:
            message = await self.next()
            if message.WhichOneof("message") == kind:
                return getattr(message, kind)

    async def credit(self, count: int) -> None:
        """Grants bytes."""
        credit = transfer_pb2.StreamCredit(bytes=count)
        await self.call.write(transfer_pb2.StreamStemsRequest(credit=credit))

    async def seek(self, generation: int, start_frame: int) -> None:
        """Goes elsewhere."""
        seek = transfer_pb2.StreamSeek(generation=generation, start_frame=start_frame)
        await self.call.write(transfer_pb2.StreamStemsRequest(seek=seek))

    async def play(self) -> Played:
        """Reads up to End, granting what came whenever half of the credit is used.

        Not after each chunk: what is written while the server ends the call hides the status it ends with.
        """
        played: Played | None = None
        waited = owed = 0
        async for message in self.call:
            kind = message.WhichOneof("message")
            if kind == "info":
                info: transfer_pb2.StreamInfo = message.info
                names = len(info.stem_names)
                played = Played(info, [b""] * names, [""] * names, [-1] * names, [], waited)
            elif kind == "not_ready":
                waited += 1
            elif kind == "chunk":
                assert played is not None
                chunk = message.chunk
                assert chunk.crc32c == google_crc32c.value(chunk.data)
                assert chunk.sequence == len(played.chunks)
                if played.starts[chunk.stem_index] < 0:
                    played.starts[chunk.stem_index] = chunk.start_frame
                played.chunks.append(chunk)
                owed += len(chunk.data)
                if owed >= self._credit_bytes // 2:
                    await self.credit(owed)
                    owed = 0
            elif kind == "end_of_stem":
                assert played is not None
                played.sha256[message.end_of_stem.stem_index] = message.end_of_stem.sha256
            elif kind == "end":
                assert played is not None
                played.waited = waited
                for index in range(len(played.stems)):
                    played.stems[index] = b"".join(c.data for c in played.chunks if c.stem_index == index)
                await self.call.done_writing()
                return played
        raise AssertionError(f"the stream ended without End: {await self.call.code()}")


def new_id() -> str:
    """A request_id."""
    return str(uuid.uuid4())


def ready_ranges(events: Iterable[jobs_pb2.WatchJobResponse]) -> list[tuple[int, int]]:
    """The ranges of the segment_ready events, in the order they were told."""
    return [
        (r.start_frame, r.end_frame)
        for event in events
        if event.HasField("segment_ready")
        for r in event.segment_ready.ranges
    ]


def stage_states(job: job_pb2.Job) -> dict[str, str]:
    """Stage name to state name."""
    return {
        stage_pb2.Stage.Name(s.stage).removeprefix("STAGE_"): stage_pb2.StageState.Name(s.state).removeprefix(
            "STAGE_STATE_"
        )
        for s in job.stages
    }


PCM_S16LE = audio_pb2.ENCODING_PCM_S16LE
PCM_S24LE = audio_pb2.ENCODING_PCM_S24LE
PCM_F32LE = audio_pb2.ENCODING_PCM_F32LE
FLAC = audio_pb2.ENCODING_FLAC
