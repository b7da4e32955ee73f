"""Runs the analyses of this project on a song, one after the other, as the stages of a job would."""

from __future__ import annotations

from contextlib import suppress

from benchmarks.music.estimate import Estimate, peak_rss
from mismo_grpc.analysis.mix import MixFile

MODULES = (
    "mismo_grpc.analysis.basic_features",
    "mismo_grpc.analysis.chords",
    "mismo_grpc.analysis.sections",
    "mismo_grpc.analysis.transition",
    "mismo_grpc.analysis.characteristics",
)
"""The modules of the analyses, for a worker to import before it is timed."""


def estimate_all(mix: MixFile) -> Estimate:
    """Every analysis of a song; a task of the analysis pool. Analyses whose module is missing are left out."""
    found, audio, rate = estimate_basic(mix), mix.samples(), mix.sample_rate
    beats, downbeats = found.beats or (), found.downbeats or ()
    with suppress(ModuleNotFoundError):
        from mismo_grpc.analysis.chords import estimate_chords

        chords = found.timed("chords", lambda: estimate_chords(audio, rate, beats))
        found.chords = tuple((c.start, c.end, c.label) for c in chords.chords)
    with suppress(ModuleNotFoundError):
        from mismo_grpc.analysis.sections import find_sections

        sections = found.timed("sections", lambda: find_sections(audio, rate, beats, downbeats))
        found.sections = tuple((s.start, s.end, s.label) for s in sections.sections)

        from mismo_grpc.analysis.transition import find_transitions

        found.timed("transition", lambda: find_transitions(audio, rate, downbeats, sections))
    with suppress(ModuleNotFoundError):
        from mismo_grpc.analysis.characteristics import measure_characteristics

        found.timed("characteristics", lambda: measure_characteristics(audio, rate))
    found.peak_rss = peak_rss()
    return found


def estimate_basic(mix: MixFile) -> Estimate:
    """Tempo, beats, metre and key of a song; a task of the analysis pool."""
    found, audio, rate = Estimate(), mix.samples(), mix.sample_rate
    try:
        from mismo_grpc.analysis.basic_features import measure_basic_features
    except ModuleNotFoundError:
        _parts_of_basic(found, mix)
    else:
        features = found.timed("basic_features", lambda: measure_basic_features(audio, rate))
        found.tempo, found.beats, found.downbeats = features.tempo, features.beats, features.downbeats
        found.beats_per_bar, found.beat_tracker = features.beats_per_bar, features.beat_tracker
        found.key = features.key.name if features.key else ""
    found.peak_rss = peak_rss()
    return found


def _parts_of_basic(found: Estimate, mix: MixFile) -> None:
    audio, rate = mix.samples(), mix.sample_rate
    with suppress(ModuleNotFoundError):
        from mismo_grpc.analysis.rhythm.rhythm import estimate_rhythm

        rhythm = found.timed("rhythm", lambda: estimate_rhythm(audio, rate))
        found.tempo, found.beats, found.downbeats = rhythm.tempo, rhythm.beats, rhythm.downbeats
        found.beats_per_bar = rhythm.beats_per_bar
    with suppress(ModuleNotFoundError):
        from mismo_grpc.analysis.tonal.key import estimate_tonality

        tonality = found.timed("tonality", lambda: estimate_tonality(audio, rate))
        found.key = tonality.key.name if tonality.key else ""
