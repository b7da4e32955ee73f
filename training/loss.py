"""What training makes small."""

from __future__ import annotations

import torch
from torch import Tensor

from training.config import LossConfig

SPECTRAL_SIZES = (512, 2048)
QUIETEST = 0.1
"""Of the mixture's RMS (-20 dB): a stem under it counts as one of this level."""


def error_loss(error: Tensor, stem: Tensor, config: LossConfig) -> Tensor:
    """Mean over batch and stems of a power of the error, given as are the stems in parts of the mixture's RMS.

    Both are (batch, stems). Errors are of a whole crop, as in the SDR, and loud and quiet crops count alike. At a
    `power` of 2 the best answer to what is uncertain is its mean, so that the stems still add up to the mixture; at 1
    it is the likelier of all and nothing. `stem_share` is the exponent of the stem's own RMS in what the error is
    measured by, the rest being the mixture's: at 0 a quiet stem under a loud bass hardly counts, at 1 the silent ones
    outweigh all others, and whatever is uncertain is answered with less than its mean. With a `log_floor` above 0 the
    error counts in nepers instead, log(error + log_floor): an error halved is worth the same in a loud stem, in a
    quiet one and in silence, down to that floor; the other two play no part then.
    """
    if config.log_floor:
        return torch.log(error + config.log_floor).mean()
    return (error / stem.clamp_min(QUIETEST) ** config.stem_share).pow(config.power).mean()


def separation_loss(estimate: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    """`error_loss` of samples (batch, stems, channels, frames).

    `spectral` is the weight of the L1 distance of the magnitudes in two resolutions, added to it.
    """
    mixture = target.sum(dim=1).square().mean(dim=(-1, -2)).sqrt()[:, None] + 1e-4
    error = ((estimate - target).square().mean(dim=(-1, -2)) + 1e-10).sqrt()
    loss = error_loss(error / mixture, target.square().mean(dim=(-1, -2)).sqrt() / mixture, config)
    for size in SPECTRAL_SIZES if config.spectral else ():
        distance = (_magnitudes(estimate, size) - _magnitudes(target, size)).abs()
        scale = _magnitudes(target.sum(dim=1), size).mean(dim=(1, 2, 3)) + 1e-4
        share = (distance.mean(dim=(2, 3, 4)) / scale[:, None]).mean()
        loss = loss + config.spectral * share / len(SPECTRAL_SIZES)
    return loss


def _magnitudes(audio: Tensor, size: int) -> Tensor:
    """Of (..., frames): (..., bins, times)."""
    window = torch.hann_window(size, device=audio.device)
    spectrum = torch.stft(audio.flatten(0, -2), size, size // 2, window=window, return_complex=True)
    # The root has no gradient at zero.
    magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-8).sqrt()
    return magnitude.reshape(*audio.shape[:-1], *magnitude.shape[-2:])
