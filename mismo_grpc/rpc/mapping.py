"""Jobs and requests: protobuf to domain, checked, and domain to protobuf. Pure functions.

A field at fault is named by its path in the request, such as `options.output.encoding`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from google.rpc import code_pb2

from mismo.analysis.v1 import audio_pb2, job_pb2, job_service_pb2
from mismo_grpc.errors import InvalidFieldError, NotSupportedYetError
from mismo_grpc.jobs.event_log import Ended, Heartbeat, JobView, SegmentsReady, WatchEvent
from mismo_grpc.jobs.job import (
    Delivery,
    JobFailure,
    JobRequest,
    JobState,
    Priority,
    Progress,
    SeparationOptions,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
)
from mismo_grpc.rpc.values import ENCODINGS, duration, encoding_of, member, seconds_of, timestamp
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout

UUID_PATTERN = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
ANALYSES = ("basic_features", "characteristics", "genre", "sections", "chords", "transition")
MAX_STEM_NAMES = 64
INT32_MAX = 2**31 - 1


def job_request(message: job_service_pb2.SubmitJobRequest) -> JobRequest:
    """A submit; raises InvalidFieldError, InvalidJobIdError, NotSupportedYetError."""
    if message.request_id and not UUID_PATTERN.fullmatch(message.request_id):
        raise InvalidFieldError("request_id must be a UUID, or empty for none", field="request_id")
    if message.HasField("callback") and not message.callback.url:
        raise InvalidFieldError(
            "callback.url must not be empty; leave callback out for none", field="callback.url"
        )
    return JobRequest(
        source=source_of(message.source if message.HasField("source") else None),
        options=options_of(message.options),
        request_id=message.request_id.lower(),
        job_id=message.job_id,
        priority=priority_of(message.priority) or Priority.NORMAL,
        labels=dict(message.labels),
        result_ttl=seconds_of(message.result_ttl, "result_ttl") if message.HasField("result_ttl") else None,
        validate_only=message.validate_only,
        fingerprint=fingerprint(message),
        # Whoever submits by gRPC fetches the stems by gRPC: the callback brings links, not base64.
        delivery=Delivery(message.callback.url),
    )


def fingerprint(message: job_service_pb2.SubmitJobRequest) -> str:
    """SHA-256 of all that makes a request what it is: not its id, and not whether it is only tried."""
    payload = job_service_pb2.SubmitJobRequest()
    payload.CopyFrom(message)
    payload.ClearField("request_id")
    payload.ClearField("validate_only")
    return hashlib.sha256(payload.SerializeToString(deterministic=True)).hexdigest()


def request_message(request: JobRequest) -> job_service_pb2.SubmitJobRequest:
    """A submit as a client would send it."""
    message = job_service_pb2.SubmitJobRequest(
        request_id=request.request_id,
        job_id=request.job_id,
        source=source_message(request.source),
        options=options_message(request.options),
        priority=priority_message(request.priority),
        labels=request.labels,
        validate_only=request.validate_only,
    )
    if request.result_ttl is not None:
        message.result_ttl.CopyFrom(duration(request.result_ttl))
    return message


def source_of(message: job_pb2.Source | None) -> Source:
    """Where the track is; raises InvalidFieldError if that is missing, NotSupportedYetError for blobs."""
    kind = message.WhichOneof("location") if message is not None else None
    if message is None or kind is None:
        raise InvalidFieldError("source must have a path or an upload_id", field="source")
    if kind == "blob_uri":
        raise NotSupportedYetError(
            "source.blob_uri is not served yet; give a path or upload the file", field="source.blob_uri"
        )
    location = message.path if kind == "path" else message.upload_id
    if not location:
        raise InvalidFieldError(f"source.{kind} must not be empty", field=f"source.{kind}")
    return Source(SourceKind(kind), location)


def source_message(source: Source) -> job_pb2.Source:
    """A source as a client sees it."""
    if source.kind is SourceKind.PATH:
        return job_pb2.Source(path=source.location)
    return job_pb2.Source(upload_id=source.location)


def options_of(message: job_pb2.JobOptions) -> SeparationOptions:
    """How to separate; raises InvalidFieldError, NotSupportedYetError for what is not served yet."""
    for name in ANALYSES:
        if getattr(message, name):
            raise NotSupportedYetError(
                f"options.{name} is not served yet; ask for stems alone", field=f"options.{name}"
            )
    if message.HasField("generation"):
        raise NotSupportedYetError(
            "options.generation is not served yet; ask for stems alone", field="options.generation"
        )
    names = tuple(message.stem_names)
    if len(names) > MAX_STEM_NAMES or len(set(names)) != len(names) or "" in names:
        raise InvalidFieldError(
            f"options.stem_names must be at most {MAX_STEM_NAMES} different names", field="options.stem_names"
        )
    playhead = seconds_of(message.playhead, "options.playhead") if message.HasField("playhead") else None
    return SeparationOptions(
        model=message.model,
        stem_names=names,
        two_stems=message.two_stems,
        playhead=playhead,
        shifts=message.shifts,
        overlap=message.overlap if message.HasField("overlap") else SeparationOptions().overlap,
        encoding=encoding_of(message.output.encoding, "options.output.encoding"),
        sample_rate=message.output.sample_rate,
    )


def options_message(options: SeparationOptions) -> job_pb2.JobOptions:
    """The options of a job, defaults filled in."""
    message = job_pb2.JobOptions(
        stems=True,
        model=options.model,
        stem_names=options.stem_names,
        two_stems=options.two_stems,
        shifts=options.shifts,
        overlap=options.overlap,
        output=job_pb2.OutputOptions(encoding=ENCODINGS[options.encoding], sample_rate=options.sample_rate),
    )
    if options.playhead is not None:
        message.playhead.CopyFrom(duration(options.playhead))
    return message


def priority_of(number: int) -> Priority | None:
    """A priority, None for UNSPECIFIED; raises InvalidFieldError."""
    return None if number == job_pb2.PRIORITY_UNSPECIFIED else member(Priority, number, "priority")


def priority_message(priority: Priority) -> job_pb2.Priority:
    """A priority on the wire."""
    return {
        Priority.LOW: job_pb2.PRIORITY_LOW,
        Priority.NORMAL: job_pb2.PRIORITY_NORMAL,
        Priority.HIGH: job_pb2.PRIORITY_HIGH,
    }[priority]


def states_of(numbers: Iterable[int]) -> list[JobState]:
    """The states a list is narrowed to; raises InvalidFieldError."""
    return [member(JobState, number, "states") for number in numbers]


_STATES = {
    JobState.QUEUED: job_pb2.JOB_STATE_QUEUED,
    JobState.RUNNING: job_pb2.JOB_STATE_RUNNING,
    JobState.SUCCEEDED: job_pb2.JOB_STATE_SUCCEEDED,
    JobState.FAILED: job_pb2.JOB_STATE_FAILED,
    JobState.CANCELLED: job_pb2.JOB_STATE_CANCELLED,
}
_STAGES = {Stage.DECODE: job_pb2.STAGE_DECODE, Stage.STEMS: job_pb2.STAGE_STEMS}
_STAGE_STATES = {
    StageState.PENDING: job_pb2.STAGE_STATE_PENDING,
    StageState.RUNNING: job_pb2.STAGE_STATE_RUNNING,
    StageState.SUCCEEDED: job_pb2.STAGE_STATE_SUCCEEDED,
    StageState.FAILED: job_pb2.STAGE_STATE_FAILED,
    StageState.CANCELLED: job_pb2.STAGE_STATE_CANCELLED,
}


def job_message(view: JobView) -> job_pb2.Job:
    """A job with its progress and ready frames."""
    job = view.job
    message = job_pb2.Job(
        job_id=job.job_id,
        revision=job.revision,
        state=_STATES[job.state],
        priority=priority_message(job.priority),
        source=source_message(job.source),
        options=options_message(job.options),
        labels=job.labels,
        model=job.model,
        fallback_from=job.fallback_from,
        create_time=timestamp(job.created_at),
        stages=[stage_message(status) for status in job.stages],
        progress=progress_message(view.progress),
        artifacts=job.artifacts,
        warnings=job.warnings,
    )
    if job.started_at is not None:
        message.start_time.CopyFrom(timestamp(job.started_at))
    if job.ended_at is not None:
        message.end_time.CopyFrom(timestamp(job.ended_at))
    if job.expires_at is not None:
        message.expire_time.CopyFrom(timestamp(job.expires_at))
    if job.layout is not None:
        message.stem_set.CopyFrom(stem_set_message(job.layout, view.ready))
    if job.error is not None:
        message.error.CopyFrom(failure_message(job.error))
    if job.time_to_first_audio is not None:
        message.time_to_first_audio.CopyFrom(duration(job.time_to_first_audio))
    return message


def stem_set_message(layout: StemLayout, ready: RangeSet) -> job_pb2.StemSetInfo:
    """What the stems are and which frames of them are final."""
    return job_pb2.StemSetInfo(
        stem_names=layout.stem_names,
        sample_rate=layout.sample_rate,
        channels=layout.channels,
        total_frames=layout.total_frames,
        encoding=ENCODINGS[layout.encoding],
        ready=frame_ranges(ready),
    )


def frame_ranges(ranges: Iterable[tuple[int, int]]) -> list[audio_pb2.FrameRange]:
    """Half-open frame ranges."""
    return [audio_pb2.FrameRange(start_frame=start, end_frame=end) for start, end in ranges]


def stage_message(status: StageStatus) -> job_pb2.StageStatus:
    """One step of a job."""
    message = job_pb2.StageStatus(stage=_STAGES[status.stage], state=_STAGE_STATES[status.state])
    if status.started_at is not None:
        message.start_time.CopyFrom(timestamp(status.started_at))
    if status.ended_at is not None:
        message.end_time.CopyFrom(timestamp(status.ended_at))
    if status.error is not None:
        message.error.CopyFrom(failure_message(status.error))
    return message


def progress_message(progress: Progress) -> job_pb2.Progress:
    """How far a job is."""
    message = job_pb2.Progress(
        fraction=progress.fraction,
        queue_position=min(progress.queue_position, INT32_MAX),
        segments_done=progress.segments_done,
        segments_total=progress.segments_total,
    )
    if progress.eta is not None:
        message.eta.CopyFrom(duration(progress.eta))
    return message


def failure_message(failure: JobFailure) -> job_pb2.JobError:
    """The error of a job."""
    return job_pb2.JobError(
        code=code_pb2.Code.Value(failure.grpc_code),
        reason=failure.reason,
        message=failure.message,
        metadata=failure.metadata,
        retryable=failure.retryable,
    )


def watch_message(event: WatchEvent, server_epoch: str) -> job_service_pb2.WatchJobResponse:
    """One event of a watch."""
    message = job_service_pb2.WatchJobResponse(
        revision=event.revision, server_epoch=server_epoch, time=timestamp(event.time)
    )
    match event.body:
        case JobView():
            message.snapshot.CopyFrom(job_message(event.body))
        case StageStatus():
            message.stage.CopyFrom(stage_message(event.body))
        case Progress():
            message.progress.CopyFrom(progress_message(event.body))
        case SegmentsReady():
            message.segment_ready.CopyFrom(
                job_service_pb2.SegmentReady(ranges=frame_ranges(event.body.ranges))
            )
        case Heartbeat():
            message.heartbeat.SetInParent()
        case Ended():
            message.terminal.CopyFrom(job_service_pb2.Terminal(job=job_message(event.body.view)))
    return message
