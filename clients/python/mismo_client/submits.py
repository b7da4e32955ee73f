"""What a submit asks for, and its message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mismo.analysis.v1 import job_pb2, job_service_pb2, stage_pb2
from mismo.analysis.v1.audio_pb2 import ENCODING_UNSPECIFIED, Encoding
from mismo.analysis.v1.job_pb2 import PRIORITY_UNSPECIFIED, Priority
from mismo.analysis.v1.stage_pb2 import Stage
from mismo_client.durations import duration
from mismo_client.stages import stage_of


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
    files) in Hz. With `request_id` unset a fresh one is made; give one to find an earlier submit's
    answer again.
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
    priority: Priority = PRIORITY_UNSPECIFIED
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    job_id: str = ""
    result_ttl: float | None = None
    callback_url: str = ""
    validate_only: bool = False
    request_id: str = ""


def source_message(source: str | Path | UploadedTrack) -> job_pb2.Source:
    """A path is made absolute; the server, not this machine, must be able to read it."""
    if isinstance(source, UploadedTrack):
        return job_pb2.Source(upload_id=source.upload_id)
    return job_pb2.Source(path=str(Path(source).expanduser().absolute()))


def submit_request(
    source: str | Path | UploadedTrack, options: SubmitOptions, request_id: str
) -> job_service_pb2.SubmitJobRequest:
    """The message of a submit; raises ValueError for the name of no stage."""
    output = stage_pb2.OutputOptions(encoding=options.encoding, sample_rate=options.sample_rate)
    stems = stage_pb2.StemOptions(
        model=options.model,
        stem_names=options.stems,
        two_stems=options.two_stems,
        playhead=duration(options.playhead),
        shifts=options.shifts,
        overlap=options.overlap,
        output=output if output.ByteSize() else None,
    )
    job_options = job_pb2.JobOptions(
        stages=[stage_of(stage) for stage in options.stages],
        # Options of a stage that is not asked for would be refused.
        stems=stems if stems.ByteSize() else None,
        generation=options.generation,
    )
    return job_service_pb2.SubmitJobRequest(
        request_id=request_id,
        job_id=options.job_id,
        source=source_message(source),
        options=job_options,
        priority=options.priority,
        labels=options.labels,
        result_ttl=duration(options.result_ttl),
        callback=job_pb2.Callback(url=options.callback_url) if options.callback_url else None,
        validate_only=options.validate_only,
    )
