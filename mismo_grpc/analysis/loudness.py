"""Measures the loudness of a track: ITU-R BS.1770-5, with the measures of EBU R 128 (Tech 3341 and Tech 3342)."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.arrays import Audio, Indices, Samples, Values
from mismo_grpc.analysis.audio_source import by_channel, check_audio, finite
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.k_weighting import ROW_FRAMES, KWeighting
from mismo_grpc.analysis.true_peak import TruePeak

HOPS_PER_SECOND = 10
"""Windows begin every 100 ms; those of 400 ms overlap by 75 % (BS.1770-5), those of 3 s by 97 %."""
MOMENTARY_HOPS = 4
SHORT_TERM_HOPS = 30
ABSOLUTE_GATE_LUFS = -70.0
INTEGRATED_GATE_LU = -10.0
RANGE_GATE_LU = -20.0
RANGE_PERCENTILES = (10, 95)
OFFSET_DB = -0.691
"""The offset of BS.1770-5, which cancels the K-weighting's gain at 997 Hz."""

SURROUND = 1.41
CHANNEL_WEIGHTS: dict[int, tuple[float, ...]] = {
    1: (1.0,),
    2: (1.0, 1.0),
    3: (1.0, 1.0, 1.0),
    4: (1.0, 1.0, SURROUND, SURROUND),
    5: (1.0, 1.0, 1.0, SURROUND, SURROUND),
    6: (1.0, 1.0, 1.0, 0.0, SURROUND, SURROUND),
}
"""By number of channels, in the usual order: mono; L R; L R C; L R Ls Rs; L R C Ls Rs; L R C LFE Ls Rs."""

CHUNK_FRAMES = 240 * ROW_FRAMES
"""The frames that are filtered at once; arrays of this size stay in the processor's cache."""


@dataclass(frozen=True)
class LoudnessResult:
    """The loudness of a track.

    A loudness is None if it is not defined: if the audio is shorter than the window of the measure (3 s for short-term
    loudness and range, else 0.4 s), or if all windows are silent (below -70 LUFS for `integrated_lufs` and
    `loudness_range_lu`, digital silence for the maxima).

    A peak is None for digital silence. Full scale is 0 dB; a true peak may be above it.
    """

    integrated_lufs: float | None
    loudness_range_lu: float | None
    max_momentary_lufs: float | None
    max_short_term_lufs: float | None
    sample_peak_dbfs: float | None
    true_peak_dbtp: float | None


def analyse_loudness(inputs: AnalysisInputs) -> LoudnessResult:
    """Measures the mix; runs as a task of the pool.

    Raises ValueError as `MixFile.samples` and `measure_loudness` do; OSError if the file cannot be opened.
    """
    return measure_loudness(inputs.mix.samples(), inputs.mix.sample_rate)


def measure_loudness(
    audio: Audio, sample_rate: int, *, channel_weights: Sequence[float] | None = None
) -> LoudnessResult:
    """Measures audio [frames, channels], or [frames] for mono, in which 1.0 is full scale.

    A mono track that was duplicated to stereo is 3 LU louder than as mono, as it is when two loudspeakers play it. NaN
    and infinite samples count as 0.

    Raises ValueError as `check_audio` does, and as `LoudnessMeter` does for the channels.
    """
    check_audio(audio, sample_rate)
    channels = by_channel(audio)
    meter = LoudnessMeter(sample_rate, channels.shape[1], channel_weights=channel_weights)
    meter.add(channels)
    return meter.finish()


class LoudnessMeter:
    """Measures audio block by block; uses 8 bytes of memory for each 100 ms of audio.

    `channel_weights` default to CHANNEL_WEIGHTS; a channel of weight 0 counts only for the peaks. The result does not
    depend on how the audio is divided into blocks.

    Raises ValueError for rates under 8 kHz, and if the weights are required and missing or do not match the channels.
    """

    def __init__(
        self, sample_rate: int, channels: int, *, channel_weights: Sequence[float] | None = None
    ) -> None:
        weights = channel_weights if channel_weights is not None else CHANNEL_WEIGHTS.get(channels)
        if weights is None:
            raise ValueError(f"audio of {channels} channels has no usual order: give channel_weights")
        if len(weights) != channels:
            raise ValueError(f"{len(weights)} channel_weights were given for {channels} channels")
        self._rate = sample_rate
        self._weights = tuple(weights)
        self._filter = KWeighting(sample_rate, channels)
        self._peaks = [TruePeak(sample_rate) for _ in weights]
        self._chunk: Samples = np.zeros((CHUNK_FRAMES, channels), np.float32)
        self._filled = 0
        self._frames = 0
        """The frames measured so far."""
        self._energies = array("d")
        """The sum of weighted squares of each complete hop."""
        self._open_energy = 0.0
        """The sum of weighted squares of the hop that is not complete yet."""

    def add(self, block: Audio) -> None:
        """Adds the next frames, [frames, channels]; NaN and infinite samples count as 0."""
        place = 0
        while place < len(block):
            count = min(len(block) - place, CHUNK_FRAMES - self._filled)
            self._chunk[self._filled : self._filled + count] = finite(block[place : place + count])
            self._filled += count
            place += count
            if self._filled == CHUNK_FRAMES:
                self._measure()

    def finish(self) -> LoudnessResult:
        """The loudness of all added frames; call it once."""
        self._measure()
        for peak in self._peaks:
            peak.finish()
        energies = np.frombuffer(self._energies, np.float64) if self._energies else np.zeros(0)
        momentary = self._window_powers(energies, MOMENTARY_HOPS)
        short_term = self._window_powers(energies, SHORT_TERM_HOPS)
        return LoudnessResult(
            integrated_lufs=integrated_loudness(momentary),
            loudness_range_lu=loudness_range(short_term),
            max_momentary_lufs=_loudness(float(momentary.max(initial=0.0))),
            max_short_term_lufs=_loudness(float(short_term.max(initial=0.0))),
            sample_peak_dbfs=_decibels(max(peak.sample for peak in self._peaks)),
            true_peak_dbtp=_decibels(max(peak.true for peak in self._peaks)),
        )

    def _measure(self) -> None:
        """Measures the frames of the chunk; only the last chunk of a track is not full."""
        count, self._filled = self._filled, 0
        if count == 0:
            return
        self._chunk[count:] = 0.0
        channels = np.ascontiguousarray(self._chunk.T)
        power = np.zeros(CHUNK_FRAMES)
        for index, (samples, weight, peak) in enumerate(
            zip(channels, self._weights, self._peaks, strict=True)
        ):
            peak.add(samples[:count])
            if weight > 0.0:
                weighted = self._filter.filtered(samples, index)
                np.square(weighted, out=weighted)
                weighted *= weight
                power += weighted
        self._sum_up(power[:count])

    def _sum_up(self, power: Values) -> None:
        """Adds the weighted squares of the next frames to the sums of their hops."""
        begin, end = self._frames, self._frames + len(power)
        whole = np.arange(len(self._energies) + 1, end * HOPS_PER_SECOND // self._rate + 1)
        cuts = np.concatenate([[0], _hop_start(whole, self._rate) - begin])
        sums: Values = np.add.reduceat(power, cuts[cuts < len(power)])
        sums[0] += self._open_energy
        self._energies.extend(sums[: len(whole)])
        self._open_energy = float(sums[-1]) if len(sums) > len(whole) else 0.0
        self._frames = end

    def _window_powers(self, energies: Values, hops: int) -> Values:
        """The mean weighted square of each window of `hops` hops."""
        if len(energies) < hops:
            return np.zeros(0)
        sums = np.lib.stride_tricks.sliding_window_view(energies, hops).sum(axis=1)
        starts = _hop_start(np.arange(len(energies) + 1), self._rate)
        powers: Values = sums / (starts[hops:] - starts[:-hops])
        return powers


def _hop_start(hop: Indices, sample_rate: int) -> Indices:
    """The first frame of a hop; rounded up, because at some rates 100 ms are not a whole number of frames."""
    return -(-hop * sample_rate // HOPS_PER_SECOND)


def integrated_loudness(powers: Values) -> float | None:
    """LUFS of the mean over windows of 400 ms that are above both gates (BS.1770-5, Annex 1); None if none is."""
    loud = powers[powers > _power(ABSOLUTE_GATE_LUFS)]
    if len(loud) == 0:
        return None
    gate = loud.mean() * 10 ** (INTEGRATED_GATE_LU / 10)
    return _loudness(float(loud[loud > gate].mean()))


def loudness_range(powers: Values) -> float | None:
    """LU between the percentiles of the windows of 3 s that are above both gates (Tech 3342); None if none is."""
    loud = powers[powers >= _power(ABSOLUTE_GATE_LUFS)]
    if len(loud) == 0:
        return None
    loud = np.sort(loud[loud >= loud.mean() * 10 ** (RANGE_GATE_LU / 10)])
    # A half is rounded up.
    low, high = (float(loud[((len(loud) - 1) * percent + 50) // 100]) for percent in RANGE_PERCENTILES)
    return 10.0 * math.log10(high / low)


def _power(lufs: float) -> float:
    """The mean weighted square of a loudness."""
    return 10.0 ** ((lufs - OFFSET_DB) / 10.0)


def _loudness(power: float) -> float | None:
    """LUFS of a mean weighted square; None for digital silence."""
    return OFFSET_DB + 10.0 * math.log10(power) if power > 0.0 else None


def _decibels(amplitude: float) -> float | None:
    """dB relative to full scale; None for digital silence."""
    return 20.0 * math.log10(amplitude) if amplitude > 0.0 else None
