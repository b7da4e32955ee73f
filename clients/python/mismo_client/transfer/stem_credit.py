"""How much the server may send: payload bytes over all stems, and frames of each stem."""

from __future__ import annotations

from dataclasses import dataclass

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


class CreditAccount:
    """What was granted on one call and not used up yet. Pure arithmetic; frames are positions in the track.

    Credit is given back when chunks were taken, in batches of half a window. A seek grants a whole window
    for the audio after it at once, and what is still on its way for the audio before it is not given back:
    so at most two windows are outstanding, and one again once the old audio has arrived.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._sample_rate: int | None = None
        self._outstanding = 0
        self._held = 0
        self._granted_frames = 0
        self._start: int | None = None

    def know(self, sample_rate: int) -> None:
        """The stream told its sample rate, in Hz."""
        self._sample_rate = sample_rate

    def open(self) -> transfer_service_pb2.StreamCredit:
        """The credit of a new call."""
        self._outstanding = self._window.credit_bytes
        return self._message(self._window.credit_bytes, self._restart_frames())

    def seek(self) -> transfer_service_pb2.StreamCredit:
        """The credit that goes with a seek: frames replace what is left, bytes add to it."""
        more = max(0, min(self._window.credit_bytes, 2 * self._window.credit_bytes - self._outstanding))
        self._outstanding += more
        return self._message(more, self._restart_frames())

    def begin(self, frame: int) -> None:
        """The first frame that is sent of any stem, which frames are counted from."""
        self._start = frame

    def first_chunk(self, frame: int) -> None:
        """A stem's first chunk begins here: with FLAC before the frame that was asked for."""
        if self._start is not None:
            self._start = min(self._start, frame)

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
        if self._window.bounds_frames and self._start is not None:
            bound = self._window.frames(self._sample_rate)
            frames = max(0, taken + bound - self._start - self._granted_frames)
            enough = enough or frames >= _batch(bound, LEAST_BUFFER_FRAMES)
        if not enough:
            return None
        self._outstanding += size
        self._granted_frames += frames
        return self._message(size, frames)

    def _restart_frames(self) -> int:
        self._start = None
        self._granted_frames = self._window.frames(self._sample_rate) if self._window.bounds_frames else 0
        return self._granted_frames

    def _message(self, size: int, frames: int) -> transfer_service_pb2.StreamCredit:
        return transfer_service_pb2.StreamCredit(bytes=size, frames=frames)


def _batch(window: int, spare: int) -> int:
    """How much is worth a message: half of the window, or less so that the server always keeps `spare`."""
    return max(1, min(window // 2, window - spare))
