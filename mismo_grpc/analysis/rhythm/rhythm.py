"""Finds the beats, the bars and the tempo of a track."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mismo_grpc.analysis.arrays import Audio
from mismo_grpc.analysis.audio_source import check_audio
from mismo_grpc.analysis.results import TempoPoint
from mismo_grpc.analysis.rhythm import beat_this_tracker, pulse_tracker
from mismo_grpc.analysis.rhythm.tempo import estimate_tempo
from mismo_grpc.analysis.rhythm.tracked import Tracked

MIN_BEATS = 4
"""With fewer beats no tempo and no metre are estimated."""


@dataclass(frozen=True)
class Rhythm:
    """The beats of a track; the fields are those of `BasicFeaturesResult`."""

    tempo: float | None
    tempo_confidence: float
    tempo_stability: float
    tempo_curve: tuple[TempoPoint, ...]
    beats: tuple[float, ...]
    downbeats: tuple[float, ...]
    beats_per_bar: int
    metre_confidence: float
    beat_tracker: str


def estimate_rhythm(audio: Audio, sample_rate: int, *, model_folders: tuple[Path, ...] = ()) -> Rhythm:
    """Tracks the beats of audio [frames, channels], or [frames] for mono.

    The tracker is beat_this if its package is installed and a checkpoint lies in one of `model_folders` or in the
    cache of torch hub, else the one of this package, as well as if that checkpoint cannot be loaded. Nothing is
    downloaded. NaN and infinite samples count as 0.

    Raises ValueError as `check_audio` does.
    """
    check_audio(audio, sample_rate)
    duration = len(audio) / sample_rate
    name, track = _tracker(model_folders)
    try:
        return _rhythm(track(audio, sample_rate), name, duration)
    except beat_this_tracker.CheckpointError:
        return _rhythm(pulse_tracker.track(audio, sample_rate), "pulse", duration)


def _tracker(model_folders: tuple[Path, ...]) -> tuple[str, Callable[[Audio, int], Tracked]]:
    """The best tracker that is available, and its name."""
    checkpoint = beat_this_tracker.find_checkpoint(model_folders)
    if checkpoint is not None and beat_this_tracker.is_installed():
        return "beat_this", partial(beat_this_tracker.track, checkpoint=checkpoint)
    return "pulse", pulse_tracker.track


def _rhythm(tracked: Tracked, name: str, duration: float) -> Rhythm:
    """The rhythm of the beats that a tracker found in a track of `duration` seconds."""
    if len(tracked.beats) < MIN_BEATS:
        return Rhythm(None, 0.0, 0.0, (), (), (), 0, 0.0, name)
    estimate = estimate_tempo(tracked.beats, constant=tracked.constant)
    times: list[float] = np.maximum(np.round(estimate.beats, 4), 0.0).tolist()
    # Where a loop is cut off at the end of a bar, a tracker takes the cut for an onset.
    beats = tuple(time for time in times if time < duration)
    return Rhythm(
        tempo=round(estimate.tempo, 3),
        tempo_confidence=round(tracked.confidence, 3),
        tempo_stability=round(estimate.stability, 3),
        tempo_curve=estimate.curve,
        beats=beats,
        downbeats=tuple(beats[index] for index in tracked.downbeats if index < len(beats)),
        beats_per_bar=tracked.beats_per_bar,
        metre_confidence=round(tracked.metre_confidence, 3),
        beat_tracker=name,
    )
