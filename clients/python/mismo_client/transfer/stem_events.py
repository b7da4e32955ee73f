"""What a stream of stems brings."""

from __future__ import annotations

from typing import NamedTuple

from mismo.analysis.v1 import transfer_service_pb2
from mismo.analysis.v1.transfer_service_pb2 import NotReadyReason
from mismo_client.durations import seconds_of


class StemChunk(NamedTuple):
    """Consecutive frames of one stem; `generation` is that of the seek it belongs to, 0 before the first."""

    stem_index: int
    stem_name: str
    start_frame: int
    frame_count: int
    data: bytes
    generation: int


class NotReady(NamedTuple):
    """The audio at the stream's position is not separated yet.

    `start_frame` to `end_frame` (exclusive) is the whole missing range; both are None until the track
    is decoded. `expected_in` is in seconds, None while it is unknown.
    """

    generation: int
    start_frame: int | None
    end_frame: int | None
    reason: NotReadyReason
    expected_in: float | None

    @classmethod
    def of(cls, message: transfer_service_pb2.NotReady) -> NotReady:
        """From the wire."""
        known = message.HasField("range")
        return cls(
            message.generation,
            message.range.start_frame if known else None,
            message.range.end_frame if known else None,
            message.reason,
            seconds_of(message.expected_in) if message.HasField("expected_in") else None,
        )


class AwaitingCredit(NamedTuple):
    """Audio is there, and the server waits for at least so much more credit.

    A player gives credit back by itself when its chunks are taken; this tells that the consumer is
    slower than the server, or that its window is too small for one chunk.
    """

    generation: int
    missing_bytes: int
    missing_frames: int

    @classmethod
    def of(cls, message: transfer_service_pb2.AwaitingCredit) -> AwaitingCredit:
        """From the wire."""
        return cls(message.generation, message.missing_bytes, message.missing_frames)


class SeekApplied(NamedTuple):
    """The audio goes on at `start_frame`: the asked frame, or for FLAC the start of its FLAC frame."""

    generation: int
    start_frame: int


class SeekRefused(NamedTuple):
    """The seek of this generation was not done; the chunks of the one before it go on."""

    generation: int
    message: str


class EndOfStem(NamedTuple):
    """A stem arrived up to its end, and `sha256` of what arrived was verified.

    `sha256` begins at `start_frame`; it is of the bytes of this stem, generation and connection.
    `stem_sha256` is of the samples of the finished stem file, empty while the job runs.
    """

    stem_index: int
    stem_name: str
    generation: int
    sha256: str
    start_frame: int
    stem_sha256: str


class StreamEnd(NamedTuple):
    """All stems arrived up to their end; a seek begins again."""

    generation: int


StemEvent = StemChunk | NotReady | AwaitingCredit | SeekApplied | SeekRefused | EndOfStem | StreamEnd
