"""The tracks, stems and files of the peer: what TransferService moves."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque

import google_crc32c
import grpc
from google.protobuf import timestamp_pb2
from google.rpc import status_pb2

from mismo.analysis.v1 import audio_pb2, job_pb2, transfer_service_pb2, transfer_service_pb2_grpc
from tests.unit.client.peer_status import break_off, fail, rich_error
from tests.unit.client.peer_stream import (
    FRAME_BYTES,
    SAMPLE_RATE,
    StemSession,
    StemStreamRecord,
    StreamFault,
    frame_of,
)

STEM_NAMES = ("drums", "bass", "other", "vocals")
PIXELS = 100
JOB_ID = "job-1"
LINK_TIME = 1_700_000_000
"""When links are made, in seconds of Unix time."""


class TransferPeer(transfer_service_pb2_grpc.TransferServiceServicer):
    """One job with random stems of `total_frames` 16-bit stereo frames, and the uploads that came."""

    def __init__(self, total_frames: int, seed: int) -> None:
        noise = random.Random(seed)
        self.total_frames = total_frames
        self.stems = {name: noise.randbytes(total_frames * FRAME_BYTES) for name in STEM_NAMES}
        self.peaks = {name: noise.randbytes(PIXELS * 4) for name in STEM_NAMES}
        self.run_id = "run-1"
        self.refuses_other_runs = True
        self.finished = True
        self.epoch = 0
        # Streams
        self.stream_faults: deque[StreamFault] = deque()
        self.streams: list[StemStreamRecord] = []
        self.decoded = asyncio.Event()
        self.decoded.set()
        self.ready_frames = total_frames
        self.readied = asyncio.Condition()
        self.held_up = asyncio.Event()
        self.read_faults: deque[StreamFault] = deque()
        self.reads: list[transfer_service_pb2.ReadStemRequest] = []
        self.waveform_faults: deque[StreamFault] = deque()
        self.waveform_reads: list[transfer_service_pb2.ReadWaveformRequest] = []
        # Files
        self.artifact = noise.randbytes(300_000)
        self.artifact_sha256 = hashlib.sha256(self.artifact).hexdigest()
        self.artifact_faults: deque[StreamFault] = deque()
        self.artifact_requests: list[transfer_service_pb2.GetArtifactRequest] = []
        self.uploads: dict[str, bytearray] = {}
        self.upload_headers: list[transfer_service_pb2.UploadHeader] = []
        self.upload_faults: deque[StreamFault] = deque()
        self.known_sha256: set[str] = set()
        self.link_requests: list[transfer_service_pb2.CreateBlobLinkRequest] = []
        self.link_errors: deque[status_pb2.Status] = deque()

    @property
    def server_epoch(self) -> str:
        return f"epoch-{self.epoch}"

    def run_again(self, seed: int = 2) -> None:
        """The job gets another run, of another song of the same length."""
        noise = random.Random(seed)
        self.run_id = f"run-{seed}"
        self.stems = {name: noise.randbytes(self.total_frames * FRAME_BYTES) for name in STEM_NAMES}
        self.peaks = {name: noise.randbytes(PIXELS * 4) for name in STEM_NAMES}
        self.artifact = noise.randbytes(len(self.artifact))
        self.artifact_sha256 = hashlib.sha256(self.artifact).hexdigest()

    async def check_run(self, request, context) -> None:
        """Refuses a request that expects another run."""
        if self.refuses_other_runs and request.expected_run_id not in {"", self.run_id}:
            status = rich_error(
                grpc.StatusCode.FAILED_PRECONDITION, "RUN_REPLACED", f"the job has run {self.run_id} by now"
            )
            await fail(context, status)

    def info(self, names) -> transfer_service_pb2.StreamInfo:
        return transfer_service_pb2.StreamInfo(
            job_id=JOB_ID,
            run_id=self.run_id,
            model="peer_model",
            encoding=audio_pb2.ENCODING_PCM_S16LE,
            stem_names=names,
            total_frames=self.total_frames,
            sample_rate=SAMPLE_RATE,
            channels=2,
            bits_per_sample=16,
            max_chunk_frames=16_384,
            server_epoch=self.server_epoch,
        )

    async def StreamStems(self, request_iterator, context):  # noqa: N802 - the contract's name
        fault = self.stream_faults.popleft() if self.stream_faults else StreamFault()
        opened = (await anext(request_iterator)).open
        await self.check_run(opened, context)
        async for message in StemSession(self, fault, opened).messages(request_iterator, context):
            yield message

    async def ReadStem(self, request, context):  # noqa: N802 - the contract's name
        self.reads.append(request)
        await self.check_run(request, context)
        fault = self.read_faults.popleft() if self.read_faults else StreamFault()
        samples = self.stems[request.stem_name]
        frames = max(1, request.chunk_bytes // FRAME_BYTES)
        start, end = frame_of(request), self.total_frames
        limit = request.frame_limit
        if request.WhichOneof("limit") == "time_limit":
            limit = request.time_limit.ToNanoseconds() * SAMPLE_RATE // 1_000_000_000
        if limit:
            end = min(end, start + limit)
        info = self.info([request.stem_name])
        frame, count = start, 0
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
                    info=info if frame == start else None,
                    start_frame=frame,
                    frame_count=stop - frame,
                    data=data,
                    crc32c=crc,
                )
            frame, count = stop, count + 1
        if start >= end:
            yield transfer_service_pb2.ReadStemResponse(info=info)
        if fault.break_after == count:
            await break_off(context)

    async def ReadWaveform(self, request, context):  # noqa: N802 - the contract's name
        self.waveform_reads.append(request)
        await self.check_run(request, context)
        fault = self.waveform_faults.popleft() if self.waveform_faults else StreamFault()
        names = list(request.stem_names or STEM_NAMES)
        info = transfer_service_pb2.WaveformInfo(
            job_id=request.job_id,
            run_id=self.run_id,
            stem_names=names,
            sample_rate=SAMPLE_RATE,
            total_frames=PIXELS * 256,
            frames_per_pixel=request.frames_per_pixel or 256,
            total_pixels=PIXELS,
        )
        for count, start in enumerate(range(0, PIXELS, 40)):
            if fault.break_after == count:
                await break_off(context)
            torn = fault.corrupt == count
            yield transfer_service_pb2.ReadWaveformResponse(
                info=info if count == 0 else None,
                ranges=[
                    transfer_service_pb2.WaveformRange(
                        stem_index=index,
                        start_pixel=start,
                        peaks=self.peaks[name][start * 4 : (start + 40) * 4 - torn],
                    )
                    for index, name in enumerate(names)
                ],
            )

    async def GetArtifact(self, request, context):  # noqa: N802 - the contract's name
        if request.name not in {"stems.zip", "annotation.jams"}:
            await fail(
                context, rich_error(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND", "no such artifact")
            )
        self.artifact_requests.append(request)
        await self.check_run(request, context)
        fault = self.artifact_faults.popleft() if self.artifact_faults else StreamFault()
        content = self.artifact
        artifact = job_pb2.Artifact(
            name=request.name,
            content_type="application/zip",
            total_bytes=len(content),
            sha256=self.artifact_sha256,
        )
        for count, offset in enumerate(range(request.offset, len(content), 50_000)):
            if fault.break_after == count:
                await break_off(context)
            if fault.end_early_after == count:
                return
            data = content[offset : offset + 50_000]
            yield transfer_service_pb2.GetArtifactResponse(
                artifact=artifact if count == 0 else None,
                run_id=self.run_id if count == 0 else "",
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

    async def CreateBlobLink(self, request, context):  # noqa: N802 - the contract's name
        self.link_requests.append(request)
        await self.check_run(request, context)
        if self.link_errors:
            await fail(context, self.link_errors.popleft())
        expires = timestamp_pb2.Timestamp(seconds=LINK_TIME + (request.ttl.seconds or 3600))
        return transfer_service_pb2.CreateBlobLinkResponse(
            url=f"https://blobs.example/{request.name}?sig=1", expire_time=expires
        )
