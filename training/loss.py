"""What training makes small."""

from __future__ import annotations

import torch
from torch import Tensor

SPECTRAL_SIZES = (512, 2048)


QUIETEST = 0.1
"""Of the mixture's RMS (-20 dB): a stem under it counts as one of this level."""


def separation_loss(estimate: Tensor, target: Tensor, spectral: float, stem_share: float) -> Tensor:
    """Mean over batch and stems of the error's RMS, relative to the RMS of the mixture and of the stem.

    Both are (batch, stems, channels, frames). Squares inside a crop, as in the SDR, so that an uncertain
    stem is answered with its mean and not with silence; the root makes loud and quiet crops count alike.
    `stem_share` is the exponent of the stem's own RMS in what the error is measured by, the rest being the mixture's:
    at 0 a quiet stem under a loud bass hardly counts, at 1 the silent ones outweigh all others. `spectral`
    is the weight of the L1 distance of the magnitudes in two resolutions, added to it.
    """
    mixture = target.sum(dim=1).square().mean(dim=(-1, -2)).sqrt()[:, None] + 1e-4
    error = ((estimate - target).square().mean(dim=(-1, -2)) + 1e-10).sqrt()
    stem = torch.maximum(target.square().mean(dim=(-1, -2)).sqrt(), QUIETEST * mixture)
    loss = (error / (mixture ** (1 - stem_share) * stem**stem_share)).mean()
    if spectral:
        for size in SPECTRAL_SIZES:
            distance = (_magnitudes(estimate, size) - _magnitudes(target, size)).abs()
            scale = _magnitudes(target.sum(dim=1), size).mean(dim=(1, 2, 3)) + 1e-4
            loss = loss + spectral * (distance.mean(dim=(2, 3, 4)) / scale[:, None]).mean() / len(
                SPECTRAL_SIZES
            )
    return loss


def _magnitudes(audio: Tensor, size: int) -> Tensor:
    """Of (..., frames): (..., bins, times)."""
    window = torch.hann_window(size, device=audio.device)
    spectrum = torch.stft(audio.flatten(0, -2), size, size // 2, window=window, return_complex=True)
    # The root has no gradient at zero.
    magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-8).sqrt()
    return magnitude.reshape(*audio.shape[:-1], *magnitude.shape[-2:])
