"""Converts stems to another sample rate than the model's, range by range in any order.

A windowed-sinc filter in polyphase form: a *group* of output frames depends only on a fixed range of input frames and
is always computed as the same matrix product, so neither order nor interruptions change a bit.
Kaiser window and its beta: Oppenheim & Schafer, Discrete-Time Signal Processing, section 7.5.
"""

from __future__ import annotations

from functools import cached_property
from math import gcd

import numpy as np
import numpy.typing as npt

from mismo_grpc.separation.ranges import RangeSet

Samples = npt.NDArray[np.float32]

OUTPUT_RATES = (22050, 32000, 44100, 48000, 88200, 96000)
"""The sample rates in Hz that a client can request."""
HALF_WIDTH = 64
"""Zero crossings of the sinc on each side: flat up to 0.9 of the lower Nyquist frequency."""
BETA = 10.0
"""About 100 dB of stop-band attenuation."""
GROUP_SECONDS = 0.2


class RateConverter:
    """Converts a track of `input_frames` from one rate (Hz) to another; `output_frames` rounds as the decoder does."""

    def __init__(self, input_rate: int, output_rate: int, input_frames: int) -> None:
        common = gcd(input_rate, output_rate)
        self._up, self._down = output_rate // common, input_rate // common
        self._input_frames = input_frames
        self.output_frames = max(1, (2 * input_frames * self._up + self._down) // (2 * self._down))
        # Below the lower of the two Nyquist frequencies, so that the transition band is below it too.
        self._cutoff = 0.95 * min(1.0, self._up / self._down)
        self._reach = int(np.ceil(HALF_WIDTH / min(1.0, self._up / self._down)))
        self._blocks = max(1, round(GROUP_SECONDS * input_rate / self._down))

    @property
    def group_frames(self) -> int:
        """The output frames of one group."""
        return self._blocks * self._up

    @property
    def groups(self) -> int:
        """The number of groups of the track; the last one may extend past its end."""
        return -(-self.output_frames // self.group_frames)

    def needs(self, group: int) -> tuple[int, int]:
        """Returns the input frames [start, end) that a group needs, limited to the track."""
        start = group * self._blocks * self._down
        end = start + self._blocks * self._down
        return max(0, start - self._reach), min(self._input_frames, end + self._reach)

    def span(self, group: int) -> tuple[int, int]:
        """Returns the output frames [start, end) of a group, limited to the track."""
        start = group * self.group_frames
        return start, min(self.output_frames, start + self.group_frames)

    def computable(self, final: RangeSet, ready: RangeSet) -> list[int]:
        """Returns the groups whose input is final and whose output is not ready yet."""
        found: list[int] = []
        for start, end in ready.missing(0, self.output_frames):
            for group in range(start // self.group_frames, -(-end // self.group_frames)):
                if final.covers(*self.needs(group)):
                    found.append(group)
        return found

    def convert(self, group: int, samples: Samples) -> Samples:
        """Computes a group's output [stems, frames, channels] from the samples of `needs(group)`, same layout."""
        stems, _, channels = samples.shape
        first = group * self._blocks * self._down - self._reach
        length = self._blocks * self._down + 2 * self._reach
        padded = np.zeros((stems * channels, length), dtype=np.float32)
        low, high = self.needs(group)
        padded[:, low - first : high - first] = samples.transpose(0, 2, 1).reshape(stems * channels, -1)
        window = self._down + 2 * self._reach
        blocks = np.lib.stride_tricks.sliding_window_view(padded, window, axis=1)[:, :: self._down]
        product = np.ascontiguousarray(blocks).reshape(-1, window) @ self._matrix
        output = product.reshape(stems, channels, -1).transpose(0, 2, 1)
        start, end = self.span(group)
        return np.ascontiguousarray(output[:, : end - start])

    @cached_property
    def _matrix(self) -> Samples:
        """The matrix [window, up] from the input frames around a block of `down` frames to its `up` output frames."""
        at = np.arange(self._down + 2 * self._reach)[:, None] - self._reach
        centre = np.arange(self._up)[None, :] * self._down / self._up
        distance = at - centre
        window = np.i0(BETA * np.sqrt(np.clip(1 - (distance / self._reach) ** 2, 0, 1))) / np.i0(BETA)
        kernel = self._cutoff * np.sinc(self._cutoff * distance) * window
        kernel[np.abs(distance) > self._reach] = 0.0
        return kernel.astype(np.float32)
