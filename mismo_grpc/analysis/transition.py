"""Finds where a DJ can mix a track in and out: cue points at the starts of phrases, and the energy over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.arrays import Audio, Values
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.results import CuePoint, SectionsResult, TransitionResult
from mismo_grpc.analysis.structure.energy import FULL_SHARE, interval_energies, usual_peak
from mismo_grpc.analysis.structure.grid import usable_times
from mismo_grpc.analysis.structure.phrases import find_phrases
from mismo_grpc.analysis.structure.spectra import measure_spectra

ENERGY_SECONDS = 0.5
MOST_ENERGY_VALUES = 4096
"""The energy has a value for every 0.5 s, in tracks over 34 min for every 1 s, 2 s and so on."""
AUDIBLE_ENERGY = 0.1
"""A track ends for a DJ after its last moment of this energy, 33 dB below the loudest part."""

MOST_CUES = 8
PASSAGE_BARS = (32, 16, 8, 4)
"""The lengths of a transition; the longest that fits is taken."""
LONG_ENOUGH_BARS = 16
"""A passage of this length leaves time for any transition."""
LENGTH_WEIGHT, CALM_WEIGHT, STEADY_WEIGHT, PLACE_WEIGHT, BOUNDARY_WEIGHT = 0.3, 0.25, 0.15, 0.2, 0.1
"""The shares of a cue point's score; see `find_transitions`."""


@dataclass(frozen=True)
class _Track:
    """What the scores of cue points need; times are in seconds."""

    duration: float
    downbeats: Values
    energy: Values
    energy_interval: float
    changes: Values
    """Where the track becomes full or stops being full, and where it ends to the ear."""
    boundaries: Values


def analyse_transition(inputs: AnalysisInputs) -> TransitionResult:
    """Finds the cue points of the mix by `inputs.basic_features` and `inputs.sections`; runs as a task of the pool.

    Without either of them it takes the track to have no beats, or only one section. Raises ValueError as
    `MixFile.samples` and `find_transitions` do; OSError if the file cannot be opened.
    """
    known = inputs.basic_features
    downbeats = known.downbeats if known is not None else ()
    sections = inputs.sections if inputs.sections is not None else SectionsResult(())
    return find_transitions(inputs.mix.samples(), inputs.mix.sample_rate, downbeats, sections)


def find_transitions(
    audio: Audio,
    sample_rate: int,
    downbeats: Sequence[float],
    sections: SectionsResult,
) -> TransitionResult:
    """Finds the cue points of audio [frames, channels], or [frames] for mono; downbeats are in seconds.

    A cue point is a phrase start, or the first downbeat, with at least four bars until the track becomes full, stops
    being full or ends. `mix_in` are in the first half of the track, `mix_out` in the second, up to MOST_CUES each. The
    score is the weighted mean of: the bars, relative to LONG_ENOUGH_BARS (weight 0.3); 1 - the mean energy of these
    bars (0.25); 1 - the standard deviation of their energy relative to its mean (0.15); how near to the start of the
    track, or for `mix_out` to its end, relative to half of it (0.2); 1 at the start of a section, else 0 (0.1).

    Without downbeats there are no phrases and no cue points. NaN and infinite samples count as 0.

    Raises ValueError as `check_audio` does.
    """
    spectra = measure_spectra(audio, sample_rate)
    duration = spectra.duration
    interval = ENERGY_SECONDS
    while duration > MOST_ENERGY_VALUES * interval:
        interval *= 2.0
    steps: Values = np.arange(math.ceil(duration / interval) + 1, dtype=np.float64)
    energy = (
        interval_energies(spectra, np.minimum(steps * interval, duration)) if duration > 0.0 else np.zeros(0)
    )
    times = usable_times(downbeats, duration)
    phrases = find_phrases(times.tolist(), sections.sections)
    track = _Track(
        duration=duration,
        downbeats=times,
        energy=energy,
        energy_interval=interval,
        changes=_changes(sections, energy, interval, duration),
        boundaries=np.array([section.start for section in sections.sections[1:]]),
    )
    bars = sorted({0, *phrases.starts}) if phrases.bars else []
    cues = [cue for bar in bars if (cue := _cue(track, bar)) is not None]
    mix_in = sorted((cue for cue in cues if cue.time <= duration / 2), key=lambda cue: (-cue.score, cue.time))
    mix_out = sorted(
        (cue for cue in cues if cue.time > duration / 2), key=lambda cue: (-cue.score, -cue.time)
    )
    return TransitionResult(
        mix_in=tuple(mix_in[:MOST_CUES]),
        mix_out=tuple(mix_out[:MOST_CUES]),
        phrase_bars=phrases.bars,
        phrases=tuple(float(times[bar]) for bar in phrases.starts),
        energy=tuple(round(value, 4) for value in energy.tolist()),
        energy_interval=interval,
    )


def _changes(sections: SectionsResult, energy: Values, interval: float, duration: float) -> Values:
    """Where the track becomes full or stops being full, and the end of its last audible moment."""
    audible = np.flatnonzero(energy >= AUDIBLE_ENERGY)
    end = min(duration, float(audible[-1] + 1) * interval) if len(audible) else 0.0
    parts = sections.sections
    energies = np.array([section.energy for section in parts])
    lengths = np.array([section.end - section.start for section in parts])
    full = energies >= FULL_SHARE * usual_peak(lengths, energies)
    changes = [
        section.start
        for section, before, here in zip(parts[1:], full, full[1:], strict=False)
        if before != here
    ]
    return np.array([*(time for time in changes if time < end), end])


def _cue(track: _Track, bar: int) -> CuePoint | None:
    """The cue point at a bar; None if its passage is too short."""
    time = float(track.downbeats[bar])
    usual_bar = float(np.median(np.diff(track.downbeats)))
    # A downbeat may be a little off the change.
    later = track.changes[track.changes > time + usual_bar / 2]
    if len(later) == 0:
        return None
    # The last bar has no downbeat after it.
    ends = np.append(track.downbeats, track.downbeats[-1] + usual_bar)
    room = int(np.searchsorted(ends, float(later[0]) + usual_bar / 2)) - 1 - bar
    bars = next((length for length in PASSAGE_BARS if length <= room), 0)
    if bars == 0:
        return None
    energy = _excerpt(track, time, float(ends[bar + bars]))
    mean = float(energy.mean())
    steadiness = max(0.0, 1.0 - float(energy.std()) / mean) if mean > 0.0 else 0.0
    half = track.duration / 2
    place = abs(time - half) / half
    boundary = bar == 0 or bool(np.any(np.abs(track.boundaries - time) < usual_bar / 2))
    score = (
        LENGTH_WEIGHT * min(1.0, bars / LONG_ENOUGH_BARS)
        + CALM_WEIGHT * (1.0 - mean)
        + STEADY_WEIGHT * steadiness
        + PLACE_WEIGHT * place
        + BOUNDARY_WEIGHT * boundary
    )
    return CuePoint(time=time, bars=bars, energy=round(mean, 4), score=round(min(1.0, score), 4))


def _excerpt(track: _Track, begin: float, end: float) -> Values:
    """The values of the energy from `begin` to `end` in seconds; at least one."""
    first = min(int(begin / track.energy_interval), len(track.energy) - 1)
    last = max(first + 1, int(np.ceil(end / track.energy_interval)))
    return track.energy[first:last]
