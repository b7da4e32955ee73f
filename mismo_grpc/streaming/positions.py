"""Positions in a track, in frames or in time."""

from __future__ import annotations

from dataclasses import dataclass

from mismo_grpc.errors import InvalidFieldError

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TimePosition:
    """A position for a client that does not know the sample rate yet."""

    nanoseconds: int


Position = int | TimePosition
"""A frame, or a time."""


def frame_at(position: Position, sample_rate: int) -> int:
    """The frame at a position; a time is rounded down to a frame; `sample_rate` in Hz."""
    if isinstance(position, TimePosition):
        return position.nanoseconds * sample_rate // NANOSECONDS
    return position


def frames_in(limit: Position, sample_rate: int) -> int:
    """The frames of a length; a time is rounded up to a frame; `sample_rate` in Hz."""
    if isinstance(limit, TimePosition):
        return -(-limit.nanoseconds * sample_rate // NANOSECONDS)
    return limit


def field_of(position: Position, frame_field: str, time_field: str) -> str:
    """The name of the request field that contained a position."""
    return time_field if isinstance(position, TimePosition) else frame_field


def check_not_negative(position: Position, frame_field: str, time_field: str) -> None:
    """Raises InvalidFieldError for a position before the start of the track, or a negative length."""
    if (position.nanoseconds if isinstance(position, TimePosition) else position) < 0:
        field = field_of(position, frame_field, time_field)
        raise InvalidFieldError(f"{field} must not be negative", field=field)


def start_frame_of(
    position: Position, sample_rate: int, total_frames: int, frame_field: str, time_field: str
) -> int:
    """The frame at a position in a track; the end of the track is allowed.

    Raises InvalidFieldError for a position outside the track.
    """
    check_not_negative(position, frame_field, time_field)
    frame = frame_at(position, sample_rate)
    if frame > total_frames:
        field = field_of(position, frame_field, time_field)
        raise InvalidFieldError(
            f"{field} is frame {frame}; it must be 0 to {total_frames}, the end of the track", field=field
        )
    return frame
