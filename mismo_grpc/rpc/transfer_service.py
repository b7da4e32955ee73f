"""Implements TransferService with `Uploads` and with the stems and artifacts of `Jobs`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc

from mismo.analysis.v1 import transfer_service_pb2 as pb
from mismo.analysis.v1.transfer_service_pb2_grpc import TransferServiceServicer
from mismo_grpc.audio.checksum import crc32c
from mismo_grpc.completion import end_task
from mismo_grpc.errors import InvalidFieldError, JobNotReadyError, MismoError, check_run
from mismo_grpc.jobs.job import Artifact
from mismo_grpc.orchestration.service import Jobs
from mismo_grpc.rpc.job_messages import artifact_message
from mismo_grpc.rpc.stem_mapping import client_message, info_message, limit_of, server_message, start_of
from mismo_grpc.rpc.upload_stream import UploadStream
from mismo_grpc.rpc.values import bounded_seconds, encoding_of, timestamp
from mismo_grpc.rpc.waveform_mapping import waveform_messages
from mismo_grpc.streaming.positions import check_not_negative
from mismo_grpc.streaming.range_read import StemRangeRead
from mismo_grpc.streaming.stream import StemStream
from mismo_grpc.streaming.waveform_reader import check_frames_per_pixel
from mismo_grpc.streaming.wire_format import check_chunk_bytes
from mismo_grpc.uploads.uploads import Uploads

Context = grpc.aio.ServicerContext[Any, Any]

ARTIFACT_CHUNK_BYTES = 1 << 18
MAX_LINK_SECONDS = 7 * 86400.0
"""The limit of S3 for a signed link."""


class TransferService(TransferServiceServicer):
    """Receives tracks, and sends stems, waveforms and artifacts."""

    def __init__(
        self, jobs: Jobs, uploads: Uploads, on_bytes: Callable[[int], None], *, idle_seconds: float
    ) -> None:
        self._on_bytes = on_bytes
        self._jobs = jobs
        self._uploads = uploads
        self._idle_seconds = idle_seconds

    async def UploadAudio(
        self, request_iterator: AsyncIterator[pb.UploadAudioRequest], context: Context
    ) -> AsyncGenerator[pb.UploadAudioResponse, None]:
        upload = UploadStream(self._uploads, time.time, self._idle_seconds)
        async with (
            _beside(upload.receive(request_iterator)) as receiving,
            aclosing(upload.acknowledgements(receiving)) as acknowledgements,
        ):
            async for status in acknowledgements:
                yield pb.UploadAudioResponse(
                    upload_id=status.upload_id,
                    committed_bytes=status.committed_bytes,
                    complete=status.complete,
                    sha256=status.sha256,
                )

    async def GetUpload(self, request: pb.GetUploadRequest, context: Context) -> pb.GetUploadResponse:
        status = await self._uploads.get(request.upload_id)
        return pb.GetUploadResponse(
            upload_id=status.upload_id,
            committed_bytes=status.committed_bytes,
            total_bytes=status.total_bytes,
            complete=status.complete,
            sha256=status.sha256,
        )

    async def StreamStems(
        self, request_iterator: AsyncIterator[pb.StreamStemsRequest], context: Context
    ) -> AsyncGenerator[pb.StreamStemsResponse, None]:
        session = StemStream(
            self._jobs.open_stems, server_epoch=self._jobs.epoch, idle_seconds=self._idle_seconds
        )
        async with _beside(_listen(request_iterator, session)), aclosing(session.messages()) as messages:
            async for message in messages:
                response = server_message(message)
                self._on_bytes(len(response.chunk.data))
                yield response

    async def ReadStem(
        self, request: pb.ReadStemRequest, context: Context
    ) -> AsyncGenerator[pb.ReadStemResponse, None]:
        # Checked before the wait for the track.
        encoding = encoding_of(request.encoding, "encoding")
        start, limit = start_of(request, "start_time"), limit_of(request)
        check_not_negative(start, "start_frame", "start_time")
        check_not_negative(limit, "frame_limit", "time_limit")
        check_chunk_bytes(request.chunk_bytes, "chunk_bytes")
        job = await self._jobs.get(request.job_id)
        check_run(job.job_id, request.expected_run_id, job.run_id)
        if job.layout is None and not request.follow and not job.state.ended:
            raise JobNotReadyError(
                "the track is not decoded yet; ask again later, or set follow to wait for it"
            )
        async with self._jobs.open_stems(request.job_id, request.expected_run_id) as source:
            reading = StemRangeRead(
                source,
                request.stem_name,
                encoding,
                start=start,
                limit=limit,
                follow=request.follow,
                chunk_bytes=request.chunk_bytes,
            )
            yield pb.ReadStemResponse(
                info=info_message(reading.info(self._jobs.epoch)),
                start_frame=reading.start_frame,
            )
            async with aclosing(reading.slices()) as slices:
                async for audio in slices:
                    self._on_bytes(len(audio.data))
                    yield pb.ReadStemResponse(
                        start_frame=audio.start_frame,
                        frame_count=audio.frame_count,
                        data=audio.data,
                        crc32c=crc32c(audio.data),
                    )

    async def ReadWaveform(
        self, request: pb.ReadWaveformRequest, context: Context
    ) -> AsyncGenerator[pb.ReadWaveformResponse, None]:
        # Checked before the wait for the track.
        check_frames_per_pixel(request.frames_per_pixel)
        async with (
            self._jobs.open_waveform(
                request.job_id, request.expected_run_id, wait=request.follow
            ) as waveform,
            aclosing(waveform_messages(waveform, request)) as messages,
        ):
            async for message in messages:
                self._on_bytes(sum(len(each.peaks) for each in message.ranges))
                yield message

    async def GetArtifact(
        self, request: pb.GetArtifactRequest, context: Context
    ) -> AsyncGenerator[pb.GetArtifactResponse, None]:
        if request.offset < 0:
            raise InvalidFieldError("offset must not be negative", field="offset")
        opening = self._jobs.artifacts.open(request.job_id, request.name, request.expected_run_id)
        async with opening as artifact:
            offset = request.offset
            data = await artifact.read(offset, ARTIFACT_CHUNK_BYTES)
            first = _artifact_chunk(offset, data)
            first.run_id = artifact.run_id
            first.artifact.CopyFrom(
                artifact_message(Artifact(request.name, artifact.total_bytes, artifact.sha256))
            )
            yield first
            while data:
                self._on_bytes(len(data))
                offset += len(data)
                data = await artifact.read(offset, ARTIFACT_CHUNK_BYTES)
                if data:
                    yield _artifact_chunk(offset, data)

    async def CreateBlobLink(
        self, request: pb.CreateBlobLinkRequest, context: Context
    ) -> pb.CreateBlobLinkResponse:
        ttl = bounded_seconds(
            request.ttl if request.HasField("ttl") else None, 3600.0, 1.0, MAX_LINK_SECONDS, "ttl"
        )
        link = await self._jobs.blob_links.create(request.job_id, request.name, ttl, request.expected_run_id)
        return pb.CreateBlobLinkResponse(url=link.url, expire_time=timestamp(link.expires_at))


def _artifact_chunk(offset: int, data: bytes) -> pb.GetArtifactResponse:
    return pb.GetArtifactResponse(offset=offset, data=data, crc32c=crc32c(data))


async def _listen(requests: AsyncIterator[pb.StreamStemsRequest], session: StemStream) -> None:
    try:
        async for request in requests:
            session.on_message(client_message(request))
    except MismoError as error:
        session.fail(error)
    else:
        session.on_half_close()


@asynccontextmanager
async def _beside(work: Any) -> AsyncGenerator[asyncio.Task[None], None]:
    """Runs the reading side of a stream in a task until the writing side ends."""
    task: asyncio.Task[None] = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        await end_task(task)
