"""The baseline for mismo_lite: a split into four stems by signal processing alone, without a trained model.

A median filter over frequency selects the drums (vertical lines in the spectrogram); the rest is harmonic: Fitzgerald,
"Harmonic/percussive separation using median filtering", DAFx 2010. Of the harmonic part, bass is everything below
150 Hz, vocals are 250 to 6,000 Hz in the middle of the stereo image, and other is the rest.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch

STEMS = ("drums", "bass", "other", "vocals")
SAMPLE_RATE = 44100
WINDOW, HOP = 4096, 1024
MEDIAN_TIMES, MEDIAN_BINS = 17, 17
BASS_HERTZ = 150.0
VOICE_HERTZ = (250.0, 6000.0)
PART_SECONDS, CONTEXT_SECONDS = 20, 1
"""Frames of the parts that long tracks are processed in, with some context on both sides."""

Samples = npt.NDArray[np.float32]


def dsp_split(mix: Samples) -> dict[str, Samples]:
    """Splits a mix [2, frames] at 44100 Hz into stems, each [2, frames], whose sum is the mix."""
    frames = mix.shape[1]
    stems = {name: np.zeros_like(mix) for name in STEMS}
    part, context = PART_SECONDS * SAMPLE_RATE, CONTEXT_SECONDS * SAMPLE_RATE
    for start in range(0, frames, part):
        low, high = max(0, start - context), min(frames, start + part + context)
        end = min(frames, start + part)
        for name, audio in _split_part(torch.from_numpy(mix[:, low:high])).items():
            stems[name][:, start:end] = audio[:, start - low : end - low]
    return stems


def _split_part(mix: torch.Tensor) -> dict[str, Samples]:
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(mix, WINDOW, HOP, window=window, return_complex=True)
    loudness = spectrum.abs().mean(dim=0)
    harmonic = _median(loudness, MEDIAN_TIMES)
    percussive = _median(loudness.T, MEDIAN_BINS).T
    drums = percussive**2 / (harmonic**2 + percussive**2 + 1e-12)
    tonal = 1 - drums
    hertz = cast("torch.Tensor", torch.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE))[:, None]
    middle, side = (spectrum[0] + spectrum[1]).abs(), (spectrum[0] - spectrum[1]).abs()
    centred = middle**2 / (middle**2 + side**2 + 1e-12)
    bass = (hertz < BASS_HERTZ) * tonal
    voice = ((hertz >= VOICE_HERTZ[0]) & (hertz < VOICE_HERTZ[1])) * centred * tonal
    masks = {"drums": drums, "bass": bass, "other": tonal - bass - voice, "vocals": voice}
    return {
        name: torch.istft(spectrum * mask, WINDOW, HOP, window=window, length=mix.shape[1]).numpy()
        for name, mask in masks.items()
    }


def _median(values: torch.Tensor, width: int) -> torch.Tensor:
    """The running median over the last axis."""
    padded = np.pad(values.numpy(), ((0, 0), (width // 2, width // 2)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1)
    return torch.from_numpy(np.partition(windows, width // 2, axis=-1)[..., width // 2])
