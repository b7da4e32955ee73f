"""A real gRPC server that does on purpose what a server does by accident: breaks off, restarts, garbles.

It keeps its jobs, stems and uploads over a restart, and records what clients asked of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import grpc
from google.rpc import status_pb2

from mismo.analysis.v1 import (
    audio_pb2,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    results_pb2,
    stage_pb2,
    system_service_pb2,
    system_service_pb2_grpc,
    transfer_service_pb2_grpc,
)
from tests.unit.client.peer_status import fail, rich_error
from tests.unit.client.peer_stream import SAMPLE_RATE
from tests.unit.client.peer_transfer import JOB_ID, STEM_NAMES, TransferPeer


class Peer(
    TransferPeer,
    job_service_pb2_grpc.JobServiceServicer,
    system_service_pb2_grpc.SystemServiceServicer,
):
    """All three services over one job with random stems of `total_frames` 16-bit stereo frames."""

    def __init__(self, total_frames: int = 30_000, seed: int = 1) -> None:
        super().__init__(total_frames, seed)
        self._server: grpc.aio.Server | None = None
        self.port = 0
        self.submits: list[job_service_pb2.SubmitJobRequest] = []
        self.submit_errors: deque[status_pb2.Status] = deque()
        self.replays: list[job_service_pb2.ReplayJobRequest] = []
        self.replay_errors: deque[status_pb2.Status] = deque()
        """Answers to replays that nevertheless took effect, as if their response was lost."""
        self.accepted: dict[str, job_pb2.Job] = {}
        self.cancelled: list[str] = []
        self.cancels = asyncio.Event()
        self.jobs: list[job_pb2.Job] = []
        self.updates: list[job_service_pb2.UpdateJobRequest] = []
        self.deletes: list[job_service_pb2.DeleteJobRequest] = []
        self.watches: list[job_service_pb2.WatchJobRequest] = []
        self.watch_script: deque[Callable[..., AsyncIterator[job_service_pb2.WatchJobResponse]]] = deque()
        self.jobs_watches: list[job_service_pb2.WatchJobsRequest] = []
        self.compares: list[job_service_pb2.CompareTracksRequest] = []
        self.comparison = results_pb2.TrackComparison()
        self.offered = [stage_pb2.STAGE_STEMS, stage_pb2.STAGE_LOUDNESS]
        self.jobs_script: deque[Callable[..., AsyncIterator[job_service_pb2.WatchJobsResponse]]] = deque()

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

    def job(self, job_id: str = JOB_ID, state: job_pb2.JobState = job_pb2.JOB_STATE_SUCCEEDED) -> job_pb2.Job:
        return job_pb2.Job(
            job_id=job_id,
            run_id=self.run_id,
            revision=9,
            state=state,
            model="peer_model",
            stages=[
                stage_pb2.StageStatus(stage=stage_pb2.STAGE_DECODE, state=stage_pb2.STAGE_STATE_SUCCEEDED),
                stage_pb2.StageStatus(stage=stage_pb2.STAGE_STEMS, state=stage_pb2.STAGE_STATE_SUCCEEDED),
            ],
            artifacts=[
                job_pb2.Artifact(
                    name="stems.zip", content_type="application/zip", total_bytes=len(self.artifact)
                )
            ],
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
        fitting = [
            job
            for job in self.jobs
            if (not request.states or job.state in request.states)
            and (job.dead_letter or not request.dead_letters)
        ]
        more = begin + size < len(fitting)
        return job_service_pb2.ListJobsResponse(
            jobs=fitting[begin : begin + size], next_page_token=str(begin + size) if more else ""
        )

    async def WatchJob(self, request, context):  # noqa: N802 - the contract's name
        self.watches.append(request)
        await self.check_run(request, context)
        if self.watch_script:
            async for event in self.watch_script.popleft()(request, context):
                yield event
        else:
            yield self.event(9, snapshot=self.job(request.job_id))
            yield self.event(9, terminal=job_service_pb2.Terminal(job=self.job(request.job_id)))

    def event(self, revision: int, **event) -> job_service_pb2.WatchJobResponse:
        return job_service_pb2.WatchJobResponse(revision=revision, server_epoch=self.server_epoch, **event)

    async def WatchJobs(self, request, context):  # noqa: N802 - the contract's name
        self.jobs_watches.append(request)
        if self.jobs_script:
            async for message in self.jobs_script.popleft()(request, context):
                yield message
            return
        for number, job in enumerate(self.jobs):
            yield job_service_pb2.WatchJobsResponse(cursor=f"cursor-{number}", job=job)
        yield job_service_pb2.WatchJobsResponse(cursor="cursor-end", caught_up=job_service_pb2.CaughtUp())
        await asyncio.Event().wait()

    async def CancelJob(self, request, context):  # noqa: N802 - the contract's name
        await self.check_run(request, context)
        self.cancelled.append(request.job_id)
        self.cancels.set()
        return job_service_pb2.CancelJobResponse(job=self.job(request.job_id, job_pb2.JOB_STATE_CANCELLED))

    async def UpdateJob(self, request, context):  # noqa: N802 - the contract's name
        self.updates.append(request)
        job = self.job(request.job_id, job_pb2.JOB_STATE_RUNNING)
        if "priority" in request.update_mask.paths:
            job.priority = request.priority
        if "playhead" in request.update_mask.paths and request.HasField("playhead"):
            job.options.stems.playhead.CopyFrom(request.playhead)
        return job_service_pb2.UpdateJobResponse(job=job)

    async def DeleteJob(self, request, context):  # noqa: N802 - the contract's name
        self.deletes.append(request)
        left = [job for job in self.jobs if job.job_id != request.job_id]
        if len(left) == len(self.jobs) and not request.allow_missing:
            await fail(
                context, rich_error(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", "there is no such job")
            )
        self.jobs = left
        return job_service_pb2.DeleteJobResponse()

    async def ReplayJob(self, request, context):  # noqa: N802 - the contract's name
        self.replays.append(request)
        job = next(job for job in self.jobs if job.job_id == request.job_id)
        if request.expected_run_id not in ("", job.run_id):
            await fail(
                context, rich_error(grpc.StatusCode.FAILED_PRECONDITION, "RUN_REPLACED", "it has another run")
            )
        job.run_id, job.state, job.dead_letter = "run-2", job_pb2.JOB_STATE_QUEUED, False
        if self.replay_errors:
            await fail(context, self.replay_errors.popleft())
        return job_service_pb2.ReplayJobResponse(job=job)

    async def CompareTracks(self, request, context):  # noqa: N802 - the contract's name
        self.compares.append(request)
        return job_service_pb2.CompareTracksResponse(comparison=self.comparison)

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
                    is_default=True,
                ),
                system_service_pb2.Model(
                    name="far_model",
                    state=system_service_pb2.MODEL_STATE_UNAVAILABLE,
                    reason="no weights; put them into a model folder",
                ),
            ]
        )

    async def ListStages(self, request, context):  # noqa: N802 - the contract's name
        return system_service_pb2.ListStagesResponse(
            stages=[
                *(
                    system_service_pb2.StageInfo(stage=stage, available=True, needs=[stage_pb2.STAGE_DECODE])
                    for stage in self.offered
                ),
                system_service_pb2.StageInfo(
                    stage=stage_pb2.STAGE_GENRE, reason="essentia is missing; install the extra analysis"
                ),
            ]
        )

    async def WatchResources(self, request, context):  # noqa: N802 - the contract's name
        for jobs_running in range(1_000_000):
            yield system_service_pb2.WatchResourcesResponse(jobs_running=jobs_running)
