"""Where the beats of a song are in time: a constant tempo, or one that rises or falls over the song."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TempoMap:
    """The tempo in beats a minute: `start`, or a ramp from `start` at beat 0 to `end` at beat `length`.

    The ramp is linear in beats, as a tempo curve over score position (Honing, "From time to time: the representation
    of timing and tempo", Computer Music Journal 25(3), 2001). So beat b is at the integral of 60 / tempo(b), which is a
    logarithm. After `length` the tempo is `end`. Raises ValueError for a tempo or a length that is not above 0.
    """

    start: float
    end: float | None = None
    length: float = 1.0

    def __post_init__(self) -> None:
        if not (self.start > 0 and self.length > 0 and (self.end is None or self.end > 0)):
            raise ValueError("tempi and the length of a ramp must be above 0")

    @property
    def constant(self) -> bool:
        """Whether the tempo never changes."""
        return self.end is None or self.end == self.start

    def at(self, beat: float) -> float:
        """The tempo at a beat, in beats a minute."""
        if self.end is None:
            return self.start
        return self.start + (self.end - self.start) * min(max(beat / self.length, 0.0), 1.0)

    def seconds(self, beat: float) -> float:
        """The time of a beat in seconds from beat 0."""
        if self.end is None or self.constant:
            return beat * 60 / self.start
        inside = min(max(beat, 0.0), self.length)
        slope = (self.end - self.start) / self.length
        time = 60 / slope * math.log1p(slope * inside / self.start)
        # Outside of the ramp the tempo is that of its nearer end.
        return time + (beat - inside) * 60 / self.at(beat)

    def seconds_between(self, beat: float, duration: float) -> float:
        """The time from a beat to the one that is `duration` beats later, in seconds."""
        if self.constant:
            return self.seconds(duration)
        return self.seconds(beat + duration) - self.seconds(beat)

    def frames(self, beat: float, sample_rate: int) -> float:
        """The time of a beat in frames."""
        if self.constant:
            # The product of this factor, and no other order of operations, gives the bytes of earlier renderings.
            return beat * (60 / self.start * sample_rate)
        return self.seconds(beat) * sample_rate

    def frames_between(self, beat: float, duration: float, sample_rate: int) -> float:
        """The same in frames."""
        if self.constant:
            return self.frames(duration, sample_rate)
        return self.seconds_between(beat, duration) * sample_rate


def mean_tempo(start: float, end: float | None) -> float:
    """The tempo at which a ramp's beats would take as long as the ramp does: the logarithmic mean of its ends."""
    if end is None or end == start:
        return start
    return (end - start) / math.log(end / start)
