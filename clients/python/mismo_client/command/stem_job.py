"""A job from its submit to stem files, which are written while the stems are made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mismo.analysis.v1 import job_pb2
from mismo.analysis.v1.audio_pb2 import ENCODING_PCM_S16LE
from mismo.analysis.v1.job_service_pb2 import SubmitJobResponse
from mismo_client.client import AsyncClient
from mismo_client.command.owned_jobs import FAREWELL_SECONDS, abandon, submit_owned
from mismo_client.command.stem_files import FileFormat, StemFiles
from mismo_client.errors import ClientError, JobFailedError, MismoRpcError
from mismo_client.transfer.player import StemPlayer
from mismo_client.transfer.positions import frames_in
from mismo_client.transfer.stem_format import StemFormat
from mismo_client.transfer.write_behind import WriteBehind

DOWNLOAD_CREDIT_BYTES = 4 << 20
DOWNLOAD_CHUNK_BYTES = 256 << 10


@dataclass(frozen=True)
class StemTarget:
    """Where the stems go: `folder/<stem>.<format>`; they are read from the playhead (seconds) on."""

    folder: Path
    file_format: FileFormat = FileFormat.WAV
    playhead: float = 0.0


@dataclass(frozen=True)
class Received:
    """What came of it; seconds from the submit."""

    job: job_pb2.Job
    files: list[Path]
    first_audio: float
    elapsed: float
    audio_seconds: float


class Reporter(Protocol):
    """Who is told how it goes."""

    def note(self, text: str) -> None:
        """Something a person should know."""
        ...

    def uploading(self, done: int, total: int) -> None:
        """Bytes of the track that the server has."""
        ...

    def submitted(self, job: job_pb2.Job) -> None:
        """The server took the job."""
        ...

    def progressed(self, progress: job_pb2.Progress) -> None:
        """How far the job is."""
        ...

    def known(self, form: StemFormat) -> None:
        """The track was decoded."""
        ...

    def first_audio(self, seconds: float) -> None:
        """All stems can be heard, this long after the submit."""
        ...


class StemJob:
    """One job; `clock` gives seconds."""

    def __init__(
        self, client: AsyncClient, target: StemTarget, reporter: Reporter, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._target = target
        self._reporter = reporter
        self._clock = clock
        self._begun = 0.0
        self._first_audio = 0.0
        self._warned: set[str] = set()

    async def submit(self, submit: Coroutine[Any, Any, SubmitJobResponse]) -> SubmitJobResponse:
        """Submits; a cancelled submit cancels the job that it may have started. Raises what `submit` does."""
        self._begun = self._clock()
        return await submit_owned(self._client, submit, self._reporter)

    async def run(self, submitting: Awaitable[SubmitJobResponse]) -> Received:
        """Waits for the submit, receives, writes; a cancelled run cancels the job that it started.

        Raises what `submitting` does, MismoRpcError, JobFailedError, other ClientErrors, OSError.
        """
        submitted = await submitting
        job = submitted.job
        self._reporter.submitted(job)
        watching = asyncio.create_task(self._watch(job))
        try:
            files, form = await self._receive(job)
            elapsed = self._clock() - self._begun
            job = await watching
        except MismoRpcError as error:
            raise await self._cause(error, watching) from error
        except (asyncio.CancelledError, OSError):
            await abandon(self._client, submitted, self._reporter)
            raise
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            if not watching.cancelled():
                watching.exception()
        return Received(job, files, self._first_audio, elapsed, form.seconds)

    async def _cause(self, error: MismoRpcError, watching: asyncio.Task[job_pb2.Job]) -> ClientError:
        """The failure of the job where it has one: it says more than what the stream met first."""
        await asyncio.wait([watching], timeout=FAREWELL_SECONDS)
        if watching.done() and not watching.cancelled():
            failed = watching.exception()
            if isinstance(failed, JobFailedError):
                return failed.error or failed
        return error

    async def _watch(self, job: job_pb2.Job) -> job_pb2.Job:
        async with aclosing(self._client.watch(job.job_id, expected_run_id=job.run_id)) as events:
            async for event in events:
                kind = event.WhichOneof("event")
                if kind == "progress":
                    self._reporter.progressed(event.progress)
                elif kind == "snapshot":
                    self._warn(event.snapshot)
                    self._reporter.progressed(event.snapshot.progress)
                elif kind == "terminal":
                    job = event.terminal.job
        self._warn(job)
        if job.state != job_pb2.JOB_STATE_SUCCEEDED:
            raise JobFailedError(job)
        return job

    def _warn(self, job: job_pb2.Job) -> None:
        for warning in job.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self._reporter.note(warning)

    async def _receive(self, job: job_pb2.Job) -> tuple[list[Path], StemFormat]:
        async with self._client.stream_stems(
            job.job_id,
            expected_run_id=job.run_id,
            encoding=ENCODING_PCM_S16LE,
            start_time=self._target.playhead,
            follow=True,
            credit_bytes=DOWNLOAD_CREDIT_BYTES,
            chunk_bytes=DOWNLOAD_CHUNK_BYTES,
        ) as player:
            form = await player.format()
            start = frames_in(self._target.playhead, form.sample_rate)
            self._reporter.known(form)
            # Opened here, not in a thread: a cancelled wait for the thread would leave its files behind.
            files = StemFiles(self._target.folder, form, self._target.file_format)
            async with WriteBehind() as writer:
                try:
                    await self._play(player, files, writer, form, form.total_frames)
                    if start > 0:
                        await player.seek(0)
                        await self._play(player, files, writer, form, start)
                    await writer.put(lambda: files.verify(player.stem_sha256))
                    await writer.put(files.finish)
                    await writer.drain()
                except BaseException:
                    files.abandon()
                    await writer.aclose()
                    files.discard()
                    raise
            return files.targets, form

    async def _play(
        self, player: StemPlayer, files: StemFiles, writer: WriteBehind, form: StemFormat, end_frame: int
    ) -> None:
        """Takes chunks until every stem is there up to `end_frame`."""
        missing = set(form.stem_names)
        unheard = set(form.stem_names)
        async for chunk in player:
            if unheard:
                unheard.discard(chunk.stem_name)
                if not unheard and not self._first_audio:
                    self._first_audio = self._clock() - self._begun
                    self._reporter.first_audio(self._first_audio)
            await writer.put(lambda chunk=chunk: files.write(chunk))
            if chunk.start_frame + chunk.frame_count >= end_frame:
                missing.discard(chunk.stem_name)
                if not missing and end_frame < form.total_frames:
                    return
