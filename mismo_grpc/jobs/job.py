"""What a job is: frozen values; every change makes a new one with a higher revision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from mismo_grpc.analysis.loudness import LoudnessResult
from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import InvalidFieldError, InvalidJobIdError, MismoError, wire
from mismo_grpc.jobs.stored_enum import StoredByName
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.rates import OUTPUT_RATES
from mismo_grpc.separation.stems import StemLayout

JOB_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,128}")
RESERVED_JOB_IDS = frozenset({".", "..", ".mismo"})
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
    """Where a job stands."""

    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5

    @property
    def ended(self) -> bool:
        """Nothing will change any more, but for expiry and a new run."""
        return self >= JobState.SUCCEEDED


class Stage(StoredByName, IntEnum):
    """One kind of work on a track; numbered as in the contract."""

    DECODE = 1
    STEMS = 2
    WAVEFORMS = 3
    LOUDNESS = 4
    BASIC_FEATURES = 5
    CHARACTERISTICS = 6
    GENRE = 7
    SECTIONS = 8
    CHORDS = 9
    TRANSITION = 10
    GENERATION = 11


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
        """Nothing of the stage will run any more in this run of the job."""
        return self >= StageState.SUCCEEDED


class SourceKind(StoredByName, StrEnum):
    """How a job's track is named."""

    PATH = "path"
    UPLOAD = "upload_id"


@dataclass(frozen=True)
class Source:
    """The track: a path as the client sent it, or the id of an upload."""

    kind: SourceKind
    location: str


class DeliveryMode(StoredByName, StrEnum):
    """How a callback hands over the stems: as links to fetch, as paths on a shared disk, or in its body."""

    POLL = "poll"
    PATH = "path"
    CALLBACK = "callback"


@dataclass(frozen=True)
class Delivery:
    """Who is told by HTTP how a job ends ("": nobody), and in which form the stems are handed over."""

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


@dataclass(frozen=True)
class JobOptions:
    """What to do with a track; `stages` are the asked ones, without those that these need."""

    stages: tuple[Stage, ...] = (Stage.STEMS,)
    stems: StemOptions = StemOptions()


@dataclass(frozen=True)
class JobRequest:
    """A submit, checked as far as that needs no state; `result_ttl` is in seconds."""

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
    """Of the whole payload; tells a repeated request_id from a reused one."""

    def __post_init__(self) -> None:
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
    """Raises InvalidJobIdError unless the id is safe as a folder's name."""
    if not JOB_ID_PATTERN.fullmatch(job_id) or job_id in RESERVED_JOB_IDS:
        raise InvalidJobIdError(
            "job_id must be 1 to 128 characters of A-Z a-z 0-9 . _ - and none of '.', '..', '.mismo'",
            field="job_id",
        )


@dataclass(frozen=True)
class JobFailure:
    """An error as it lives on a job."""

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


StageData = LoudnessResult
"""What a stage has found out, for stages whose result is no file: a union of their results."""


@dataclass(frozen=True)
class StageStatus:
    """One stage of a job; times are seconds since the epoch.

    `attempts` counts how often it was begun, retries included; to go on after a restart is no new attempt.
    """

    stage: Stage
    state: StageState = StageState.PENDING
    started_at: float | None = None
    ended_at: float | None = None
    error: JobFailure | None = None
    """Why it failed, or why a stage failed that it needs."""
    attempts: int = 0
    result: StageData | None = None
    """Set once it has succeeded, for stages with a result of their own."""


@dataclass(frozen=True)
class Progress:
    """How far a job is; `eta` in seconds, None while it cannot be told."""

    fraction: float = 0.0
    eta: float | None = None
    queue_position: int = 0
    segments_done: int = 0
    segments_total: int = 0


@dataclass(frozen=True)
class Artifact:
    """A file of a finished job.

    `sha256` is of its content in lower-case hex, "" for an archive that is made while it is read. Results of earlier
    versions have 0 bytes and "".
    """

    name: str
    total_bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Job:
    """One job; times are seconds since the epoch, durations seconds."""

    job_id: str
    run_id: str
    """Of this run: a job_id can run again after it ended."""
    revision: int
    state: JobState
    priority: Priority
    source: Source
    options: JobOptions
    labels: Mapping[str, str]
    model: str
    created_at: float
    playhead_moved: bool = False
    """The playhead came by an update, when nobody may have known the track's length: it is never too late."""
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
    """Of the weights, the device and the precision: results are taken over only from the same. "" until known."""
    source_sha256: str = ""
    source_bytes: int = 0
    source_mtime_ns: int = 0
    """When the source had changed last as it was hashed; tells whether it is still the same when it is decoded."""
    artifacts: tuple[Artifact, ...] = ()
    stem_sha256: tuple[str, ...] = ()
    """Of each finished stem's samples as stored, in layout order."""
    result_bytes: int = 0
    """Of all files of a finished run."""
    cache_hit: bool = False
    delivery: Delivery = Delivery()
    time_to_playhead_audio: float | None = None
    """From submit until the frame at the newest playhead (else the first one) was final for the first time."""
    deleted_at: float | None = None
    """Of a record that outlives its job, for those who repeat its request_id."""

    def with_stage(self, status: StageStatus) -> Job:
        """The same job with one stage replaced."""
        return replace(self, stages=tuple(status if s.stage is status.stage else s for s in self.stages))

    def with_playhead_audio(self, ready: RangeSet, now: float) -> Job:
        """The same job with `time_to_playhead_audio`, as soon as the frame at its playhead is among those `ready`.

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
        """The status of one stage."""
        return next(s for s in self.stages if s.stage is stage)

    def has(self, stage: Stage) -> bool:
        """Whether the stage is part of the job."""
        return any(s.stage is stage for s in self.stages)

    def has_ended(self, stage: Stage) -> bool:
        """Whether the stage is part of the job and has ended, however."""
        return any(s.stage is stage and s.state.ended for s in self.stages)

    def has_result_of(self, stage: Stage) -> bool:
        """Whether the stage is part of the job and has succeeded."""
        return any(s.stage is stage and s.state is StageState.SUCCEEDED for s in self.stages)
