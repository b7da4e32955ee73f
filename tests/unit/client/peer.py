"""A real gRPC server that does on purpose what a server does by accident: breaks off, restarts, garbles.

It keeps its jobs, stems and uploads over a restart, and records what clients asked of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Never

import google_crc32c
import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from mismo.analysis.v1 import (
    audio_pb2,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
    transfer_service_pb2,
    transfer_service_pb2_grpc,
)

STEM_NAMES = ("drums", "bass", "other", "vocals")
SAMPLE_RATE = 44_100
FRAME_BYTES = 4
JOB_ID = "job-1"


def rich_error(
    code: grpc.StatusCode,
    reason: str,
    message: str,
    *,
    field: str = "",
    retry_delay: float | None = None,
    **metadata: str,
) -> status_pb2.Status:
    """A status as the contract wants it."""
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=reason, domain="mismo.dj", metadata=metadata)
    )
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_delay is not None:
        delay = Duration()
        delay.FromNanoseconds(round(retry_delay * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


async def fail(context: grpc.aio.ServicerContext[Any, Any], status: status_pb2.Status) -> Never:
    await context.abort_with_status(rpc_status.to_status(status))


async def break_off(context: grpc.aio.ServicerContext[Any, Any]) -> Never:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "the peer breaks off")


@dataclass
class StreamFault:
    """What befalls one stem stream, counted in its chunks; None: nothing."""

    break_after: int | None = None
    restart_after: int | None = None
    end_early_after: int | None = None
    corrupt: int | None = None
    leave_out: int | None = None
    status: status_pb2.Status | None = None
    stale_after_seek: int = 0
    forget_end: bool = False


@dataclass
class StemStreamRecord:
    """What the server saw of one StreamStems call."""

    opened: transfer_service_pb2.StreamOpen
    granted: int = 0
    sent: int = 0
    most_outstanding: int = 0
    credits: list[int] = field(default_factory=list)
    seeks: list[tuple[int, int]] = field(default_factory=list)
    half_closed: bool = False


class Peer(
    job_service_pb2_grpc.JobServiceServicer,
    transfer_service_pb2_grpc.TransferServiceServicer,
    system_service_pb2_grpc.SystemServiceServicer,
):
    """All three services over one job with random stems of `total_frames` 16-bit stereo frames."""

    def __init__(self, total_frames: int = 30_000, seed: int = 1) -> None:
        noise = random.Random(seed)
        self.total_frames = total_frames
        self.stems = {name: noise.randbytes(total_frames * FRAME_BYTES) for name in STEM_NAMES}
        self.epoch = 0
        self.port = 0
        self._server: grpc.aio.Server | None = None
        # Jobs
        self.submits: list[job_service_pb2.SubmitJobRequest] = []
        self.submit_errors: deque[status_pb2.Status] = deque()
        self.accepted: dict[str, job_pb2.Job] = {}
        self.cancelled: list[str] = []
        self.cancels = asyncio.Event()
        self.jobs: list[job_pb2.Job] = []
        self.watches: list[job_service_pb2.WatchJobRequest] = []
        self.watch_script: deque[Callable[..., AsyncIterator[job_service_pb2.WatchJobResponse]]] = deque()
        # Streams
        self.stream_faults: deque[StreamFault] = deque()
        self.streams: list[StemStreamRecord] = []
        self.read_faults: deque[StreamFault] = deque()
        self.reads: list[transfer_service_pb2.ReadStemRequest] = []
        self.ready_frames = total_frames
        self.readied = asyncio.Condition()
        self.held_up = asyncio.Event()
        # Files
        self.artifact = noise.randbytes(300_000)
        self.artifact_faults: deque[StreamFault] = deque()
        self.artifact_offsets: list[int] = []
        self.uploads: dict[str, bytearray] = {}
        self.upload_headers: list[transfer_service_pb2.UploadHeader] = []
        self.upload_faults: deque[StreamFault] = deque()
        self.known_sha256: set[str] = set()

    async def start(self) -> None:
        self.epoch += 1
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        job_service_pb2_grpc.add_JobServiceServicer_to_server(self, server)
        transfer_service_pb2_grpc.add_TransferServiceServicer_to_server(self, server)
        system_service_pb2_grpc.add_SystemServiceServicer_to_server(self, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._server = server

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def server_epoch(self) -> str:
        return f"epoch-{self.epoch}"

    def job(self, job_id: str = JOB_ID, state: job_pb2.JobState = job_pb2.JOB_STATE_SUCCEEDED) -> job_pb2.Job:
        return job_pb2.Job(
            job_id=job_id,
            revision=9,
            state=state,
            model="peer_model",
            artifacts=["stems.zip"],
            stem_set=job_pb2.StemSetInfo(
                stem_names=STEM_NAMES,
                sample_rate=SAMPLE_RATE,
                channels=2,
                total_frames=self.total_frames,
                encoding=audio_pb2.ENCODING_PCM_S16LE,
            ),
        )

    # JobService

    async def SubmitJob(self, request, context):  # noqa: N802 - the contract's name
        self.submits.append(request)
        if self.submit_errors:
            await fail(context, self.submit_errors.popleft())
        known = request.request_id in self.accepted
        if not known:
            job_id = request.job_id or f"job-{len(self.accepted) + 1}"
            self.accepted[request.request_id] = self.job(job_id, job_pb2.JOB_STATE_RUNNING)
        return job_service_pb2.SubmitJobResponse(
            job=self.accepted[request.request_id], deduplicated=known, cache_hit=False
        )

    async def GetJob(self, request, context):  # noqa: N802 - the contract's name
        found = next((job for job in self.jobs if job.job_id == request.job_id), None)
        if found is None:
            await fail(
                context,
                rich_error(
                    grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", "job_id: there is no such job", field="job_id"
                ),
            )
        return job_service_pb2.GetJobResponse(job=found)

    async def ListJobs(self, request, context):  # noqa: N802 - the contract's name
        begin = int(request.page_token or 0)
        size = request.page_size or 100
        fitting = [job for job in self.jobs if not request.states or job.state in request.states]
        more = begin + size < len(fitting)
        return job_service_pb2.ListJobsResponse(
            jobs=fitting[begin : begin + size], next_page_token=str(begin + size) if more else ""
        )

    async def WatchJob(self, request, context):  # noqa: N802 - the contract's name
        self.watches.append(request)
        if self.watch_script:
            async for event in self.watch_script.popleft()(request, context):
                yield event
        else:
            yield self.event(9, snapshot=self.job(request.job_id))
            yield self.event(9, terminal=job_service_pb2.Terminal(job=self.job(request.job_id)))

    def event(self, revision: int, **event) -> job_service_pb2.WatchJobResponse:
        return job_service_pb2.WatchJobResponse(revision=revision, server_epoch=self.server_epoch, **event)

    async def CancelJob(self, request, context):  # noqa: N802 - the contract's name
        self.cancelled.append(request.job_id)
        self.cancels.set()
        return job_service_pb2.CancelJobResponse(job=self.job(request.job_id, job_pb2.JOB_STATE_CANCELLED))

    async def UpdateJob(self, request, context):  # noqa: N802 - the contract's name
        job = self.job(request.job_id, job_pb2.JOB_STATE_RUNNING)
        job.priority = request.priority
        job.options.playhead.CopyFrom(request.playhead)
        return job_service_pb2.UpdateJobResponse(job=job)

    async def DeleteJob(self, request, context):  # noqa: N802 - the contract's name
        self.jobs = [job for job in self.jobs if job.job_id != request.job_id]
        return job_service_pb2.DeleteJobResponse()

    # SystemService

    async def GetServerInfo(self, request, context):  # noqa: N802 - the contract's name
        return system_service_pb2.GetServerInfoResponse(
            version="1.2.3",
            server_epoch=self.server_epoch,
            default_model="peer_model",
            queue_capacity=256,
            devices=[system_service_pb2.Device(name="cpu", description="a processor", precision="fp32")],
        )

    async def ListModels(self, request, context):  # noqa: N802 - the contract's name
        return system_service_pb2.ListModelsResponse(
            models=[
                system_service_pb2.Model(
                    name="peer_model",
                    stem_names=STEM_NAMES,
                    sample_rate=SAMPLE_RATE,
                    state=system_service_pb2.MODEL_STATE_WARM,
                    realtime_factor=5.2,
                    default=True,
                ),
                system_service_pb2.Model(
                    name="far_model",
                    state=system_service_pb2.MODEL_STATE_UNAVAILABLE,
                    reason="no weights; put them into a model folder",
                ),
            ]
        )

    async def WatchResources(self, request, context):  # noqa: N802 - the contract's name
        for jobs_running in range(1_000_000):
            yield system_service_pb2.WatchResourcesResponse(jobs_running=jobs_running)

    # TransferService

    def info(self, names) -> transfer_service_pb2.StreamInfo:
        return transfer_service_pb2.StreamInfo(
            encoding=audio_pb2.ENCODING_PCM_S16LE,
            stem_names=names,
            total_frames=self.total_frames,
            sample_rate=SAMPLE_RATE,
            channels=2,
            server_epoch=self.server_epoch,
        )

    async def StreamStems(self, request_iterator, context):  # noqa: N802 - the contract's name
        fault = self.stream_faults.popleft() if self.stream_faults else StreamFault()
        session = StemSession(self, fault)
        async for message in session.messages(request_iterator, context):
            yield message

    async def ReadStem(self, request, context):  # noqa: N802 - the contract's name
        self.reads.append(request)
        fault = self.read_faults.popleft() if self.read_faults else StreamFault()
        samples = self.stems[request.stem_name]
        frames = max(1, request.chunk_bytes // FRAME_BYTES)
        end = self.total_frames
        if request.frame_limit:
            end = min(end, request.start_frame + request.frame_limit)
        info = self.info([request.stem_name])
        frame, count = request.start_frame, 0
        while frame < end:
            if fault.break_after == count:
                await break_off(context)
            if fault.end_early_after == count:
                return
            if frame >= self.ready_frames and not request.follow:
                await fail(
                    context,
                    rich_error(grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_READY", "not separated yet"),
                )
            stop = min(frame + frames, end)
            data = samples[frame * FRAME_BYTES : stop * FRAME_BYTES]
            crc = google_crc32c.value(data) ^ (fault.corrupt == count)
            if fault.leave_out != count:
                yield transfer_service_pb2.ReadStemResponse(
                    info=info if frame == request.start_frame else None,
                    start_frame=frame,
                    frame_count=stop - frame,
                    data=data,
                    crc32c=crc,
                )
            frame, count = stop, count + 1
        if request.start_frame >= end:
            yield transfer_service_pb2.ReadStemResponse(info=info)

    async def GetArtifact(self, request, context):  # noqa: N802 - the contract's name
        if request.name != "stems.zip":
            await fail(
                context, rich_error(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND", "no such artifact")
            )
        self.artifact_offsets.append(request.offset)
        fault = self.artifact_faults.popleft() if self.artifact_faults else StreamFault()
        content = self.artifact
        for count, offset in enumerate(range(request.offset, len(content), 50_000)):
            if fault.break_after == count:
                await break_off(context)
            if fault.end_early_after == count:
                return
            data = content[offset : offset + 50_000]
            yield transfer_service_pb2.GetArtifactResponse(
                total_bytes=len(content) if offset == request.offset else 0,
                offset=offset,
                data=data,
                crc32c=google_crc32c.value(data) ^ (fault.corrupt == count),
            )

    async def UploadAudio(self, request_iterator, context):  # noqa: N802 - the contract's name
        header = (await anext(request_iterator)).header
        self.upload_headers.append(header)
        fault = self.upload_faults.popleft() if self.upload_faults else StreamFault()
        upload_id = header.upload_id or f"upload-{len(self.uploads) + 1}"
        if header.upload_id and header.upload_id not in self.uploads:
            await fail(context, rich_error(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND", "no such upload"))
        content = self.uploads.setdefault(upload_id, bytearray())

        def ack(complete: bool = False) -> transfer_service_pb2.UploadAudioResponse:
            sha256 = hashlib.sha256(content).hexdigest() if complete else ""
            return transfer_service_pb2.UploadAudioResponse(
                upload_id=upload_id, committed_bytes=len(content), complete=complete, sha256=sha256
            )

        if header.sha256 in self.known_sha256:
            yield transfer_service_pb2.UploadAudioResponse(
                upload_id=upload_id, committed_bytes=header.total_bytes, complete=True, sha256=header.sha256
            )
            return
        yield ack()
        count = 0
        async for message in request_iterator:
            if message.HasField("finish"):
                if hashlib.sha256(content).hexdigest() != header.sha256:
                    content.clear()
                    await fail(
                        context,
                        rich_error(grpc.StatusCode.DATA_LOSS, "UPLOAD_CHECKSUM_MISMATCH", "wrong sha256"),
                    )
                yield ack(complete=True)
                return
            chunk = message.chunk
            assert chunk.offset == len(content), "the peer takes neither gaps nor repetitions"
            if fault.corrupt == count or google_crc32c.value(chunk.data) != chunk.crc32c:
                await fail(
                    context,
                    rich_error(grpc.StatusCode.DATA_LOSS, "UPLOAD_CHECKSUM_MISMATCH", "wrong crc32c"),
                )
            content += chunk.data
            count += 1
            if fault.break_after == count:
                await break_off(context)
            yield ack()

    async def GetUpload(self, request, context):  # noqa: N802 - the contract's name
        content = self.uploads[request.upload_id]
        return transfer_service_pb2.GetUploadResponse(
            upload_id=request.upload_id, committed_bytes=len(content), total_bytes=len(content), complete=True
        )


class StemSession:
    """One StreamStems call of the peer."""

    def __init__(self, peer: Peer, fault: StreamFault) -> None:
        self.peer = peer
        self.fault = fault
        self.changed = asyncio.Event()
        self.generation = 0
        self.wanted: tuple[int, int] | None = None

    async def messages(self, requests, context) -> AsyncIterator[transfer_service_pb2.StreamStemsResponse]:
        opened = (await anext(requests)).open
        record = StemStreamRecord(opened, granted=opened.credit_bytes)
        self.peer.streams.append(record)
        listener = asyncio.create_task(self.listen(requests, record))
        try:
            async for message in self.play(record, context):
                yield message
        finally:
            listener.cancel()

    async def listen(self, requests, record: StemStreamRecord) -> None:
        async for message in requests:
            if message.HasField("credit"):
                record.credits.append(message.credit.bytes)
                record.granted += message.credit.bytes
            else:
                self.wanted = (message.seek.generation, message.seek.start_frame)
                record.seeks.append(self.wanted)
            self.changed.set()
        record.half_closed = True
        self.changed.set()

    async def wait(self) -> None:
        self.changed.clear()
        await self.changed.wait()

    async def play(self, record: StemStreamRecord, context):
        peer, fault, opened = self.peer, self.fault, record.opened
        response = transfer_service_pb2.StreamStemsResponse
        if fault.status is not None:
            await fail(context, fault.status)
        names = list(opened.stem_names or STEM_NAMES)
        yield response(info=peer.info(names))
        points = {point.stem_name: point.start_frame for point in opened.resume_points}
        frames = [points.get(name, opened.start_frame) for name in names]
        ended: set[int] = set()
        chunk_frames = (opened.chunk_bytes or 65_536) // FRAME_BYTES
        count = sequence = 0
        stale = 0
        end_sent = False
        while True:
            if self.wanted is not None:
                if stale < fault.stale_after_seek:
                    stale += 1
                else:
                    self.generation, frame = self.wanted
                    self.wanted = None
                    frames, ended, sequence, end_sent = [frame] * len(names), set(), 0, False
                    applied = transfer_service_pb2.SeekApplied(generation=self.generation, start_frame=frame)
                    yield response(seek_applied=applied)
            for index, frame in enumerate(frames):
                if frame >= peer.total_frames and index not in ended:
                    ended.add(index)
                    sha256 = hashlib.sha256(peer.stems[names[index]]).hexdigest()
                    yield response(
                        end_of_stem=transfer_service_pb2.EndOfStem(
                            stem_index=index, generation=self.generation, sha256=sha256
                        )
                    )
            if len(ended) == len(names):
                if fault.forget_end or record.half_closed:
                    return
                if not end_sent:
                    end_sent = True
                    yield response(end=transfer_service_pb2.StreamEnd(generation=self.generation))
                if self.wanted is None and not record.half_closed:
                    await self.wait()
                continue
            index = min((i for i in range(len(names)) if i not in ended), key=lambda i: frames[i])
            start = frames[index]
            if start >= peer.ready_frames:
                waiting = audio_pb2.FrameRange(start_frame=start, end_frame=peer.total_frames)
                yield response(
                    not_ready=transfer_service_pb2.NotReady(generation=self.generation, range=waiting)
                )
                peer.held_up.set()
                async with peer.readied:
                    await peer.readied.wait_for(lambda start=start: start < peer.ready_frames)
                continue
            stop = min(start + chunk_frames, peer.ready_frames, peer.total_frames)
            allowed = (record.granted - record.sent) // FRAME_BYTES
            stop = min(stop, start + allowed)
            if stop == start:
                await self.wait()
                continue
            if fault.break_after == count:
                await break_off(context)
            if fault.end_early_after == count:
                return
            if fault.restart_after == count:
                restarting = asyncio.create_task(peer.restart())
                restarting.add_done_callback(lambda task: task.result())
                await asyncio.Event().wait()
            data = peer.stems[names[index]][start * FRAME_BYTES : stop * FRAME_BYTES]
            record.sent += len(data)
            record.most_outstanding = max(record.most_outstanding, record.granted - record.sent + len(data))
            frames[index] = stop
            if fault.leave_out != count:
                yield response(
                    chunk=transfer_service_pb2.StemChunk(
                        stem_index=index,
                        generation=self.generation,
                        sequence=sequence,
                        start_frame=start,
                        frame_count=stop - start,
                        data=data,
                        crc32c=google_crc32c.value(data) ^ (fault.corrupt == count),
                    )
                )
            count += 1
            sequence += 1
