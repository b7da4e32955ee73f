"""How much the server may send: payload bytes over all stems, and frames of each stem."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from mismo.analysis.v1 import transfer_service_pb2
from mismo.analysis.v1.audio_pb2 import ENCODING_FLAC, Encoding
from mismo_client.transfer.positions import frames_in

PLAYER_CREDIT_BYTES = 1 << 20
# The server sends no chunk smaller than 4096 bytes, and no part of a FLAC frame: 4096 frames, which can
# take as many bytes as PCM does.
LEAST_CREDIT_BYTES = 8_192
LEAST_FLAC_CREDIT_BYTES = 32_768
# Room for one FLAC frame, and for what lies before it in a FLAC frame where a stream begins.
LEAST_BUFFER_FRAMES = 8_192
SPARE_CREDIT_BYTES = 32_768
"""Of a larger credit the server always holds at least this much: room for one FLAC frame."""


@dataclass(frozen=True)
class Window:
    """The most that is on its way to a player.

    `credit_bytes` are payload bytes over all stems. `buffer_frames` or `buffer_seconds` also bound how far
    any stem runs ahead of what was taken, which bytes do not where FLAC makes silence small; neither: bytes
    alone.
    """

    credit_bytes: int = PLAYER_CREDIT_BYTES
    buffer_frames: int | None = None
    buffer_seconds: float | None = None

    def check(self, encoding: Encoding) -> None:
        """Raises ValueError for what would stall."""
        least = LEAST_FLAC_CREDIT_BYTES if encoding == ENCODING_FLAC else LEAST_CREDIT_BYTES
        if self.credit_bytes < least:
            raise ValueError(f"credit_bytes must be at least {least}: no chunk would fit into less")
        if self.buffer_frames is not None and self.buffer_seconds is not None:
            raise ValueError("give buffer_frames or buffer_seconds, not both")
        if self.buffer_frames is not None and self.buffer_frames < LEAST_BUFFER_FRAMES:
            raise ValueError(
                f"buffer_frames must be at least {LEAST_BUFFER_FRAMES}: no chunk would fit into less"
            )
        if self.buffer_seconds is not None and self.buffer_seconds <= 0:
            raise ValueError("buffer_seconds must be greater than 0")

    @property
    def bounds_frames(self) -> bool:
        """Frames are granted as well as bytes."""
        return self.buffer_frames is not None or self.buffer_seconds is not None

    def frames(self, sample_rate: int | None) -> int:
        """The bound in frames; while the sample rate (Hz) is unknown, the least that any buffer has."""
        if self.buffer_frames is not None:
            return self.buffer_frames
        if self.buffer_seconds is None or not sample_rate:
            return LEAST_BUFFER_FRAMES
        return max(LEAST_BUFFER_FRAMES, frames_in(self.buffer_seconds, sample_rate))


@dataclass
class _Grant:
    """What an open or a seek granted: `size` bytes, and `frames` of each stem, counted from `start` once it is told."""

    generation: int
    size: int
    frames: int
    frames_since: int = 0
    """Granted after it, and before the next seek."""
    start: int | None = None


class CreditAccount:
    """What was granted on one call and not used up yet. Pure arithmetic; frames are positions in the track.

    Credit is given back when chunks were taken, in batches of half a window. A seek grants a whole window
    for the audio after it at once, and what is still on its way for the audio before it is not given back:
    so at most two windows are outstanding, and one again once the old audio has arrived. A refused seek has
    granted nothing, and the frames of the generation before it count again.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._sample_rate: int | None = None
        self._outstanding = 0
        self._held = 0
        # The generation that the server sends first, then the seeks that it has not answered.
        self._grants = [_Grant(0, 0, 0)]

    @property
    def answered(self) -> bool:
        """No seek of this call waits for its answer."""
        return len(self._grants) == 1

    def know(self, sample_rate: int) -> None:
        """The stream told its sample rate, in Hz."""
        self._sample_rate = sample_rate

    def open(self, generation: int) -> transfer_service_pb2.StreamCredit:
        """The credit of a new call, which begins with this generation."""
        self._grants.clear()
        self._outstanding = self._window.credit_bytes
        return self._grant(generation, self._window.credit_bytes)

    def seek(self, generation: int) -> transfer_service_pb2.StreamCredit:
        """The credit that goes with a seek: frames replace what is left, bytes add to it."""
        more = max(0, min(self._window.credit_bytes, 2 * self._window.credit_bytes - self._outstanding))
        self._outstanding += more
        return self._grant(generation, more)

    def begun(self, generation: int, frame: int) -> None:
        """The server sends this generation from `frame` on, which frames are counted from.

        So it has taken the bytes of all seeks up to it.
        """
        self._grants = [grant for grant in self._grants if grant.generation >= generation] or self._grants
        self._grants[0].start = frame

    def refused(self, generation: int) -> None:
        """The server did not do this seek, and took none of its credit but the frames granted after it."""
        for before, grant in pairwise(self._grants):
            if grant.generation == generation:
                self._outstanding -= grant.size
                before.frames_since += grant.frames_since
                self._grants.remove(grant)
                return

    def first_chunk(self, frame: int) -> None:
        """A stem's first chunk begins here: with FLAC before the frame that was asked for."""
        newest = self._grants[-1]
        if newest.start is not None:
            newest.start = min(newest.start, frame)

    def arrived(self, size: int) -> None:
        """So many payload bytes came, of whatever generation."""
        self._outstanding -= size

    def hold(self, size: int) -> None:
        """The consumer has a chunk of so many bytes in hand; 0: it has taken it."""
        self._held = size

    def due(self, taken: int) -> transfer_service_pb2.StreamCredit | None:
        """What to give back now that every stem was taken up to frame `taken`; None: not enough for a message."""
        size = max(0, self._window.credit_bytes - self._outstanding - self._held)
        enough = size >= _batch(self._window.credit_bytes, SPARE_CREDIT_BYTES)
        frames = 0
        newest = self._grants[-1]
        if self._window.bounds_frames and newest.start is not None:
            bound = self._window.frames(self._sample_rate)
            frames = max(0, taken + bound - newest.start - newest.frames - newest.frames_since)
            enough = enough or frames >= _batch(bound, LEAST_BUFFER_FRAMES)
        if not enough:
            return None
        self._outstanding += size
        newest.frames_since += frames
        return transfer_service_pb2.StreamCredit(bytes=size, frames=frames)

    def _grant(self, generation: int, size: int) -> transfer_service_pb2.StreamCredit:
        frames = self._window.frames(self._sample_rate) if self._window.bounds_frames else 0
        self._grants.append(_Grant(generation, size, frames))
        return transfer_service_pb2.StreamCredit(bytes=size, frames=frames)


def _batch(window: int, spare: int) -> int:
    """How much is worth a message: half of the window, or less so that the server always keeps `spare`."""
    return max(1, min(window // 2, window - spare))
