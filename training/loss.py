"""The loss that training minimises."""

from __future__ import annotations

import torch
from torch import Tensor

from training.config import LossConfig

SPECTRAL_SIZES = (512, 2048)
QUIETEST = 0.1
"""The smallest stem level as a share of the mixture's RMS (-20 dB): a quieter stem counts as one of this level."""


def error_loss(error: Tensor, stem: Tensor, config: LossConfig) -> Tensor:
    """Returns the mean over batch and stems of a power of the error.

    `error` and `stem` are RMS values (batch, stems), relative to the mixture's RMS. Each error is that of a whole crop,
    as in the SDR, and loud and quiet crops have equal weight. With `power` 2 the best estimate of uncertain content is
    its mean, so that the stems still add up to the mixture; with 1 it is the likelier of all and nothing.

    The error is divided by the stem's RMS to the power `stem_share`, and by the mixture's RMS for the rest: with 0 a
    quiet stem under a loud bass hardly counts; with 1 the silent stems outweigh all others, and estimates of uncertain
    content are below its mean. With `log_floor` above 0 the loss is log(error + log_floor) instead, in nepers: halving
    an error has the same value in a loud stem, in a quiet one and in silence, down to that floor; `power` and
    `stem_share` then have no effect.
    """
    if config.log_floor:
        return torch.log(error + config.log_floor).mean()
    return (error / stem.clamp_min(QUIETEST) ** config.stem_share).pow(config.power).mean()


def separation_loss(estimate: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    """Returns `error_loss` for samples (batch, stems, channels, frames).

    It adds the L1 distance of the magnitudes in two resolutions, with the weight `spectral`.
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
    """Returns the magnitudes (..., bins, times) of samples (..., frames)."""
    window = torch.hann_window(size, device=audio.device)
    spectrum = torch.stft(audio.flatten(0, -2), size, size // 2, window=window, return_complex=True)
    # The gradient of the root is infinite at zero.
    magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-8).sqrt()
    return magnitude.reshape(*audio.shape[:-1], *magnitude.shape[-2:])
