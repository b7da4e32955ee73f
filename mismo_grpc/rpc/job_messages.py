"""Converts jobs and their events to protobuf messages. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from google.rpc import code_pb2

from mismo.analysis.v1 import audio_pb2, job_pb2, job_service_pb2, stage_pb2
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.jobs.event_log import Ended, Heartbeat, JobView, SegmentsReady, WatchEvent
from mismo_grpc.jobs.export_options import ExportOptions
from mismo_grpc.jobs.job import (
    Artifact,
    Job,
    JobFailure,
    JobOptions,
    JobState,
    Priority,
    Progress,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
    StemOptions,
    StoredBlob,
)
from mismo_grpc.results.artifacts import content_type_of
from mismo_grpc.rpc.result_messages import add_result
from mismo_grpc.rpc.values import ENCODINGS, duration, timestamp
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout

INT32_MAX = 2**31 - 1


def source_message(source: Source) -> job_pb2.Source | None:
    """The message of a source, None for none."""
    match source.kind:
        case SourceKind.PATH:
            return job_pb2.Source(path=source.location)
        case SourceKind.UPLOAD:
            return job_pb2.Source(upload_id=source.location)
        case SourceKind.BLOB:
            return job_pb2.Source(blob_uri=source.location)
        case SourceKind.NONE:
            return None


def options_message(options: JobOptions) -> job_pb2.JobOptions:
    """The options of a job, with defaults filled in."""
    message = job_pb2.JobOptions(stages=[stage_number(stage) for stage in options.stages])
    if Stage.STEMS in options.stages:
        message.stems.CopyFrom(stem_options_message(options.stems))
    if options.generation is not None:
        message.generation.CopyFrom(generation_options_message(options.generation))
    if options.blob_prefix:
        message.blob_upload.prefix = options.blob_prefix
    if options.export is not None:
        message.export.CopyFrom(export_options_message(options.export))
    return message


def export_options_message(options: ExportOptions) -> stage_pb2.ExportOptions:
    """The options of an export, with defaults filled in."""
    return stage_pb2.ExportOptions(
        formats=[
            cast("stage_pb2.ExportFormat", stage_pb2.ExportFormat.Value(f"EXPORT_FORMAT_{each.name}"))
            for each in options.formats
        ],
        mp3_kbps=options.mp3_kbps,
    )


def generation_options_message(options: GenerationOptions) -> stage_pb2.GenerationOptions:
    """The options of a generator, with defaults filled in."""
    return stage_pb2.GenerationOptions(
        target_stems=options.target_stems,
        target_bpm=options.target_bpm,
        duration=duration(options.seconds),
        style=options.style,
        chord_progression=options.chord_progression,
        key=options.key,
        prompt=options.prompt,
        temperature=options.temperature,
        random_seed=options.random_seed,
        generator=options.generator,
    )


def stem_options_message(options: StemOptions) -> stage_pb2.StemOptions:
    """The options of the stems, with defaults filled in."""
    message = stage_pb2.StemOptions(
        model=options.model,
        stem_names=options.stem_names,
        two_stems=options.two_stems,
        shifts=options.shifts,
        overlap=options.overlap,
        output=stage_pb2.OutputOptions(encoding=ENCODINGS[options.encoding], sample_rate=options.sample_rate),
    )
    if options.playhead is not None:
        message.playhead.CopyFrom(duration(options.playhead))
    return message


def priority_message(priority: Priority) -> job_pb2.Priority:
    """The protobuf value of a priority."""
    return {
        Priority.LOW: job_pb2.PRIORITY_LOW,
        Priority.NORMAL: job_pb2.PRIORITY_NORMAL,
        Priority.HIGH: job_pb2.PRIORITY_HIGH,
    }[priority]


_STATES = {
    JobState.QUEUED: job_pb2.JOB_STATE_QUEUED,
    JobState.RUNNING: job_pb2.JOB_STATE_RUNNING,
    JobState.SUCCEEDED: job_pb2.JOB_STATE_SUCCEEDED,
    JobState.FAILED: job_pb2.JOB_STATE_FAILED,
    JobState.CANCELLED: job_pb2.JOB_STATE_CANCELLED,
}
_STAGE_STATES = {
    StageState.PENDING: stage_pb2.STAGE_STATE_PENDING,
    StageState.RUNNING: stage_pb2.STAGE_STATE_RUNNING,
    StageState.SUCCEEDED: stage_pb2.STAGE_STATE_SUCCEEDED,
    StageState.FAILED: stage_pb2.STAGE_STATE_FAILED,
    StageState.CANCELLED: stage_pb2.STAGE_STATE_CANCELLED,
    StageState.SKIPPED: stage_pb2.STAGE_STATE_SKIPPED,
}


def stage_number(stage: Stage) -> stage_pb2.Stage:
    """The protobuf value of a stage."""
    # The stubs type Value() as int.
    return cast("stage_pb2.Stage", stage_pb2.Stage.Value(f"STAGE_{stage.name}"))


def job_message(view: JobView) -> job_pb2.Job:
    """The message of a job with its progress and ready frames."""
    job = view.job
    message = job_pb2.Job(
        job_id=job.job_id,
        run_id=job.run_id,
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
        # A failed job has its artifacts for a replay only.
        artifacts=[] if job.dead_letter else [artifact_message(artifact) for artifact in job.artifacts],
        warnings=job.warnings,
        blobs=[blob_message(blob) for blob in job.blobs],
        dead_letter=job.dead_letter,
    )
    _add_times(message, job)
    if job.layout is not None:
        sha256 = () if job.dead_letter else job.stem_sha256
        message.stem_set.CopyFrom(stem_set_message(job.layout, view.ready, sha256))
    if job.error is not None:
        message.error.CopyFrom(failure_message(job.error))
    return message


def artifact_message(artifact: Artifact) -> job_pb2.Artifact:
    """The message of an artifact."""
    return job_pb2.Artifact(
        name=artifact.name,
        content_type=content_type_of(artifact.name),
        total_bytes=artifact.total_bytes,
        sha256=artifact.sha256,
    )


def blob_message(blob: StoredBlob) -> job_pb2.StoredBlob:
    """The message of a result in the blob container."""
    return job_pb2.StoredBlob(name=blob.name, uri=blob.uri, total_bytes=blob.total_bytes, sha256=blob.sha256)


def _add_times(message: job_pb2.Job, job: Job) -> None:
    if job.started_at is not None:
        message.start_time.CopyFrom(timestamp(job.started_at))
    if job.ended_at is not None:
        message.end_time.CopyFrom(timestamp(job.ended_at))
    if job.expires_at is not None:
        message.expire_time.CopyFrom(timestamp(job.expires_at))
    if job.deleted_at is not None:
        message.delete_time.CopyFrom(timestamp(job.deleted_at))
    if job.time_to_first_audio is not None:
        message.time_to_first_audio.CopyFrom(duration(job.time_to_first_audio))
    if job.time_to_playhead_audio is not None:
        message.time_to_playhead_audio.CopyFrom(duration(job.time_to_playhead_audio))


def stem_set_message(layout: StemLayout, ready: RangeSet, sha256: Iterable[str] = ()) -> job_pb2.StemSetInfo:
    """The names and format of the stems, their final frames, and their checksums in hex once they are known."""
    return job_pb2.StemSetInfo(
        stem_names=layout.stem_names,
        sample_rate=layout.sample_rate,
        channels=layout.channels,
        total_frames=layout.total_frames,
        encoding=ENCODINGS[layout.encoding],
        ready=frame_ranges(ready),
        sha256=sha256,
    )


def frame_ranges(ranges: Iterable[tuple[int, int]]) -> list[audio_pb2.FrameRange]:
    """The messages of half-open frame ranges."""
    return [audio_pb2.FrameRange(start_frame=start, end_frame=end) for start, end in ranges]


def stage_message(status: StageStatus) -> stage_pb2.StageStatus:
    """The message of one stage of a job."""
    message = stage_pb2.StageStatus(
        stage=stage_number(status.stage), state=_STAGE_STATES[status.state], attempts=status.attempts
    )
    if status.started_at is not None:
        message.start_time.CopyFrom(timestamp(status.started_at))
    if status.ended_at is not None:
        message.end_time.CopyFrom(timestamp(status.ended_at))
    if status.error is not None:
        message.error.CopyFrom(failure_message(status.error))
    if status.next_attempt_at is not None:
        message.next_attempt_time.CopyFrom(timestamp(status.next_attempt_at))
    if status.result is not None:
        add_result(message, status.result)
    return message


def progress_message(progress: Progress) -> job_pb2.Progress:
    """The message of a job's progress."""
    message = job_pb2.Progress(
        fraction=progress.fraction,
        queue_position=min(progress.queue_position, INT32_MAX),
        segments_done=progress.segments_done,
        segments_total=progress.segments_total,
    )
    if progress.eta is not None:
        message.eta.CopyFrom(duration(progress.eta))
    return message


def failure_message(failure: JobFailure) -> stage_pb2.JobError:
    """The message of the error of a job or stage."""
    return stage_pb2.JobError(
        code=code_pb2.Code.Value(failure.grpc_code),
        reason=failure.reason,
        message=failure.message,
        metadata=failure.metadata,
        retryable=failure.retryable,
    )


def watch_message(event: WatchEvent, server_epoch: str) -> job_service_pb2.WatchJobResponse:
    """The message of one event of a watched job."""
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
                job_service_pb2.SegmentReady(ranges=frame_ranges(event.body.ranges), run_id=event.body.run_id)
            )
        case Heartbeat():
            message.heartbeat.SetInParent()
        case Ended():
            message.terminal.CopyFrom(job_service_pb2.Terminal(job=job_message(event.body.view)))
    return message
