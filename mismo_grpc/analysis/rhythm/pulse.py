"""Finds steady pulses: candidate periods by autocorrelation, and for each the beats by dynamic programming.

The periodicity is that of a tempogram by autocorrelation (P. Grosche and M. Müller, IEEE TASLP 19(6), 2011), summed
over multiples of a period. The dynamic programming extends D. Ellis, "Beat Tracking by Dynamic Programming",
J. New Music Research 36(1), 2007: its state holds the last period too, so that the tempo may move.
"""

from __future__ import annotations

import numpy as np

from mismo_grpc.analysis.arrays import Features, Indices

SMOOTHING_SECONDS = 8.0
QUIET_SHARE = 0.3
"""The share of the track's mean that the local mean is not taken to be below, so that silence is not amplified."""

TEMPOGRAM_SECONDS = 12.0
PULSE_TEMPI = (50.0, 220.0)
PREFERRED_TEMPO = 110.0
TEMPO_OCTAVES = 0.9
"""The centre and the standard deviation, in octaves, of the log-normal preference for a tempo."""
MULTIPLES = 4
SLOWEST_PULSE = 98.0
"""Pulses are tracked at 98 to 196 BPM: at slower ones the tracker could change between the beat and the offbeat."""

TEMPO_INERTIA = 400.0
"""The cost of a change of period by the share x is TEMPO_INERTIA * x^2, in means of onset strength."""
STIFFNESS = 1000.0
MEDIAN_BEATS = 32
"""The cost of a deviation from the expected period, and how many beats give the expectation."""
REACH = 2**0.45
"""The beats of a candidate may be closer or further apart than its period by this factor: just under half an octave."""


def pulse_strength(strength: Features, frame_rate: float) -> Features:
    """One onset strength for all frequency ranges, with a mean of about 1 everywhere but in quiet parts."""
    means = strength.mean(axis=0)
    if not means.any():
        return np.zeros(len(strength), np.float32)
    total = (strength / np.maximum(means, 0.02 * means.max())).sum(axis=1)
    return level_out(total, frame_rate)


def level_out(total: Features, frame_rate: float) -> Features:
    """Divides by the local mean over SMOOTHING_SECONDS."""
    width = min(len(total), max(1, round(SMOOTHING_SECONDS * frame_rate)))
    sums = np.concatenate([[0.0], np.cumsum(total, dtype=np.float64)])
    begin = np.clip(np.arange(len(total)) - width // 2, 0, len(total) - width)
    local = (sums[begin + width] - sums[begin]) / width
    return (total / np.maximum(local, max(QUIET_SHARE * float(total.mean()), 1e-9))).astype(np.float32)


def periodicity(pulse: Features, frame_rate: float) -> Features:
    """The mean autocorrelation of windows of the pulse by lag in frames, 1 at lag 0."""
    size = min(len(pulse), round(TEMPOGRAM_SECONDS * frame_rate))
    lags = size // 2
    sums = np.zeros(lags)
    weight = 0.0
    for begin in range(0, len(pulse) - size + 1, max(1, size // 3)):
        window = pulse[begin : begin + size] - pulse[begin : begin + size].mean()
        spectrum = np.fft.rfft(window, 2 * size)
        correlation = np.fft.irfft(np.square(np.abs(spectrum)))[:lags]
        sums += correlation * (size / (size - np.arange(lags)))
        weight += float(correlation[0])
    return (sums / max(weight, 1e-9)).astype(np.float32)


def candidate_periods(correlation: Features, frame_rate: float, count: int = 3) -> list[float]:
    """Periods in frames, the most salient first, of which none is within a third of an octave of another's octave."""
    tempi = PULSE_TEMPI[1] * 2.0 ** (-np.arange(0.0, np.log2(PULSE_TEMPI[1] / PULSE_TEMPI[0]), 0.01))
    periods = 60.0 * frame_rate / tempi
    lags = np.arange(len(correlation))
    scores = np.zeros(len(periods))
    for multiple in range(1, MULTIPLES + 1):
        scores += np.interp(multiple * periods, lags, correlation, right=0.0) / MULTIPLES
    octaves = np.log2(tempi / PREFERRED_TEMPO) / TEMPO_OCTAVES
    scores = np.maximum(scores, 0.0) * np.exp(-0.5 * np.square(octaves))
    found: list[float] = []
    for index in np.argsort(-scores, kind="stable"):
        apart = [abs((np.log2(periods[index] / other) + 0.5) % 1.0 - 0.5) for other in found]
        if scores[index] <= 0.0 or len(found) == count:
            break
        if not apart or min(apart) > 1 / 6:
            found.append(float(periods[index]))
    return [_folded(period, frame_rate) for period in found]


def _folded(period: float, frame_rate: float) -> float:
    """The period of the same octave class whose tempo is from SLOWEST_PULSE to twice that."""
    octaves = np.floor(np.log2(60.0 * frame_rate / period / SLOWEST_PULSE))
    return float(period * 2.0**octaves)


def track_pulse(pulse: Features, period: float) -> Indices:
    """The frames of the beats that follow each other in about `period` frames and have the strongest onsets.

    They are tracked twice: the second time the tempo is held near the local median of the first, so that no phrase
    without a clear pulse moves the beats onto the offbeats.
    """
    beats = _track(pulse, period, np.zeros(len(pulse), np.float32), 0.0)
    if len(beats) < 3:
        return beats
    intervals = np.diff(beats)
    width = min(len(intervals), MEDIAN_BEATS)
    medians = np.median(np.lib.stride_tricks.sliding_window_view(intervals, width), axis=1)
    # Means of medians have fractions of frames.
    smooth = np.convolve(np.pad(medians, width // 2, mode="edge"), np.full(width, 1.0 / width), mode="valid")
    centres = np.linspace(0.0, 1.0, len(smooth)) * (beats[-1] - beats[0]) + beats[0]
    expected = np.interp(np.arange(len(pulse)), centres, smooth).astype(np.float32)
    return _track(pulse, period, expected, STIFFNESS)


def _track(pulse: Features, period: float, expected: Features, stiffness: float) -> Indices:
    """The beats with the highest sum; a deviation from the expected period by the share x costs stiffness * x^2."""
    periods = np.arange(max(2, round(period / REACH)), max(3, round(period * REACH)) + 1)
    shortest, longest = int(periods[0]), int(periods[-1])
    count = len(pulse)
    if count <= longest:
        return np.zeros(0, np.int64)
    gain = pulse - np.float32(pulse.mean())
    change = (periods[:, np.newaxis] - periods[np.newaxis, :]) / period
    cost = (TEMPO_INERTIA * np.square(change)).astype(np.float32)
    totals = np.zeros((count, len(periods)), np.float32)
    """The best sum of gains and costs up to a beat at a frame, by the period that led to it."""
    before = np.zeros((count, len(periods)), np.uint8)
    """The index of the period that led to the beat before."""
    totals[:longest] = gain[:longest, np.newaxis]
    # Beats within the shortest period do not depend on each other.
    for begin in range(longest, count, shortest):
        frames = np.arange(begin, min(begin + shortest, count))
        earlier = totals[frames[:, np.newaxis] - periods] - cost
        local = expected[frames, np.newaxis]
        gains = gain[frames, np.newaxis]
        if stiffness > 0.0:
            gains = gains - np.float32(stiffness) * np.square((periods - local) / local)
        best = earlier.argmax(axis=2)
        before[frames] = best
        totals[frames] = np.take_along_axis(earlier, best[:, :, np.newaxis], axis=2)[:, :, 0] + gains
    last = totals[count - longest :]
    frame, index = divmod(int(last.argmax()), len(periods))
    frame += count - longest
    beats = [frame]
    while frame >= longest:
        frame, index = frame - int(periods[index]), int(before[frame, index])
        beats.append(frame)
    return np.array(beats[::-1])
