"""The methods of the client that move audio and files: TransferService."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from mismo.analysis.v1 import job_pb2, transfer_service_pb2, transfer_service_pb2_grpc
from mismo.analysis.v1.audio_pb2 import ENCODING_PCM_S16LE, Encoding
from mismo_client.durations import duration
from mismo_client.jobs import retried
from mismo_client.options import ClientOptions
from mismo_client.submits import UploadedTrack
from mismo_client.transfer.artifacts import ArtifactFetch, BytesProgress
from mismo_client.transfer.player import StemPlayer, open_player
from mismo_client.transfer.positions import Position
from mismo_client.transfer.reading import READ_CHUNK_BYTES, ReadRequest, StemReading
from mismo_client.transfer.stem_credit import PLAYER_CREDIT_BYTES, Window
from mismo_client.transfer.stem_receiver import StemRequest
from mismo_client.transfer.upload import Upload, read_track
from mismo_client.transfer.waveform import WaveformReading, WaveformRequest


class TransferMethods:
    """Uploads, stems, waveforms, artifacts and links; AsyncClient has these methods."""

    def __init__(
        self, stub: transfer_service_pb2_grpc.TransferServiceAsyncStub, options: ClientOptions
    ) -> None:
        self._transfer_stub = stub
        self._options = options

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
        expected_run_id: str = "",
        stems: Sequence[str] = (),
        encoding: Encoding = ENCODING_PCM_S16LE,
        start_frame: int | None = None,
        start_time: float | None = None,
        follow: bool = False,
        credit_bytes: int = PLAYER_CREDIT_BYTES,
        buffer_frames: int | None = None,
        buffer_seconds: float | None = None,
        chunk_bytes: int = 0,
    ) -> StemPlayer:
        """All or some stems, interleaved by time; see StemPlayer.

        Begins at `start_frame` or at `start_time` (seconds; needs no sample rate). `credit_bytes` bounds
        the payload that is on its way, so what a seek makes useless; `buffer_frames` or `buffer_seconds`
        bound how far a stem runs ahead of what was taken, also where FLAC makes silence small. With
        `follow` the server separates first what this player needs next. Raises ValueError.
        """
        request = StemRequest(
            job_id=job_id,
            expected_run_id=expected_run_id,
            stem_names=tuple(stems),
            encoding=encoding,
            start=Position.of(start_frame, start_time),
            follow=follow,
            window=Window(credit_bytes, buffer_frames, buffer_seconds),
            chunk_bytes=chunk_bytes,
        )
        return open_player(self._transfer_stub, request, self._options.stream_attempts())

    def stem(
        self,
        job_id: str,
        name: str,
        *,
        expected_run_id: str = "",
        encoding: Encoding = ENCODING_PCM_S16LE,
        start_frame: int | None = None,
        start_time: float | None = None,
        follow: bool = False,
        credit_bytes: int = PLAYER_CREDIT_BYTES,
        buffer_frames: int | None = None,
        buffer_seconds: float | None = None,
    ) -> StemPlayer:
        """One stem as a player."""
        return self.stream_stems(
            job_id,
            expected_run_id=expected_run_id,
            stems=[name],
            encoding=encoding,
            start_frame=start_frame,
            start_time=start_time,
            follow=follow,
            credit_bytes=credit_bytes,
            buffer_frames=buffer_frames,
            buffer_seconds=buffer_seconds,
        )

    def read_stem(
        self,
        job_id: str,
        name: str,
        *,
        expected_run_id: str = "",
        encoding: Encoding = ENCODING_PCM_S16LE,
        start_frame: int | None = None,
        start_time: float | None = None,
        frame_limit: int | None = None,
        time_limit: float | None = None,
        follow: bool = False,
        chunk_bytes: int = READ_CHUNK_BYTES,
    ) -> StemReading:
        """One stem without seeks, for scripts; see StemReading.

        `start_time` and `time_limit` are in seconds; without a limit it is read to the end. Raises ValueError.
        """
        request = ReadRequest(
            job_id=job_id,
            stem_name=name,
            encoding=encoding,
            start=Position.of(start_frame, start_time),
            frame_limit=frame_limit,
            time_limit=time_limit,
            expected_run_id=expected_run_id,
            follow=follow,
            chunk_bytes=chunk_bytes,
        )
        return StemReading(self._transfer_stub, request, self._options.stream_attempts())

    def read_waveform(
        self,
        job_id: str,
        *,
        expected_run_id: str = "",
        stems: Sequence[str] = (),
        frames_per_pixel: int = 0,
        follow: bool = False,
    ) -> WaveformReading:
        """Lowest and highest samples of all or some stems for drawing; see WaveformReading.

        `frames_per_pixel`: 256 (also for 0) or a multiple of it. With `follow` peaks of a running job are
        waited for.
        """
        request = WaveformRequest(job_id, expected_run_id, tuple(stems), frames_per_pixel, follow)
        return WaveformReading(self._transfer_stub, request, self._options.stream_attempts())

    async def artifact(
        self,
        job_id: str,
        artifact: str | job_pb2.Artifact,
        target: str | Path,
        *,
        expected_run_id: str = "",
        on_progress: BytesProgress | None = None,
    ) -> Path:
        """Fetches one of a job's `artifacts`, or the one of that name, into `target`: whole or not at all.

        `on_progress` is told bytes done and in all. Raises RunReplacedError, StreamCorruptError,
        ChecksumError and OSError as well.
        """
        name = artifact if isinstance(artifact, str) else artifact.name
        attempts = self._options.stream_attempts()
        fetch = ArtifactFetch(self._transfer_stub, job_id, name, attempts, on_progress, expected_run_id)
        return await fetch.into(Path(target))

    async def create_blob_link(
        self, job_id: str, name: str, ttl: float | None = None, *, expected_run_id: str = ""
    ) -> transfer_service_pb2.CreateBlobLinkResponse:
        """A link (`url`, until `expire_time`) with which anyone can fetch one of the `blobs` of a job by HTTP GET.

        `name` is that of the blob, such as "stems/vocals.wav"; `ttl` is in seconds, 1 to 604,800 (7 days), 3,600
        if left out.
        """
        request = transfer_service_pb2.CreateBlobLinkRequest(
            job_id=job_id, expected_run_id=expected_run_id, name=name, ttl=duration(ttl)
        )
        timeout = self._options.call_timeout
        return await retried(
            lambda: self._transfer_stub.CreateBlobLink(request, timeout=timeout), self._options
        )
