"""What training makes small."""

from __future__ import annotations

import torch
from torch import Tensor

SPECTRAL_SIZES = (512, 2048)


def separation_loss(estimate: Tensor, target: Tensor, spectral: float) -> Tensor:
    """Mean over batch and stems of the error's RMS, relative to the RMS of the mixture.

    Both are (batch, stems, channels, frames). Squares inside a crop, as in the SDR, so that an uncertain
    stem is answered with its mean and not with silence; the root makes loud and quiet crops count alike.
    Relative to the mixture and not to the stem: silent stems would otherwise outweigh all others. `spectral`
    is the weight of the L1 distance of the magnitudes in two resolutions, added to it.
    """
    mixture = target.sum(dim=1).square().mean(dim=(-1, -2)).sqrt()[:, None] + 1e-4
    error = ((estimate - target).square().mean(dim=(-1, -2)) + 1e-10).sqrt()
    loss = (error / mixture).mean()
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
