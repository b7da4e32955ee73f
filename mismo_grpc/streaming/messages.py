"""The messages of a StreamStems session, in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.streaming.positions import Position


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The frame at which one stem continues."""

    stem_name: str
    start_frame: int


@dataclass(frozen=True, slots=True)
class Credit:
    """Permission to send more: payload bytes of all stems together, and frames of each stem."""

    bytes: int = 0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Open:
    """The first message; fields as in the contract; `chunk_bytes` 0 means the default."""

    job_id: str
    stem_names: tuple[str, ...] = ()
    encoding: Encoding = Encoding.PCM_S16LE
    start: Position = 0
    chunk_bytes: int = 0
    credit: Credit = Credit()
    follow: bool = False
    resume_points: tuple[ResumePoint, ...] = ()
    generation: int = 0
    expected_run_id: str = ""


@dataclass(frozen=True, slots=True)
class Seek:
    """Continue at another position; `generation` is greater than all before."""

    generation: int
    start: Position
    credit: Credit = Credit()


ClientMessage = Open | Seek | Credit


@dataclass(frozen=True, slots=True)
class Info:
    """Describes the stream; frames are at `sample_rate` (Hz). `codec_header` is FLAC's stream header.

    `segment_frames` is 0 if unknown, `idle_seconds` is 0 if the client need not send anything.
    """

    job_id: str
    run_id: str
    server_epoch: str
    model: str
    encoding: Encoding
    stem_names: tuple[str, ...]
    total_frames: int
    sample_rate: int
    channels: int
    bits_per_sample: int
    codec_header: bytes
    chunk_bytes: int
    max_chunk_frames: int
    segment_frames: int
    idle_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Audio of one stem; `sequence` counts the chunks of all stems in a generation."""

    stem_index: int
    generation: int
    sequence: int
    start_frame: int
    frame_count: int
    data: bytes
    crc32c: int


@dataclass(frozen=True, slots=True)
class SeekApplied:
    """The audio continues at this frame."""

    generation: int
    start_frame: int


@dataclass(frozen=True, slots=True)
class SeekRefused:
    """The seek was not applied; the generation before it continues."""

    generation: int
    message: str


class NotReadyReason(Enum):
    """Why audio is missing."""

    QUEUED = "queued"
    """The job waits for its turn."""
    DECODING = "decoding"
    """The track is being decoded, or the model loaded."""
    SEPARATING = "separating"
    """A segment with the first missing frame is being computed."""
    WAITING_FOR_DEVICE = "waiting for device"
    """Segments of other jobs or players are computed first."""


@dataclass(frozen=True, slots=True)
class NotReady:
    """Frames [start_frame, end_frame) are not final yet; both are None before Info.

    They are expected `expected_seconds` from now, None while that is unknown.
    """

    generation: int
    start_frame: int | None
    end_frame: int | None
    reason: NotReadyReason
    expected_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class AwaitingCredit:
    """Audio is ready, but the next chunk needs this many more bytes and frames of credit."""

    generation: int
    missing_bytes: int
    missing_frames: int


@dataclass(frozen=True, slots=True)
class EndOfStem:
    """A stem was sent up to the end.

    `sha256` is the hash of the payload sent in this generation, from `start_frame` on; `stem_sha256` is the hash of the
    stem's samples as stored, empty until the stems are finished.
    """

    stem_index: int
    generation: int
    sha256: str
    start_frame: int
    stem_sha256: str


@dataclass(frozen=True, slots=True)
class End:
    """All stems were sent up to the end."""

    generation: int


ServerMessage = Info | Chunk | SeekApplied | SeekRefused | NotReady | AwaitingCredit | EndOfStem | End
