"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mismo.analysis.v1 import (
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    results_pb2,
    system_service_pb2,
    system_service_pb2_grpc,
    transfer_service_pb2_grpc,
)
from mismo.analysis.v1.audio_pb2 import ENCODING_UNSPECIFIED, Encoding
from mismo.analysis.v1.job_pb2 import JOB_STATE_SUCCEEDED, PRIORITY_UNSPECIFIED, JobState, Priority
from mismo.analysis.v1.stage_pb2 import Stage
from mismo_client.channel import open_channel
from mismo_client.errors import JobFailedError
from mismo_client.jobs import JobCalls
from mismo_client.options import ClientOptions
from mismo_client.submits import SubmitOptions, UploadedTrack, generation_options
from mismo_client.system import SystemCalls
from mismo_client.transfer.methods import TransferMethods
from mismo_client.watch import WatchRequest, watch_job
from mismo_client.watch_jobs import WatchJobsRequest, watch_jobs


class AsyncClient(TransferMethods):
    """A client of the server at `target` (host:port), to be used as an async context manager.

    Calls repeat themselves while the server is away or busy, streams go on after a break, within
    the bounds of `options`. Everything raises MismoRpcError; frames are frames of audio, playheads
    and intervals seconds.
    """

    def __init__(self, target: str, *, options: ClientOptions | None = None) -> None:
        self.target = target
        options = options or ClientOptions()
        self._channel = open_channel(target, options.channel)
        super().__init__(transfer_service_pb2_grpc.TransferServiceStub(self._channel), options)
        self._job_stub = job_service_pb2_grpc.JobServiceStub(self._channel)
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
        stages: Sequence[Stage | str] = (),
        model: str = "",
        stems: Sequence[str] = (),
        two_stems: str = "",
        playhead: float | None = None,
        shifts: int = 0,
        overlap: float | None = None,
        encoding: Encoding = ENCODING_UNSPECIFIED,
        sample_rate: int = 0,
        blob_prefix: str = "",
        export: Sequence[str] = (),
        mp3_kbps: int = 0,
        priority: Priority = PRIORITY_UNSPECIFIED,
        labels: Mapping[str, str] | None = None,
        job_id: str = "",
        result_ttl: float | None = None,
        callback_url: str = "",
        validate_only: bool = False,
        request_id: str = "",
    ) -> job_service_pb2.SubmitJobResponse:
        """Submits a track: a path that the server can read, a blob's URI, or what `upload` returned.

        A text that begins with az://, s3://, https://, http:// or file:// is a blob's URI, any other text a path.
        `stages` are names such as "stems" and "loudness", or values of Stage; empty: stems. `model` to
        `sample_rate` are options of the stems: `playhead` in seconds, `encoding` and `sample_rate` (Hz)
        of the stem files. `result_ttl` is in seconds. `blob_prefix`: the folders in the server's blob container
        that get the results, such as "albums/42". `export`: formats of the finished stems, of "flac", "mp3" (with
        `mp3_kbps` kbit/s) and "stem.mp4", which become artifacts of the job. What is left out the server chooses.
        The submit takes effect once, however often it had to be sent. Raises JobIdActiveError, ValueError.
        """
        submit = SubmitOptions(
            stages=stages,
            model=model,
            stems=stems,
            two_stems=two_stems,
            playhead=playhead,
            shifts=shifts,
            overlap=overlap,
            encoding=encoding,
            sample_rate=sample_rate,
            blob_prefix=blob_prefix,
            export=export,
            mp3_kbps=mp3_kbps,
            priority=priority,
            labels=labels or {},
            job_id=job_id,
            result_ttl=result_ttl,
            callback_url=callback_url,
            validate_only=validate_only,
            request_id=request_id,
        )
        return await self._jobs.submit(source, submit)

    async def generate(
        self,
        target_stems: Sequence[str],
        *,
        target_bpm: float = 0.0,
        duration: float | None = None,
        style: str = "",
        chord_progression: Sequence[str] = (),
        key: str = "",
        prompt: str = "",
        temperature: float = 0.0,
        random_seed: int = 0,
        generator: str = "",
        blob_prefix: str = "",
        export: Sequence[str] = (),
        mp3_kbps: int = 0,
        priority: Priority = PRIORITY_UNSPECIFIED,
        labels: Mapping[str, str] | None = None,
        job_id: str = "",
        result_ttl: float | None = None,
        callback_url: str = "",
        validate_only: bool = False,
        request_id: str = "",
    ) -> job_service_pb2.SubmitJobResponse:
        """Generates stems, such as ["bass", "drums"]; they are streamed and read like separated ones.

        `target_bpm` is in beats a minute (40 to 240; 0: 120), `duration` in seconds (10 if left out), `key` as in
        "A minor"; `chord_progression` has one symbol for each bar, such as ["Am", "F", "C", "G"], and is repeated.
        `temperature` is the sampling temperature of the generator musicgen, above 0 and at most 2; 0 is "unset"
        and means 1. `generator` is "synthetic" or "musicgen". What is left out the server or the seed chooses; the
        same options give the same stems. The rest is as in `submit`. Raises JobIdActiveError, ValueError.
        """
        generation = generation_options(
            target_stems=target_stems,
            target_bpm=target_bpm,
            duration=duration,
            style=style,
            chord_progression=chord_progression,
            key=key,
            prompt=prompt,
            temperature=temperature,
            random_seed=random_seed,
            generator=generator,
        )
        submit = SubmitOptions(
            stages=("generation",),
            generation=generation,
            blob_prefix=blob_prefix,
            export=export,
            mp3_kbps=mp3_kbps,
            priority=priority,
            labels=labels or {},
            job_id=job_id,
            result_ttl=result_ttl,
            callback_url=callback_url,
            validate_only=validate_only,
            request_id=request_id,
        )
        return await self._jobs.submit(None, submit)

    async def get(self, job_id: str) -> job_pb2.Job:
        """One job."""
        return await self._jobs.get(job_id)

    def list(
        self,
        *,
        states: Sequence[JobState] = (),
        labels: Mapping[str, str] | None = None,
        dead_letters: bool = False,
        page_size: int = 0,
    ) -> AsyncGenerator[job_pb2.Job, None]:
        """Jobs in any of these states with all of these labels, newest first; `dead_letters`: only these."""
        return self._jobs.list(states=states, labels=labels, dead_letters=dead_letters, page_size=page_size)

    async def cancel(self, job_id: str, *, expected_run_id: str = "") -> job_pb2.Job:
        """Ends a job; changes nothing where it has ended."""
        return await self._jobs.cancel(job_id, expected_run_id=expected_run_id)

    async def update(
        self,
        job_id: str,
        *,
        priority: Priority = PRIORITY_UNSPECIFIED,
        playhead: float | None = None,
        clear_playhead: bool = False,
        expected_run_id: str = "",
    ) -> job_pb2.Job:
        """Changes the priority or the playhead (seconds) of a job that has not ended, or clears the playhead.

        What is left out stays as it is. Raises ValueError if nothing is given.
        """
        return await self._jobs.update(
            job_id,
            priority=priority,
            playhead=playhead,
            clear_playhead=clear_playhead,
            expected_run_id=expected_run_id,
        )

    async def delete(self, job_id: str, *, allow_missing: bool = False, expected_run_id: str = "") -> None:
        """Ends a job and removes its files; with `allow_missing` a job that is not there is no error."""
        await self._jobs.delete(job_id, allow_missing=allow_missing, expected_run_id=expected_run_id)

    async def replay(self, job_id: str, *, expected_run_id: str = "") -> job_pb2.Job:
        """Tries a failed job once more as a new run; stages that have a result keep it. Returns the new run."""
        return await self._jobs.replay(job_id, expected_run_id=expected_run_id)

    async def compare_tracks(
        self, outgoing: str, incoming: str, *, max_cue_pairs: int = 0
    ) -> results_pb2.TrackComparison:
        """How well the track of job `incoming` follows that of `outgoing`; both need the stage transition."""
        return await self._jobs.compare(outgoing, incoming, max_cue_pairs)

    def watch(
        self,
        job_id: str,
        *,
        expected_run_id: str = "",
        after_revision: int = 0,
        server_epoch: str = "",
        heartbeat_interval: float | None = None,
        min_progress_interval: float | None = None,
        heartbeats: bool = False,
    ) -> AsyncGenerator[job_service_pb2.WatchJobResponse, None]:
        """A job's events until it ends, none of them twice, over broken streams and server restarts.

        A snapshot comes first, and again when a restarted server cannot replay. Heartbeats are left
        out unless asked for. Raises RunReplacedError if the job is run again in the middle of it.
        """
        request = WatchRequest(
            job_id,
            expected_run_id,
            after_revision,
            server_epoch,
            heartbeat_interval,
            min_progress_interval,
            heartbeats,
        )
        return watch_job(self._job_stub, request, self._options.stream_attempts())

    def watch_jobs(
        self,
        *,
        states: Sequence[JobState] = (),
        labels: Mapping[str, str] | None = None,
        cursor: str = "",
        heartbeat_interval: float | None = None,
        min_progress_interval: float | None = None,
        heartbeats: bool = False,
        on_expired: Callable[[], None] | None = None,
    ) -> AsyncGenerator[job_service_pb2.WatchJobsResponse, None]:
        """The changes of all jobs in any of these states with all of these labels, until the consumer leaves.

        First what changed since `cursor` (empty: all jobs that match), then `caught_up` once, then live
        changes, over broken streams and server restarts. Store `event.cursor` once an event is handled,
        and begin with it the next time. A cursor that the server no longer knows raises
        CursorExpiredError; with `on_expired` that is called instead, and all jobs come anew: forget there
        what is known of the jobs.
        """
        request = WatchJobsRequest(
            states, labels or {}, cursor, heartbeat_interval, min_progress_interval, heartbeats, on_expired
        )
        return watch_jobs(self._job_stub, request, self._options.stream_attempts())

    async def wait(self, job_id: str) -> job_pb2.Job:
        """The job once its present run succeeded; raises JobFailedError if it failed or was cancelled.

        A job succeeds if one of its asked stages does: look at `stages` for the error of another.
        """
        job = await self.get(job_id)
        async for event in self.watch(job_id, expected_run_id=job.run_id):
            if event.HasField("terminal"):
                job = event.terminal.job
        if job.state != JOB_STATE_SUCCEEDED:
            raise JobFailedError(job)
        return job

    async def info(self) -> system_service_pb2.GetServerInfoResponse:
        """What the server is and how it fares."""
        return await self._system.info()

    async def models(self) -> Sequence[system_service_pb2.Model]:
        """Every model the server knows, usable or not."""
        return await self._system.models()

    async def stages(self) -> Sequence[system_service_pb2.StageInfo]:
        """Every stage of the contract: whether the server offers it, and why not."""
        return await self._system.stages()

    def watch_resources(
        self, *, interval: float | None = None
    ) -> AsyncGenerator[system_service_pb2.WatchResourcesResponse, None]:
        """Samples of processor, memory, disk and queue until the consumer leaves."""
        return self._system.watch_resources(interval)
