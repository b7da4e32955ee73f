"""Converts times, durations and enums between protobuf and the domain."""

from __future__ import annotations

from enum import IntEnum
from fractions import Fraction
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from mismo.analysis.v1 import audio_pb2
from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import InvalidFieldError

NANOS = 1_000_000_000
MAX_DURATION_SECONDS = 315_576_000_000

AnyEnum = TypeVar("AnyEnum", bound=IntEnum)

ENCODINGS: dict[Encoding, audio_pb2.Encoding] = {
    Encoding.PCM_S16LE: audio_pb2.ENCODING_PCM_S16LE,
    Encoding.PCM_S24LE: audio_pb2.ENCODING_PCM_S24LE,
    Encoding.PCM_F32LE: audio_pb2.ENCODING_PCM_F32LE,
    Encoding.FLAC: audio_pb2.ENCODING_FLAC,
}
_ENCODINGS_BACK: dict[int, Encoding] = {number: encoding for encoding, number in ENCODINGS.items()}


def nanoseconds_of(duration: Duration, field: str) -> int:
    """Converts a duration to nanoseconds; raises InvalidFieldError if it breaks the rules of Duration."""
    seconds, nanos = duration.seconds, duration.nanos
    if abs(seconds) > MAX_DURATION_SECONDS or abs(nanos) >= NANOS or seconds * nanos < 0:
        raise InvalidFieldError(f"{field} is not a valid duration", field=field)
    return seconds * NANOS + nanos


def seconds_of(duration: Duration, field: str) -> float:
    """A duration in seconds; raises InvalidFieldError if it breaks Duration's own rules."""
    return nanoseconds_of(duration, field) / NANOS


def bounded_seconds(duration: Duration | None, default: float, low: float, high: float, field: str) -> float:
    """Converts a duration to seconds, `default` if None; raises InvalidFieldError unless `low` to `high`."""
    if duration is None:
        return default
    seconds = seconds_of(duration, field)
    if not low <= seconds <= high:
        raise InvalidFieldError(f"{field} must be {low:g} s to {high:g} s", field=field)
    return seconds


def duration(seconds: float) -> Duration:
    """Converts seconds to a duration, rounded to the nanosecond."""
    message = Duration()
    # The fraction is exact, so a round trip from a number of nanoseconds gives the same float.
    message.FromNanoseconds(round(Fraction(seconds) * NANOS))
    return message


def timestamp(seconds: float) -> Timestamp:
    """Converts seconds since the epoch to a timestamp, to the microsecond (the precision of a float)."""
    message = Timestamp()
    message.FromMicroseconds(round(seconds * 1_000_000))
    return message


def encoding_of(number: int, field: str, default: Encoding = Encoding.PCM_S16LE) -> Encoding:
    """Returns the encoding of a number, `default` for UNSPECIFIED; raises InvalidFieldError for an unknown one."""
    if number == audio_pb2.ENCODING_UNSPECIFIED:
        return default
    encoding = _ENCODINGS_BACK.get(number)
    if encoding is None:
        raise InvalidFieldError(f"{field}: there is no encoding {number}", field=field)
    return encoding


def member(kind: type[AnyEnum], number: int, field: str) -> AnyEnum:
    """Returns an enum member by its number; the domain's enums have the contract's numbers.

    Raises InvalidFieldError for an unknown number and for UNSPECIFIED.
    """
    try:
        return kind(number)
    except ValueError:
        known = ", ".join(item.name for item in kind)
        raise InvalidFieldError(f"{field}: {number} is none of {known}", field=field) from None
