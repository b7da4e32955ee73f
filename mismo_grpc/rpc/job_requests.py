"""Checks requests about jobs and converts them from protobuf. Pure functions.

Errors name a wrong field by its path in the request, such as `options.stems.output.encoding`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from mismo.analysis.v1 import job_pb2, job_service_pb2, stage_pb2
from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.jobs.export_options import ExportFormat, ExportOptions
from mismo_grpc.jobs.job import (
    MAX_PLAYHEAD_SECONDS,
    Delivery,
    JobOptions,
    JobRequest,
    JobState,
    Priority,
    Source,
    SourceKind,
    Stage,
    StemOptions,
)
from mismo_grpc.orchestration.job_changes import JobUpdate
from mismo_grpc.rpc.values import encoding_of, member, seconds_of

UUID_PATTERN = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
MAX_STEM_NAMES = 64
MAX_STAGES = 64
UPDATE_PATHS = frozenset({"priority", "playhead"})


def job_request(message: job_service_pb2.SubmitJobRequest) -> JobRequest:
    """Converts a submit; raises InvalidFieldError, InvalidJobIdError."""
    if message.request_id and not UUID_PATTERN.fullmatch(message.request_id):
        raise InvalidFieldError("request_id must be a UUID, or empty for none", field="request_id")
    if message.HasField("callback") and not message.callback.url:
        raise InvalidFieldError(
            "callback.url must not be empty; leave callback out for none", field="callback.url"
        )
    options = options_of(message.options)
    return JobRequest(
        source=source_of(message.source if message.HasField("source") else None, options.stages),
        options=options,
        request_id=message.request_id.lower(),
        job_id=message.job_id,
        priority=priority_of(message.priority) or Priority.NORMAL,
        labels=dict(message.labels),
        result_ttl=seconds_of(message.result_ttl, "result_ttl") if message.HasField("result_ttl") else None,
        validate_only=message.validate_only,
        fingerprint=fingerprint(message),
        # A gRPC client downloads the stems by gRPC, so the callback has links, not base64.
        delivery=Delivery(message.callback.url),
    )


def fingerprint(message: job_service_pb2.SubmitJobRequest) -> str:
    """The SHA-256 of a request without its request_id and validate_only."""
    payload = job_service_pb2.SubmitJobRequest()
    payload.CopyFrom(message)
    payload.ClearField("request_id")
    payload.ClearField("validate_only")
    return hashlib.sha256(payload.SerializeToString(deterministic=True)).hexdigest()


def source_of(message: job_pb2.Source | None, stages: Sequence[Stage]) -> Source:
    """Converts the source of a track; raises InvalidFieldError if it is missing, or if generated stems have one."""
    kind = message.WhichOneof("location") if message is not None else None
    if Stage.GENERATION in stages:
        if kind is not None:
            raise InvalidFieldError(
                "source must be left out: STAGE_GENERATION makes stems without one", field="source"
            )
        return Source(SourceKind.NONE, "")
    if message is None or kind is None:
        raise InvalidFieldError("source must have a path, an upload_id or a blob_uri", field="source")
    location = {"path": message.path, "upload_id": message.upload_id, "blob_uri": message.blob_uri}[kind]
    if not location:
        raise InvalidFieldError(f"source.{kind} must not be empty", field=f"source.{kind}")
    return Source(SourceKind(kind), location)


def options_of(message: job_pb2.JobOptions) -> JobOptions:
    """Converts the options of a job; raises InvalidFieldError."""
    if len(message.stages) > MAX_STAGES:
        raise InvalidFieldError(f"options.stages: at most {MAX_STAGES}", field="options.stages")
    stages = tuple(member(Stage, number, "options.stages") for number in message.stages)
    stems = stem_options_of(message.stems)
    generation = generation_options_of(message.generation) if message.HasField("generation") else None
    prefix = message.blob_upload.prefix
    export = export_options_of(message.export) if message.HasField("export") else None
    if not stages:
        return JobOptions(stems=stems, generation=generation, blob_prefix=prefix, export=export)
    if message.HasField("stems") and Stage.STEMS not in stages:
        raise InvalidFieldError(
            "options.stems is set, but options.stages does not ask for STAGE_STEMS; add it, or leave "
            "options.stems out",
            field="options.stems",
        )
    return JobOptions(tuple(dict.fromkeys(stages)), stems, generation, prefix, export)


def export_options_of(message: stage_pb2.ExportOptions) -> ExportOptions:
    """Converts the formats of an export; raises InvalidFieldError."""
    if len(message.formats) > MAX_STAGES:
        raise InvalidFieldError(
            f"options.export.formats: at most {MAX_STAGES}", field="options.export.formats"
        )
    formats = tuple(member(ExportFormat, number, "options.export.formats") for number in message.formats)
    if not message.mp3_kbps:
        return ExportOptions(tuple(dict.fromkeys(formats)))
    return ExportOptions(tuple(dict.fromkeys(formats)), message.mp3_kbps)


def generation_options_of(message: stage_pb2.GenerationOptions) -> GenerationOptions:
    """Converts the options of a generator; raises InvalidFieldError."""
    default = GenerationOptions(("other",))
    field = "options.generation.duration"
    return GenerationOptions(
        target_stems=tuple(message.target_stems),
        target_bpm=message.target_bpm or default.target_bpm,
        seconds=seconds_of(message.duration, field) if message.HasField("duration") else default.seconds,
        style=message.style,
        chord_progression=tuple(message.chord_progression),
        key=message.key,
        prompt=message.prompt,
        temperature=message.temperature or default.temperature,
        random_seed=message.random_seed,
        generator=message.generator,
    )


def stem_options_of(message: stage_pb2.StemOptions) -> StemOptions:
    """Converts the options of the stems; raises InvalidFieldError."""
    names = tuple(message.stem_names)
    if len(names) > MAX_STEM_NAMES or len(set(names)) != len(names) or "" in names:
        raise InvalidFieldError(
            f"options.stems.stem_names must be at most {MAX_STEM_NAMES} different names",
            field="options.stems.stem_names",
        )
    playhead = (
        seconds_of(message.playhead, "options.stems.playhead") if message.HasField("playhead") else None
    )
    return StemOptions(
        model=message.model,
        stem_names=names,
        two_stems=message.two_stems,
        playhead=playhead,
        shifts=message.shifts,
        overlap=message.overlap if message.HasField("overlap") else StemOptions().overlap,
        encoding=encoding_of(message.output.encoding, "options.stems.output.encoding"),
        sample_rate=message.output.sample_rate,
    )


def job_update(message: job_service_pb2.UpdateJobRequest) -> JobUpdate:
    """Converts an update of a job; raises InvalidFieldError."""
    paths = set(message.update_mask.paths)
    unknown = sorted(paths - UPDATE_PATHS)
    if unknown:
        raise InvalidFieldError(
            f"update_mask: {unknown[0][:64]!r} cannot be changed; give {' or '.join(sorted(UPDATE_PATHS))}",
            field="update_mask",
        )
    playhead = seconds_of(message.playhead, "playhead") if message.HasField("playhead") else None
    if playhead is not None and not 0 <= playhead < MAX_PLAYHEAD_SECONDS:
        raise InvalidFieldError(
            f"playhead must be 0 to {MAX_PLAYHEAD_SECONDS:.0f} s; to clear it, name it in update_mask and leave it out",
            field="playhead",
        )
    priority = priority_of(message.priority)
    if not paths:
        return JobUpdate(priority, playhead is not None, playhead)
    return JobUpdate(
        (priority or Priority.NORMAL) if "priority" in paths else None,
        sets_playhead="playhead" in paths,
        playhead=playhead if "playhead" in paths else None,
    )


def priority_of(number: int) -> Priority | None:
    """Converts a priority, None for UNSPECIFIED; raises InvalidFieldError."""
    return None if number == job_pb2.PRIORITY_UNSPECIFIED else member(Priority, number, "priority")


def states_of(numbers: Iterable[int]) -> list[JobState]:
    """Converts the states of a filter; raises InvalidFieldError."""
    return [member(JobState, number, "states") for number in numbers]
