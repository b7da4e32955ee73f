"""Answers of the server for a person, or as JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any
from urllib.parse import unquote

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Column, Table

from mismo.analysis.v1 import job_pb2, job_service_pb2, stage_pb2, system_service_pb2
from mismo_client.command.result_text import error_text, result_text
from mismo_client.durations import seconds_of
from mismo_client.stages import stage_name, stage_state_name
from mismo_client.timecode import format_timecode


def as_json(message: Message) -> dict[str, Any]:
    """With the contract's own field names; unset fields are there too."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def json_line(value: object) -> str:
    """The value as JSON, with the line's end."""
    return json.dumps(value, ensure_ascii=False) + "\n"


def print_json(console: Console, value: object) -> None:
    """One line, on a pipe as on a terminal."""
    console.file.write(json_line(value))


def state_name(state: job_pb2.JobState) -> str:
    """running, succeeded, ..."""
    return job_pb2.JobState.Name(state).removeprefix("JOB_STATE_").lower()


def local_time(moment: Timestamp, form: str) -> str:
    """On the clock of this machine."""
    return moment.ToDatetime(UTC).astimezone().strftime(form)


def track_of(job: job_pb2.Job) -> str:
    """The source as a person knows it."""
    match job.source.WhichOneof("location"):
        case "path":
            return job.source.path
        case "blob_uri":
            return job.source.blob_uri
        case "upload_id":
            return f"upload {job.source.upload_id}"
        case _:
            return f"generated {', '.join(job.options.generation.target_stems)}"


def short_track(job: job_pb2.Job) -> str:
    """The source without its folders."""
    name = track_of(job).rpartition("/")[2] if job.source.WhichOneof("location") else track_of(job)
    return unquote(name) if job.source.blob_uri else name


def generation_text(options: stage_pb2.GenerationOptions) -> str:
    """The conditions of generated stems that were given, as in "120 BPM, 10 s, rock, Am F C G, seed 7"."""
    parts = [f"{options.target_bpm:g} BPM" if options.target_bpm else ""]
    if options.HasField("duration"):
        parts.append(f"{seconds_of(options.duration):g} s")
    parts += [options.style, " ".join(options.chord_progression), options.key, options.prompt]
    parts.append(f"seed {options.random_seed}")
    return ", ".join(part for part in parts if part)


def size_text(total_bytes: int) -> str:
    """As in "1.8 MB" or "312 bytes"."""
    return f"{total_bytes / 1e6:.1f} MB" if total_bytes >= 100_000 else f"{total_bytes} bytes"


def progress_text(progress: job_pb2.Progress) -> str:
    """Percent, segments and what is left."""
    text = f"{progress.fraction:.0%}"
    if progress.segments_total:
        text += f", {progress.segments_done}/{progress.segments_total} segments"
    if progress.queue_position:
        text += f", number {progress.queue_position} in the queue"
    if progress.HasField("eta"):
        text += f", {format_timecode(seconds_of(progress.eta))} left"
    return text


def jobs_table(jobs: Sequence[job_pb2.Job]) -> Table:
    """A row a job."""
    # An id is there to be copied, a track to be recognised.
    whole = Column("job", no_wrap=True, min_width=max(len(job.job_id) for job in jobs))
    table = Table(whole, "state", "done", "model", "created", "track", box=None, padding=(0, 2, 0, 0))
    for job in jobs:
        created = local_time(job.create_time, "%m-%d %H:%M")
        done = f"{job.progress.fraction:.0%}"
        table.add_row(job.job_id, state_name(job.state), done, job.model, created, short_track(job))
    return table


def dead_letters_table(jobs: Sequence[job_pb2.Job]) -> Table:
    """A row a job that can be replayed, with the cause of its failure."""
    whole = Column("job", no_wrap=True, min_width=max(len(job.job_id) for job in jobs))
    table = Table(whole, "failed", "kept until", "track", "cause", box=None, padding=(0, 2, 0, 0))
    for job in jobs:
        failed, until = (local_time(moment, "%m-%d %H:%M") for moment in (job.end_time, job.expire_time))
        table.add_row(job.job_id, failed, until, short_track(job), error_text(job.error))
    return table


def job_lines(job: job_pb2.Job) -> list[str]:
    """Everything worth a line about one job."""
    lines = [f"job       {job.job_id}", f"state     {state_name(job.state)}", f"track     {track_of(job)}"]
    if job.options.HasField("generation"):
        lines.append(f"asked     {generation_text(job.options.generation)}")
        lines.append(f"generator {job.model}")
    elif job.model:
        model = job.model + (f" in place of {job.fallback_from}" if job.fallback_from else "")
        lines.append(f"model     {model}")
    if job.HasField("stem_set"):
        stems = job.stem_set
        seconds = stems.total_frames / stems.sample_rate if stems.sample_rate else 0.0
        lines.append(f"stems     {', '.join(stems.stem_names)}")
        lines.append(
            f"length    {format_timecode(seconds)}, {stems.total_frames} frames at {stems.sample_rate} Hz"
        )
    lines.append(f"progress  {progress_text(job.progress)}")
    if job.HasField("time_to_first_audio"):
        audio = f"audio     first after {seconds_of(job.time_to_first_audio):.2f} s"
        if job.HasField("time_to_playhead_audio"):
            audio += f", at the playhead after {seconds_of(job.time_to_playhead_audio):.2f} s"
        lines.append(audio)
    lines += [f"stage     {stage_line(stage)}" for stage in job.stages]
    if job.artifacts:
        lines.append(f"files     {', '.join(artifact.name for artifact in job.artifacts)}")
    lines += blob_lines(job.blobs)
    if job.labels:
        lines.append(f"labels    {', '.join(f'{key}={value}' for key, value in sorted(job.labels.items()))}")
    lines += [f"warning   {warning}" for warning in job.warnings]
    if job.HasField("error"):
        lines.append(f"error     {error_text(job.error)}")
    if job.dead_letter:
        lines.append(f"replay    mismo replay {job.job_id}")
    return lines


def blob_lines(blobs: Sequence[job_pb2.StoredBlob]) -> list[str]:
    """What was copied to the blob container: the folder once, then the names below it with their sizes."""
    lines: list[str] = []
    folder = None
    for blob in blobs:
        # Names need no escapes in a URI: they are made of A-Z a-z 0-9 . _ - and /.
        here = blob.uri.removesuffix(blob.name)
        if here != folder:
            folder = here
            lines.append(f"copied to {folder}")
        lines.append(f"blob      {blob.name}, {size_text(blob.total_bytes)}")
    return lines


def stage_line(stage: stage_pb2.StageStatus) -> str:
    """A stage's state with its result or its error."""
    text = f"{stage_name(stage.stage)} {stage_state_name(stage.state)}"
    if stage.attempts > 1:
        text += f" in {stage.attempts} attempts"
    if result := result_text(stage):
        text += f": {result}"
    if stage.HasField("error"):
        text += f": {error_text(stage.error)}"
    if stage.HasField("next_attempt_time"):
        text += f"; tried again at {local_time(stage.next_attempt_time, '%H:%M:%S')}"
    return text


def outcome_lines(job: job_pb2.Job) -> list[str]:
    """What a job brought besides its stems: results and errors of its stages."""
    return [
        stage_line(stage) for stage in job.stages if stage.HasField("error") or stage.WhichOneof("result")
    ]


def stages_table(stages: Sequence[system_service_pb2.StageInfo]) -> Table:
    """A row a stage."""
    table = Table("stage", "offered", "needs", "why not", box=None, padding=(0, 2, 0, 0))
    for stage in stages:
        needs = ", ".join(stage_name(needed) for needed in stage.needs)
        table.add_row(stage_name(stage.stage), "yes" if stage.available else "no", needs, stage.reason)
    return table


def models_table(models: Sequence[system_service_pb2.Model]) -> Table:
    """A row a model."""
    table = Table("model", "state", "stems", "speed", "", box=None, padding=(0, 2, 0, 0))
    for model in models:
        default = "default" if model.is_default else ""
        table.add_row(
            model.name, model_state(model), ", ".join(model.stem_names), model_speed(model), default
        )
    return table


def model_state(model: system_service_pb2.Model) -> str:
    """warm, available, unavailable."""
    return system_service_pb2.ModelState.Name(model.state).removeprefix("MODEL_STATE_").lower()


def model_speed(model: system_service_pb2.Model) -> str:
    """Empty while unmeasured."""
    return f"{model.realtime_factor:.1f}× realtime" if model.realtime_factor else ""


def model_lines(model: system_service_pb2.Model) -> list[str]:
    """Everything about one model."""
    lines = [f"model     {model.name}", f"state     {model_state(model)}"]
    if model.reason:
        lines.append(f"why       {model.reason}")
    if model.stem_names:
        lines.append(f"stems     {', '.join(model.stem_names)}")
    if model.sample_rate:
        segment = (
            f", segments of {model.segment_frames / model.sample_rate:.1f} s" if model.segment_frames else ""
        )
        lines.append(f"audio     {model.sample_rate} Hz{segment}")
    if speed := model_speed(model):
        lines.append(f"speed     {speed}")
    return lines


def info_lines(info: system_service_pb2.GetServerInfoResponse) -> list[str]:
    """What the server is, in a few lines."""
    lines = [
        f"version   {info.version}",
        f"model     {info.default_model} (warm: {', '.join(info.warm_models) or 'none'})",
        f"queue     {info.queue_depth} of {info.queue_capacity} jobs",
    ]
    for device in info.devices:
        lines.append(f"device    {device.name}: {device.description}, {device.precision}")
    limits = info.limits
    lines.append(
        f"limits    uploads of {limits.max_upload_bytes / 1e6:.0f} MB, "
        f"tracks of {format_timecode(seconds_of(limits.max_track_duration))}, {limits.max_streams} streams"
    )
    if info.draining:
        lines.append("shutting down: takes no new jobs")
    return lines


def event_line(event: job_service_pb2.WatchJobResponse) -> str:
    """One event of a job, without its time."""
    kind = event.WhichOneof("event")
    if kind == "snapshot":
        return f"{state_name(event.snapshot.state)}, {progress_text(event.snapshot.progress)}"
    if kind == "stage":
        return stage_line(event.stage)
    if kind == "progress":
        return progress_text(event.progress)
    if kind == "segment_ready":
        ranges = [f"{ready.start_frame}-{ready.end_frame}" for ready in event.segment_ready.ranges]
        return f"frames {', '.join(ranges)} ready"
    if kind == "terminal":
        job = event.terminal.job
        return state_name(job.state) + (f": {job.error.message}" if job.HasField("error") else "")
    return "nothing new"


def jobs_event_line(event: job_service_pb2.WatchJobsResponse) -> str:
    """One event of many jobs, without its time."""
    kind = event.WhichOneof("event")
    if kind == "job":
        job = event.job
        text = f"{job.job_id}  {state_name(job.state)}, {progress_text(job.progress)}, {track_of(job)}"
        return text + (f": {job.error.message}" if job.HasField("error") else "")
    if kind == "deleted":
        return f"{event.deleted.job_id}  deleted"
    if kind == "progress":
        return f"{event.progress.job_id}  {progress_text(event.progress.progress)}"
    return "all jobs are told; changes follow" if kind == "caught_up" else "nothing new"
