"""Measures the character of a track: danceability, energy, brightness, acousticness, vocals, moods.

docs/analyses.md says what each number means. All but the moods are computed with numpy alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from mismo_grpc.analysis.character.frames import FrameFeatures, FrameMeter, Samples, Values, finite
from mismo_grpc.analysis.character.measures import (
    acousticness,
    brightness,
    danceability,
    energy,
    level_rises,
    sounding_frames,
)
from mismo_grpc.analysis.character.mix_vocals import vocal_share_of_mix
from mismo_grpc.analysis.character.stem_vocals import BLOCK_SECONDS, blocks_of, vocal_share, window_powers
from mismo_grpc.analysis.essentia_models.moods import classify_moods
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.results import CharacteristicsResult, ScoredLabel

VOCALS = "vocals"
STEMS, MIX = "stems", "mix"
"""The values of `vocal_source`."""
LOWEST_RATE = 4_000
"""Hz; below, the bands of the voice are missing."""
SUNG_SHARES = {STEMS: 0.25, MIX: 1.0}
"""The vocal presence from which on a track is not instrumental at all. The estimate from the mix is above 0 also for
instrumental music, so that it counts less."""


def analyse_characteristics(inputs: AnalysisInputs) -> CharacteristicsResult:
    """Measures the mix, and the vocals of the stems if there are any; runs as a task of the pool.

    Raises as `MixFile.samples` and `measure_characteristics` do; OSError or soundfile's errors for an unreadable stem.
    """
    mix = inputs.mix
    audio = mix.samples()
    path = inputs.stems.get(VOCALS)
    vocals = None if path is None else _stem_powers(path)
    return _measured(audio, mix.sample_rate, vocals, inputs.model_folders)


def measure_characteristics(
    audio: npt.NDArray[np.floating],
    sample_rate: int,
    *,
    vocals: npt.NDArray[np.floating] | None = None,
    vocals_rate: int | None = None,
    model_folders: Sequence[Path] = (),
) -> CharacteristicsResult:
    """Measures audio [frames, channels], or [frames] for mono, in which 1.0 is full scale.

    `vocals` is the separated vocals, at `vocals_rate` Hz (default: the rate of the audio); without them the vocals are
    estimated from the mix. The moods need essentia and its models in `model_folders`, else they are empty. NaN and
    infinite samples count as 0. Of silence everything is 0 and the instrumentalness 1.

    Raises ValueError for other shapes and types and for rates under 4 kHz.
    """
    powers = None
    if vocals is not None:
        rate = vocals_rate or sample_rate
        powers = window_powers(blocks_of(_by_channel(vocals, rate), rate), rate)
    return _measured(audio, sample_rate, powers, model_folders)


def _measured(
    audio: npt.NDArray[np.floating], sample_rate: int, vocals: Values | None, model_folders: Sequence[Path]
) -> CharacteristicsResult:
    by_channel = _by_channel(audio, sample_rate)
    source = MIX if vocals is None else STEMS
    if len(by_channel) == 0:
        return _silence(source)
    features = FrameMeter(sample_rate).measure(by_channel)
    sounding = sounding_frames(features)
    if not sounding.any():
        return _silence(source)
    if vocals is None:
        share = vocal_share_of_mix(features, sounding)
    else:
        share = vocal_share(vocals, window_powers(blocks_of(by_channel, sample_rate), sample_rate))
    moods = classify_moods(by_channel, sample_rate, model_folders=model_folders) if model_folders else ()
    return _result(features, sounding, share, source, moods)


def _result(
    features: FrameFeatures,
    sounding: npt.NDArray[np.bool_],
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


def _by_channel(audio: npt.NDArray[np.floating], sample_rate: int) -> npt.NDArray[np.floating]:
    """The audio as [frames, channels]."""
    if audio.ndim not in (1, 2) or not np.issubdtype(audio.dtype, np.floating) or 0 in audio.shape[1:]:
        raise ValueError(
            f"audio is floating point, [frames, channels]; got {audio.dtype} with {audio.ndim} dimensions"
        )
    if sample_rate < LOWEST_RATE:
        raise ValueError(f"the sample rate is at least {LOWEST_RATE} Hz; got {sample_rate}")
    return audio if audio.ndim == 2 else audio[:, np.newaxis]


def _stem_powers(path: Path) -> Values:
    """The powers of a WAV file, which is read block by block."""
    import soundfile

    with soundfile.SoundFile(path) as file:
        rate = int(file.samplerate)

        def blocks() -> Iterator[Samples]:
            while len(
                block := cast(Samples, file.read(BLOCK_SECONDS * rate, dtype="float32", always_2d=True))
            ):
                yield finite(block)

        return window_powers(blocks(), rate)
