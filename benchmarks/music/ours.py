"""Runs the analyses of this project on a song, one after the other, as the stages of a job would."""

from __future__ import annotations

from benchmarks.music.estimate import Estimate
from benchmarks.process_memory import peak_rss
from mismo_grpc.analysis.basic_features import measure_basic_features
from mismo_grpc.analysis.characteristics import measure_characteristics
from mismo_grpc.analysis.chords import estimate_chords
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.sections import find_sections
from mismo_grpc.analysis.transition import find_transitions

MODULES = (
    "mismo_grpc.analysis.basic_features",
    "mismo_grpc.analysis.chords",
    "mismo_grpc.analysis.sections",
    "mismo_grpc.analysis.transition",
    "mismo_grpc.analysis.characteristics",
)
"""The modules of the analyses, for a worker to import before it is timed."""


def estimate_all(mix: MixFile) -> Estimate:
    """Every analysis of a song but genre, which needs a model; a task of the analysis pool."""
    found, audio, rate = estimate_basic(mix), mix.samples(), mix.sample_rate
    beats, downbeats = found.beats or (), found.downbeats or ()
    chords = found.timed("chords", lambda: estimate_chords(audio, rate, beats))
    found.chords = tuple((c.start, c.end, c.label) for c in chords.chords)
    sections = found.timed("sections", lambda: find_sections(audio, rate, beats, downbeats))
    found.sections = tuple((s.start, s.end, s.label) for s in sections.sections)
    found.timed("transition", lambda: find_transitions(audio, rate, downbeats, sections))
    found.timed("characteristics", lambda: measure_characteristics(audio, rate))
    found.peak_rss = peak_rss()
    return found


def estimate_basic(mix: MixFile) -> Estimate:
    """Tempo, beats, metre, key and loudness of a song; a task of the analysis pool."""
    found, audio, rate = Estimate(), mix.samples(), mix.sample_rate
    features = found.timed("basic_features", lambda: measure_basic_features(audio, rate))
    found.tempo, found.beats, found.downbeats = features.tempo, features.beats, features.downbeats
    found.beats_per_bar, found.beat_tracker = features.beats_per_bar, features.beat_tracker
    found.key = features.key.name if features.key else ""
    found.peak_rss = peak_rss()
    return found
