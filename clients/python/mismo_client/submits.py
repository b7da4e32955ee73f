"""What a submit asks for, and its message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mismo.analysis.v1 import job_pb2, job_service_pb2, stage_pb2
from mismo.analysis.v1.audio_pb2 import ENCODING_UNSPECIFIED, Encoding
from mismo.analysis.v1.job_pb2 import PRIORITY_UNSPECIFIED, Priority
from mismo.analysis.v1.stage_pb2 import STAGE_EXPORT, STAGE_STEMS, Stage
from mismo_client.durations import duration as duration_message
from mismo_client.exports import export_options
from mismo_client.stages import stage_of

BLOB_SCHEMES = ("az://", "s3://", "https://", "http://", "file://")
"""What the URI of a blob begins with."""


@dataclass(frozen=True)
class UploadedTrack:
    """A complete upload, ready to be a job's source."""

    upload_id: str
    total_bytes: int
    sha256: str


@dataclass(frozen=True)
class SubmitOptions:
    """What to do with a track; every default leaves the choice to the server.

    `stages` are names ("stems", "loudness") or values of Stage; empty: stems. `model` to `sample_rate`
    are options of the stems. `playhead` and `result_ttl` are in seconds, `sample_rate` (of the stem
    files) in Hz. `generation` and `blob_prefix` are options of the stages generation and blob_upload.
    `export` names formats ("flac", "mp3" with `mp3_kbps` kbit/s, "stem.mp4") and adds the stage export.
    With `request_id` unset a fresh one is made; give one to find an earlier submit's answer again.
    """

    stages: Sequence[Stage | str] = ()
    model: str = ""
    stems: Sequence[str] = ()
    two_stems: str = ""
    playhead: float | None = None
    shifts: int = 0
    overlap: float | None = None
    encoding: Encoding = ENCODING_UNSPECIFIED
    sample_rate: int = 0
    generation: stage_pb2.GenerationOptions | None = None
    blob_prefix: str = ""
    export: Sequence[str] = ()
    mp3_kbps: int = 0
    priority: Priority = PRIORITY_UNSPECIFIED
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    job_id: str = ""
    result_ttl: float | None = None
    callback_url: str = ""
    validate_only: bool = False
    request_id: str = ""


def is_blob_uri(source: object) -> bool:
    """Whether the source is the URI of a blob; a Path never is."""
    return isinstance(source, str) and source.lower().startswith(BLOB_SCHEMES)


def source_message(source: str | Path | UploadedTrack | None) -> job_pb2.Source | None:
    """A path is made absolute; the server, not this machine, must be able to read it. None has no source."""
    if source is None:
        return None
    if isinstance(source, UploadedTrack):
        return job_pb2.Source(upload_id=source.upload_id)
    if is_blob_uri(source):
        return job_pb2.Source(blob_uri=str(source))
    return job_pb2.Source(path=str(Path(source).expanduser().absolute()))


def generation_options(
    *,
    target_stems: Sequence[str],
    target_bpm: float,
    duration: float | None,
    style: str,
    chord_progression: Sequence[str],
    key: str,
    prompt: str,
    temperature: float,
    random_seed: int,
    generator: str,
) -> stage_pb2.GenerationOptions:
    """The message of what to generate, `duration` in seconds.

    Raises ValueError for a text in place of a list, or a seed beyond 64 bits; the server checks the rest.
    """
    for name, texts in (("target_stems", target_stems), ("chord_progression", chord_progression)):
        if isinstance(texts, str):
            raise ValueError(f"{name} must be a list of texts, such as {texts.split()!r}")
    return stage_pb2.GenerationOptions(
        target_stems=target_stems,
        target_bpm=target_bpm,
        duration=duration_message(duration),
        style=style,
        chord_progression=chord_progression,
        key=key,
        prompt=prompt,
        temperature=temperature,
        random_seed=random_seed,
        generator=generator,
    )


def submit_request(
    source: str | Path | UploadedTrack | None, options: SubmitOptions, request_id: str
) -> job_service_pb2.SubmitJobRequest:
    """The message of a submit; raises ValueError for the name of no stage."""
    output = stage_pb2.OutputOptions(encoding=options.encoding, sample_rate=options.sample_rate)
    stems = stage_pb2.StemOptions(
        model=options.model,
        stem_names=options.stems,
        two_stems=options.two_stems,
        playhead=duration_message(options.playhead),
        shifts=options.shifts,
        overlap=options.overlap,
        output=output if output.ByteSize() else None,
    )
    stages = [stage_of(stage) for stage in options.stages]
    if options.export:
        stages = [*(stages or [STAGE_STEMS]), *([] if STAGE_EXPORT in stages else [STAGE_EXPORT])]
    job_options = job_pb2.JobOptions(
        stages=stages,
        # Options of a stage that is not asked for would be refused.
        stems=stems if stems.ByteSize() else None,
        generation=options.generation,
        blob_upload=stage_pb2.BlobUploadOptions(prefix=options.blob_prefix) if options.blob_prefix else None,
        export=export_options(options.export, options.mp3_kbps),
    )
    return job_service_pb2.SubmitJobRequest(
        request_id=request_id,
        job_id=options.job_id,
        source=source_message(source),
        options=job_options,
        priority=options.priority,
        labels=options.labels,
        result_ttl=duration_message(options.result_ttl),
        callback=job_pb2.Callback(url=options.callback_url) if options.callback_url else None,
        validate_only=options.validate_only,
    )
