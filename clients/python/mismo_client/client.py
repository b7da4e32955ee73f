"""The asynchronous client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mismo.analysis.v1 import (
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
    transfer_service_pb2,
    transfer_service_pb2_grpc,
)
from mismo.analysis.v1.audio_pb2 import ENCODING_PCM_S16LE, ENCODING_UNSPECIFIED, Encoding
from mismo.analysis.v1.job_pb2 import JOB_STATE_SUCCEEDED, PRIORITY_UNSPECIFIED, JobState, Priority
from mismo_client.artifacts import ArtifactFetch, BytesProgress
from mismo_client.channel import open_channel
from mismo_client.errors import JobFailedError
from mismo_client.jobs import JobCalls, SubmitOptions, UploadedTrack, retried
from mismo_client.options import ClientOptions
from mismo_client.reading import READ_CHUNK_BYTES, ReadRequest, StemReading
from mismo_client.stems import PLAYER_CREDIT_BYTES, StemPlayer, StemRequest, open_player
from mismo_client.system import SystemCalls
from mismo_client.upload import Upload, read_track
from mismo_client.watch import WatchRequest, watch_job


class AsyncClient:
    """A client of the server at `target` (host:port), to be used as an async context manager.

    Calls repeat themselves while the server is away or busy, streams go on after a break, within
    the bounds of `options`. Everything raises MismoRpcError; frames are frames of audio, playheads
    and intervals seconds.
    """

    def __init__(self, target: str, *, options: ClientOptions | None = None) -> None:
        self.target = target
        self._options = options or ClientOptions()
        self._channel = open_channel(target, self._options.channel)
        self._job_stub = job_service_pb2_grpc.JobServiceStub(self._channel)
        self._transfer_stub = transfer_service_pb2_grpc.TransferServiceStub(self._channel)
        self._jobs = JobCalls(self._job_stub, self._options)
        self._system = SystemCalls(system_service_pb2_grpc.SystemServiceStub(self._channel), self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends all calls; jobs live on."""
        await self._channel.close()

    async def submit(
        self,
        source: str | Path | UploadedTrack,
        *,
        model: str = "",
        stems: Sequence[str] = (),
        two_stems: str = "",
        playhead: float | None = None,
        priority: Priority = PRIORITY_UNSPECIFIED,
        labels: Mapping[str, str] | None = None,
        shifts: int = 0,
        overlap: float | None = None,
        encoding: Encoding = ENCODING_UNSPECIFIED,
        sample_rate: int = 0,
        job_id: str = "",
        result_ttl: float | None = None,
        validate_only: bool = False,
        request_id: str = "",
    ) -> job_service_pb2.SubmitJobResponse:
        """Submits a track: a path that the server can read, or what `upload` returned.

        The submit takes effect once, however often it had to be sent. `encoding` and `sample_rate`
        (Hz) are of the stem files, `result_ttl` is in seconds; what is left out the server chooses.
        """
        submit = SubmitOptions(
            model=model,
            stems=stems,
            two_stems=two_stems,
            playhead=playhead,
            priority=priority,
            labels=labels or {},
            shifts=shifts,
            overlap=overlap,
            encoding=encoding,
            sample_rate=sample_rate,
            job_id=job_id,
            result_ttl=result_ttl,
            validate_only=validate_only,
            request_id=request_id,
        )
        return await self._jobs.submit(source, submit)

    async def get(self, job_id: str) -> job_pb2.Job:
        """One job."""
        return await self._jobs.get(job_id)

    def list(
        self,
        *,
        states: Sequence[JobState] = (),
        labels: Mapping[str, str] | None = None,
        page_size: int = 0,
    ) -> AsyncGenerator[job_pb2.Job, None]:
        """Jobs in any of these states with all of these labels, newest first, over all pages."""
        return self._jobs.list(states=states, labels=labels, page_size=page_size)

    async def cancel(self, job_id: str) -> job_pb2.Job:
        """Ends a job; changes nothing where it has ended."""
        return await self._jobs.cancel(job_id)

    async def update(
        self, job_id: str, *, priority: Priority = PRIORITY_UNSPECIFIED, playhead: float | None = None
    ) -> job_pb2.Job:
        """Changes the priority or the playhead of a job that has not ended."""
        return await self._jobs.update(job_id, priority=priority, playhead=playhead)

    async def delete(self, job_id: str) -> None:
        """Ends a job and removes its files."""
        await self._jobs.delete(job_id)

    def watch(
        self,
        job_id: str,
        *,
        after_revision: int = 0,
        server_epoch: str = "",
        heartbeat_interval: float | None = None,
        min_progress_interval: float | None = None,
        heartbeats: bool = False,
    ) -> AsyncGenerator[job_service_pb2.WatchJobResponse, None]:
        """A job's events until it ends, none of them twice, over broken streams and server restarts.

        A snapshot comes first, and again when a restarted server cannot replay. Heartbeats are left
        out unless asked for.
        """
        request = WatchRequest(
            job_id, after_revision, server_epoch, heartbeat_interval, min_progress_interval, heartbeats
        )
        return watch_job(self._job_stub, request, self._options.stream_attempts())

    async def wait(self, job_id: str) -> job_pb2.Job:
        """The job once it succeeded; raises JobFailedError if it failed or was cancelled."""
        job = await self.get(job_id)
        async for event in self.watch(job_id):
            if event.HasField("terminal"):
                job = event.terminal.job
        if job.state != JOB_STATE_SUCCEEDED:
            raise JobFailedError(job)
        return job

    async def upload(self, path: str | Path, *, on_progress: BytesProgress | None = None) -> UploadedTrack:
        """Sends a track for `submit`; a content that the server has is not sent again.

        `on_progress` is told committed and total bytes. Raises TrackChangedError and OSError as well.
        """
        track = await asyncio.to_thread(read_track, Path(path))
        return await Upload(self._transfer_stub, track, self._options.stream_attempts(), on_progress).run()

    async def get_upload(self, upload_id: str) -> transfer_service_pb2.GetUploadResponse:
        """How far an upload got."""
        request = transfer_service_pb2.GetUploadRequest(upload_id=upload_id)
        timeout = self._options.call_timeout
        return await retried(lambda: self._transfer_stub.GetUpload(request, timeout=timeout), self._options)

    def stream_stems(
        self,
        job_id: str,
        *,
        stems: Sequence[str] = (),
        encoding: Encoding = ENCODING_PCM_S16LE,
        start_frame: int = 0,
        follow: bool = False,
        credit_bytes: int = PLAYER_CREDIT_BYTES,
        chunk_bytes: int = 0,
    ) -> StemPlayer:
        """All or some stems, interleaved by time; see StemPlayer.

        `credit_bytes` bounds what is on its way, so what a seek makes useless. With `follow` the
        server separates first what this player needs next.
        """
        request = StemRequest(job_id, tuple(stems), encoding, start_frame, follow, credit_bytes, chunk_bytes)
        return open_player(self._transfer_stub, request, self._options.stream_attempts())

    def stem(
        self,
        job_id: str,
        name: str,
        *,
        encoding: Encoding = ENCODING_PCM_S16LE,
        start_frame: int = 0,
        follow: bool = False,
        credit_bytes: int = PLAYER_CREDIT_BYTES,
    ) -> StemPlayer:
        """One stem as a player."""
        return self.stream_stems(
            job_id,
            stems=[name],
            encoding=encoding,
            start_frame=start_frame,
            follow=follow,
            credit_bytes=credit_bytes,
        )

    def read_stem(
        self,
        job_id: str,
        name: str,
        *,
        encoding: Encoding = ENCODING_PCM_S16LE,
        start_frame: int = 0,
        frame_limit: int = 0,
        follow: bool = False,
        chunk_bytes: int = READ_CHUNK_BYTES,
    ) -> StemReading:
        """One stem without seeks, for scripts; see StemReading. `frame_limit` 0: to the end."""
        request = ReadRequest(job_id, name, encoding, start_frame, frame_limit, follow, chunk_bytes)
        return StemReading(self._transfer_stub, request, self._options.stream_attempts())

    async def artifact(
        self, job_id: str, name: str, target: str | Path, *, on_progress: BytesProgress | None = None
    ) -> Path:
        """Fetches a finished file, such as stems.zip, into `target`: whole or not at all.

        `on_progress` is told bytes done and in all. Raises StreamCorruptError, JobChangedError and
        OSError as well.
        """
        attempts = self._options.stream_attempts()
        return await ArtifactFetch(self._transfer_stub, job_id, name, attempts, on_progress).into(
            Path(target)
        )

    async def info(self) -> system_service_pb2.GetServerInfoResponse:
        """What the server is and how it fares."""
        return await self._system.info()

    async def models(self) -> Sequence[system_service_pb2.Model]:
        """Every model the server knows, usable or not."""
        return await self._system.models()

    def watch_resources(
        self, *, interval: float | None = None
    ) -> AsyncGenerator[system_service_pb2.WatchResourcesResponse, None]:
        """Samples of processor, memory, disk and queue until the consumer leaves."""
        return self._system.watch_resources(interval)
