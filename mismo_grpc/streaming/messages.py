"""What is said in a StreamStems session, in both directions."""

from __future__ import annotations

from dataclasses import dataclass

from mismo_grpc.audio.encode import Encoding


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where one stem goes on, in frames."""

    stem_name: str
    start_frame: int


@dataclass(frozen=True, slots=True)
class Open:
    """The first message; bytes and frames as in the contract, `chunk_bytes` 0 for the default."""

    job_id: str
    stem_names: tuple[str, ...] = ()
    encoding: Encoding = Encoding.PCM_S16LE
    start_frame: int = 0
    chunk_bytes: int = 0
    credit_bytes: int = 0
    follow: bool = False
    resume_points: tuple[ResumePoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Seek:
    """Go on elsewhere; `generation` is greater than any before."""

    generation: int
    start_frame: int


@dataclass(frozen=True, slots=True)
class Credit:
    """More payload bytes may be sent."""

    granted_bytes: int


ClientMessage = Open | Seek | Credit


@dataclass(frozen=True, slots=True)
class Info:
    """What is going to be sent; `codec_header` is FLAC's stream header."""

    encoding: Encoding
    stem_names: tuple[str, ...]
    total_frames: int
    sample_rate: int
    channels: int
    codec_header: bytes
    server_epoch: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Audio of one stem; `sequence` counts the chunks of a generation over all stems."""

    stem_index: int
    generation: int
    sequence: int
    start_frame: int
    frame_count: int
    data: bytes
    crc32c: int


@dataclass(frozen=True, slots=True)
class SeekApplied:
    """The audio goes on at this frame."""

    generation: int
    start_frame: int


@dataclass(frozen=True, slots=True)
class NotReady:
    """Frames [start_frame, end_frame) are still being made."""

    generation: int
    start_frame: int
    end_frame: int


@dataclass(frozen=True, slots=True)
class EndOfStem:
    """A stem was sent up to the end; `sha256` is empty while the job still runs."""

    stem_index: int
    generation: int
    sha256: str


@dataclass(frozen=True, slots=True)
class End:
    """All stems were sent up to the end."""

    generation: int


ServerMessage = Info | Chunk | SeekApplied | NotReady | EndOfStem | End
