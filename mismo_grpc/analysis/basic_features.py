"""Measures what a DJ mixes by: tempo, beats, bars, key, tuning, loudness, dynamic range."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mismo_grpc.analysis.arrays import Audio
from mismo_grpc.analysis.dynamic_range import measure_dynamic_range
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.loudness import measure_loudness
from mismo_grpc.analysis.results import BasicFeaturesResult
from mismo_grpc.analysis.rhythm.rhythm import estimate_rhythm
from mismo_grpc.analysis.tonal.key import estimate_tonality


def analyse_basic_features(inputs: AnalysisInputs) -> BasicFeaturesResult:
    """Measures the mix; runs as a task of the pool.

    Raises ValueError as `MixFile.samples` and `measure_basic_features` do; OSError if the file cannot be opened.
    """
    mix = inputs.mix
    return measure_basic_features(mix.samples(), mix.sample_rate, model_folders=inputs.model_folders)


def measure_basic_features(
    audio: Audio, sample_rate: int, *, model_folders: Sequence[Path] = ()
) -> BasicFeaturesResult:
    """Measures audio [frames, channels], or [frames] for mono, at `sample_rate` Hz.

    `model_folders` are searched for a checkpoint of beat_this. NaN and infinite samples count as 0.

    Raises ValueError as `measure_loudness` does.
    """
    loudness = measure_loudness(audio, sample_rate)
    rhythm = estimate_rhythm(audio, sample_rate, model_folders=tuple(model_folders))
    tonality = estimate_tonality(audio, sample_rate)
    return BasicFeaturesResult(
        duration=round(len(audio) / sample_rate, 6),
        tempo=rhythm.tempo,
        tempo_confidence=rhythm.tempo_confidence,
        tempo_stability=rhythm.tempo_stability,
        tempo_curve=rhythm.tempo_curve,
        beats=rhythm.beats,
        downbeats=rhythm.downbeats,
        beats_per_bar=rhythm.beats_per_bar,
        metre_confidence=rhythm.metre_confidence,
        key=tonality.key,
        tuning=tonality.tuning,
        integrated_lufs=loudness.integrated_lufs,
        loudness_range_lu=loudness.loudness_range_lu,
        true_peak_dbtp=loudness.true_peak_dbtp,
        dynamic_range_db=measure_dynamic_range(audio, sample_rate),
        beat_tracker=rhythm.beat_tracker,
    )
