"""Jobs as immutable values; every change makes a new value with a higher revision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import InvalidFieldError, InvalidJobIdError, MismoError
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.jobs.artifact import Artifact as Artifact
from mismo_grpc.jobs.artifact import StoredBlob as StoredBlob
from mismo_grpc.jobs.export_options import ExportOptions
from mismo_grpc.jobs.stage_data import STEM_STAGES, StageData
from mismo_grpc.jobs.stage_data import Stage as Stage
from mismo_grpc.jobs.stored_enum import StoredByName
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.rates import OUTPUT_RATES
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.wire_forms import wire

JOB_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,128}")
RESERVED_JOB_IDS = frozenset({".", "..", ".mismo"})
BLOB_FOLDER_PATTERN = re.compile(r"[A-Za-z0-9._-]+")
MAX_PREFIX_CHARS = 512
MAX_SHIFTS = 20
MAX_PLAYHEAD_SECONDS = 1e7
MAX_LABELS = 64
MAX_LABEL_CHARS = 256


class Priority(StoredByName, IntEnum):
    """Priority class; a higher one overtakes between two segments."""

    LOW = 1
    NORMAL = 2
    HIGH = 3


class JobState(StoredByName, IntEnum):
    """The state of a job."""

    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5

    @property
    def ended(self) -> bool:
        """Whether the job is final: only expiry or a new run can follow."""
        return self >= JobState.SUCCEEDED


class StageState(StoredByName, IntEnum):
    """The state of one stage of a job."""

    PENDING = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5
    SKIPPED = 6
    """Not run, because a stage that it needs has failed."""

    @property
    def ended(self) -> bool:
        """Whether the stage is final in this run of the job."""
        return self >= StageState.SUCCEEDED


class SourceKind(StoredByName, StrEnum):
    """How a submit refers to its track."""

    PATH = "path"
    UPLOAD = "upload_id"
    BLOB = "blob_uri"
    NONE = ""
    """A job that generates stems has no source."""


@dataclass(frozen=True)
class Source:
    """The track: a path or the URI of a blob as the client sent it, the id of an upload, or "" for none."""

    kind: SourceKind
    location: str


class DeliveryMode(StoredByName, StrEnum):
    """How a callback delivers the stems: as links to fetch, as paths on a shared disk, in its body, or as blobs."""

    POLL = "poll"
    PATH = "path"
    CALLBACK = "callback"
    BLOB = "blob"
    """One callback at the end of the job has the addresses of the results in the blob container."""


@dataclass(frozen=True)
class Delivery:
    """The URL that receives the job's callbacks ("": none), and how they deliver the stems."""

    callback_url: str = ""
    mode: DeliveryMode = DeliveryMode.POLL


@dataclass(frozen=True)
class StemOptions:
    """How to separate; `playhead` is in seconds, `sample_rate` in Hz (0: the model's)."""

    model: str = ""
    stem_names: tuple[str, ...] = ()
    two_stems: str = ""
    playhead: float | None = None
    shifts: int = 0
    overlap: float = 0.25
    encoding: Encoding = Encoding.PCM_S16LE
    sample_rate: int = 0

    def __post_init__(self) -> None:
        if self.playhead is not None and not 0 <= self.playhead < MAX_PLAYHEAD_SECONDS:
            raise InvalidFieldError(
                "options.stems.playhead must not be negative", field="options.stems.playhead"
            )
        if not 0 <= self.shifts <= MAX_SHIFTS:
            raise InvalidFieldError(
                f"options.stems.shifts must be 0 to {MAX_SHIFTS}", field="options.stems.shifts"
            )
        if not 0 <= self.overlap <= 0.95:
            raise InvalidFieldError(
                "options.stems.overlap must be at least 0 and at most 0.95", field="options.stems.overlap"
            )
        if self.encoding is Encoding.FLAC:
            raise InvalidFieldError(
                "options.stems.output.encoding: stem files are PCM; ask for FLAC when you open a stream",
                field="options.stems.output.encoding",
            )
        if self.sample_rate not in (0, *OUTPUT_RATES):
            rates = ", ".join(map(str, OUTPUT_RATES))
            raise InvalidFieldError(
                f"options.stems.output.sample_rate must be 0 (the model's own) or one of {rates} Hz",
                field="options.stems.output.sample_rate",
            )
        if self.two_stems and self.stem_names:
            raise InvalidFieldError(
                "options.stems.two_stems and options.stems.stem_names exclude each other; give one",
                field="options.stems.two_stems",
            )


def check_blob_prefix(prefix: str) -> None:
    """Raises InvalidFieldError unless the prefix ("" for none) names folders that every blob store can have."""
    names = prefix.split("/") if prefix else []
    if len(prefix) > MAX_PREFIX_CHARS or not all(
        BLOB_FOLDER_PATTERN.fullmatch(name) and not name.startswith(".") for name in names
    ):
        raise InvalidFieldError(
            f"options.blob_upload.prefix must be folder names of A-Z a-z 0-9 . _ - separated by /, as in 'albums/42', "
            f"at most {MAX_PREFIX_CHARS} characters in all; no name begins with a dot",
            field="options.blob_upload.prefix",
        )


@dataclass(frozen=True)
class JobOptions:
    """The options of a job; `stages` are the requested ones, without the stages that they depend on."""

    stages: tuple[Stage, ...] = (Stage.STEMS,)
    stems: StemOptions = StemOptions()
    generation: GenerationOptions | None = None
    """Set in a job with STAGE_GENERATION."""
    blob_prefix: str = ""
    """The folders in the blob container that get the results; "": the job_id."""
    export: ExportOptions | None = None
    """Set in a job with STAGE_EXPORT."""

    def __post_init__(self) -> None:
        check_blob_prefix(self.blob_prefix)


@dataclass(frozen=True)
class JobRequest:
    """A submit that passed all checks that need no server state; `result_ttl` is in seconds."""

    source: Source
    options: JobOptions = JobOptions()
    request_id: str = ""
    job_id: str = ""
    priority: Priority = Priority.NORMAL
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    result_ttl: float | None = None
    validate_only: bool = False
    delivery: Delivery = Delivery()
    fingerprint: str = ""
    """A hash of the whole payload; it distinguishes a repeated request from a request_id used for another one."""

    def __post_init__(self) -> None:
        if (self.options.generation is not None) != (Stage.GENERATION in self.options.stages):
            raise InvalidFieldError(
                "options.generation and STAGE_GENERATION among options.stages go together; give both or none",
                field="options.generation",
            )
        if (self.options.export is not None) != (Stage.EXPORT in self.options.stages):
            raise InvalidFieldError(
                "options.export and STAGE_EXPORT among options.stages go together; give both or none",
                field="options.export",
            )
        if self.job_id:
            check_job_id(self.job_id)
        if len(self.labels) > MAX_LABELS:
            raise InvalidFieldError(f"labels: at most {MAX_LABELS}", field="labels")
        for key, value in self.labels.items():
            if not key or len(key) > MAX_LABEL_CHARS or len(value) > MAX_LABEL_CHARS:
                raise InvalidFieldError(
                    f"labels: a key has 1 to {MAX_LABEL_CHARS} characters, a value at most {MAX_LABEL_CHARS}",
                    field="labels",
                )
        if self.result_ttl is not None and not 0 < self.result_ttl < 1e9:
            raise InvalidFieldError("result_ttl must be greater than 0", field="result_ttl")


def check_job_id(job_id: str) -> None:
    """Raises InvalidJobIdError unless the id is safe as the name of a folder."""
    if not JOB_ID_PATTERN.fullmatch(job_id) or job_id in RESERVED_JOB_IDS:
        raise InvalidJobIdError(
            "job_id must be 1 to 128 characters of A-Z a-z 0-9 . _ - and none of '.', '..', '.mismo'",
            field="job_id",
        )


@dataclass(frozen=True)
class JobFailure:
    """An error as it is stored with a job."""

    grpc_code: str
    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    retryable: bool = False

    @classmethod
    def of(cls, error: MismoError) -> JobFailure:
        """The stored form of an error."""
        form = wire(error)
        return cls(form.grpc_code, form.reason, error.message, dict(error.metadata), form.retryable)


@dataclass(frozen=True)
class StageStatus:
    """One stage of a job; times are seconds since the epoch.

    `attempts` counts how often it was begun, including retries; resuming it after a restart is not a new attempt.
    """

    stage: Stage
    state: StageState = StageState.PENDING
    started_at: float | None = None
    ended_at: float | None = None
    error: JobFailure | None = None
    """Why the stage failed, or why a stage that it needs failed; while it waits for another attempt, why the last
    one failed."""
    attempts: int = 0
    next_attempt_at: float | None = None
    """When a stage that waits for another attempt is tried again."""
    result: StageData | None = None
    """Set when a stage succeeds whose result is not a file."""
    version: str = ""
    """Names what made the result besides the track: the version of the analysis, its models."""


@dataclass(frozen=True)
class Progress:
    """The progress of a job; `eta` in seconds, None while it is unknown."""

    fraction: float = 0.0
    eta: float | None = None
    queue_position: int = 0
    segments_done: int = 0
    segments_total: int = 0


@dataclass(frozen=True)
class Job:
    """One job; times are seconds since the epoch, durations seconds."""

    job_id: str
    run_id: str
    """The id of this run; a job_id that is submitted again after it ended gets another."""
    revision: int
    state: JobState
    priority: Priority
    source: Source
    options: JobOptions
    labels: Mapping[str, str]
    model: str
    created_at: float
    playhead_moved: bool = False
    """Whether an update set the playhead. It may then lie past the end, as the track's length may be unknown."""
    fallback_from: str = ""
    result_ttl: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    expires_at: float | None = None
    stages: tuple[StageStatus, ...] = (StageStatus(Stage.DECODE), StageStatus(Stage.STEMS))
    error: JobFailure | None = None
    warnings: tuple[str, ...] = ()
    layout: StemLayout | None = None
    segments_done: int = 0
    segments_total: int = 0
    time_to_first_audio: float | None = None
    model_fingerprint: str = ""
    """Names the weights, the device and the precision; results are reused only if it is equal. "" until known."""
    source_sha256: str = ""
    source_bytes: int = 0
    source_mtime_ns: int = 0
    """The source's modification time when it was hashed; decode compares it to detect a changed source."""
    artifacts: tuple[Artifact, ...] = ()
    stem_sha256: tuple[str, ...] = ()
    """The hash of each finished stem's samples as stored, in layout order."""
    result_bytes: int = 0
    """The size of all files of a finished run."""
    cache_hit: bool = False
    delivery: Delivery = Delivery()
    time_to_playhead_audio: float | None = None
    """Seconds from submit until the frame at the newest playhead (else the first frame) was first final."""
    deleted_at: float | None = None
    """Set on the record of a deleted job, which is kept to answer a repeated request_id."""
    dead_letter: bool = False
    """Whether the job has failed from a cause that may pass, so that its files are kept for a replay."""
    blobs: tuple[StoredBlob, ...] = ()
    """What was copied to the blob container."""

    def with_stage(self, status: StageStatus) -> Job:
        """A copy of the job with the status of one stage replaced."""
        return replace(self, stages=tuple(status if s.stage is status.stage else s for s in self.stages))

    def with_playhead_audio(self, ready: RangeSet, now: float) -> Job:
        """A copy of the job with `time_to_playhead_audio` set, if the frame at its playhead is `ready`.

        `now` is in seconds since the epoch.
        """
        layout = self.layout
        if self.time_to_playhead_audio is not None or layout is None:
            return self
        frame = int((self.options.stems.playhead or 0.0) * layout.sample_rate)
        if min(frame, layout.total_frames - 1) not in ready:
            return self
        return replace(self, time_to_playhead_audio=now - self.created_at)

    def stage(self, stage: Stage) -> StageStatus:
        """The status of one stage; raises LookupError if it is not part of the job."""
        found = next((s for s in self.stages if s.stage is stage), None)
        if found is None:
            raise LookupError(f"job {self.job_id} has no stage {stage.name}")
        return found

    @property
    def stem_status(self) -> StageStatus | None:
        """The status of the stage that makes the stem files, None if the job makes none."""
        return next((s for s in self.stages if s.stage in STEM_STAGES), None)

    @property
    def has_stem_files(self) -> bool:
        """Whether the stage that makes the stem files has succeeded."""
        status = self.stem_status
        return status is not None and status.state is StageState.SUCCEEDED

    def has(self, stage: Stage) -> bool:
        """Whether the stage is part of the job."""
        return any(s.stage is stage for s in self.stages)

    def has_ended(self, stage: Stage) -> bool:
        """Whether the stage is part of the job and has ended, with or without success."""
        return any(s.stage is stage and s.state.ended for s in self.stages)

    def has_result_of(self, stage: Stage) -> bool:
        """Whether the stage is part of the job and has succeeded."""
        return any(s.stage is stage and s.state is StageState.SUCCEEDED for s in self.stages)
