"""Positions in a track: a frame, or seconds while the sample rate is unknown."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import duration_pb2

from mismo_client.durations import duration

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Position:
    """Exactly one of `frame` and `time` (seconds, rounded down to a frame by the server)."""

    frame: int | None = None
    time: float | None = None

    @classmethod
    def of(
        cls, frame: int | None, time: float | None, names: tuple[str, str] = ("start_frame", "start_time")
    ) -> Position:
        """The given one, or frame 0; raises ValueError, with the arguments' names, for both or a negative one."""
        if frame is not None and time is not None:
            raise ValueError(f"give {names[0]} or {names[1]}, not both")
        if (frame or 0) < 0 or (time or 0.0) < 0:
            raise ValueError(f"{names[0]} and {names[1]} must be 0 or greater")
        return cls(frame=frame or 0) if time is None else cls(time=time)

    @property
    def duration(self) -> duration_pb2.Duration | None:
        """The time as a message; None for a frame."""
        return duration(self.time)

    def at(self, sample_rate: int) -> int:
        """The frame, computed from a time as the server does; `sample_rate` in Hz."""
        if self.time is None:
            return self.frame or 0
        return frames_in(self.time, sample_rate)


def frames_in(seconds: float, sample_rate: int) -> int:
    """Whole frames in this many seconds, from the nanoseconds that a Duration holds."""
    return round(seconds * NANOSECONDS) * sample_rate // NANOSECONDS
