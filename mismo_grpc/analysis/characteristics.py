"""Measures the character of a track: danceability, energy, brightness, acousticness, vocals, moods.

docs/analyses.md says what each number means. All but the moods are computed with numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mismo_grpc.analysis.arrays import Audio, Flags, Values
from mismo_grpc.analysis.audio_source import AudioFile, by_channel, check_audio
from mismo_grpc.analysis.character.frames import FrameFeatures, FrameMeter
from mismo_grpc.analysis.character.measures import (
    acousticness,
    brightness,
    danceability,
    energy,
    level_rises,
    sounding_frames,
)
from mismo_grpc.analysis.character.mix_vocals import vocal_share_of_mix
from mismo_grpc.analysis.character.stem_vocals import blocks_of, vocal_share, window_powers
from mismo_grpc.analysis.essentia_models.moods import classify_moods
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.results import CharacteristicsResult, ScoredLabel

VOCALS = "vocals"
STEMS, MIX = "stems", "mix"
"""The values of `vocal_source`."""
SUNG_SHARES = {STEMS: 0.25, MIX: 1.0}
"""The vocal presence from which on a track is not instrumental at all. The estimate from the mix is above 0 also for
instrumental music, so that it counts less."""


def analyse_characteristics(inputs: AnalysisInputs) -> CharacteristicsResult:
    """Measures the mix, and the vocals of the stems if there are any; runs as a task of the pool.

    Vocals that cannot be read are not used. Raises as `MixFile.samples` and `measure_characteristics` do; OSError if
    the mix cannot be opened.
    """
    mix = inputs.mix
    audio = mix.samples()
    path = inputs.stems.get(VOCALS)
    vocals = None
    if path is not None:
        # Without them the vocals are estimated from the mix.
        with suppress(OSError):
            vocals = _stem_powers(path)
    return _measured(audio, mix.sample_rate, vocals, inputs.model_folders)


def measure_characteristics(
    audio: Audio,
    sample_rate: int,
    *,
    vocals: Audio | None = None,
    vocals_rate: int | None = None,
    model_folders: Sequence[Path] = (),
) -> CharacteristicsResult:
    """Measures audio [frames, channels], or [frames] for mono, in which 1.0 is full scale.

    `vocals` is the separated vocals, at `vocals_rate` Hz (default: the rate of the audio); without them the vocals are
    estimated from the mix. The moods need essentia and its models in `model_folders`, else they are empty. NaN and
    infinite samples count as 0. Of silence everything is 0 and the instrumentalness 1.

    Raises ValueError as `check_audio` does.
    """
    powers = None
    if vocals is not None:
        rate = vocals_rate or sample_rate
        check_audio(vocals, rate)
        powers = window_powers(blocks_of(by_channel(vocals), rate), rate)
    return _measured(audio, sample_rate, powers, model_folders)


def _measured(
    audio: Audio, sample_rate: int, vocals: Values | None, model_folders: Sequence[Path]
) -> CharacteristicsResult:
    check_audio(audio, sample_rate)
    channels = by_channel(audio)
    source = MIX if vocals is None else STEMS
    if len(channels) == 0:
        return _silence(source)
    features = FrameMeter(sample_rate).measure(channels)
    sounding = sounding_frames(features)
    if not sounding.any():
        return _silence(source)
    if vocals is None:
        share = vocal_share_of_mix(features, sounding)
    else:
        share = vocal_share(vocals, window_powers(blocks_of(channels, sample_rate), sample_rate))
    moods = classify_moods(channels, sample_rate, model_folders=model_folders)
    return _result(features, sounding, share, source, moods)


def _result(
    features: FrameFeatures,
    sounding: Flags,
    share: float,
    source: str,
    moods: tuple[ScoredLabel, ...],
) -> CharacteristicsResult:
    rises = level_rises(features)
    bright = brightness(features, sounding)
    return CharacteristicsResult(
        danceability=round(danceability(features, rises), 4),
        energy=round(energy(features, rises, sounding, bright), 4),
        brightness=round(bright, 4),
        acousticness=round(acousticness(features, sounding), 4),
        instrumentalness=round(max(0.0, 1.0 - share / SUNG_SHARES[source]), 4),
        vocal_presence=round(share, 4),
        moods=moods,
        vocal_source=source,
    )


def _silence(source: str) -> CharacteristicsResult:
    return CharacteristicsResult(
        danceability=0.0,
        energy=0.0,
        brightness=0.0,
        acousticness=0.0,
        instrumentalness=1.0,
        vocal_presence=0.0,
        moods=(),
        vocal_source=source,
    )


def _stem_powers(path: Path) -> Values:
    """The powers of a WAV file, which is read block by block."""
    with AudioFile(path) as vocals:
        return window_powers(blocks_of(vocals, vocals.sample_rate), vocals.sample_rate)
