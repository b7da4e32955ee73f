"""Computes the loss from spectra, without the inverse transform to samples.

The spectral model multiplies a magnitude for each stem with the mixture's phase. Its error against the true spectrum
consists of the error of that magnitude against the part of the true spectrum that is in phase with the mixture, and of
a rest that no magnitude can change. By Parseval's theorem the energies equal those of the samples, except for the
effect of overlapping windows. So the inverse transform and its gradient are not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from mismo_grpc.separation.spatial import SpatialHDemucs


class MagnitudeHDemucs(SpatialHDemucs):
    """SpatialHDemucs that returns magnitudes (batch, stems, channels, bins, times) while it is trained.

    In evaluation it returns samples; its weights are interchangeable with HDemucs'. The filter is not used in training:
    120 training steps through it, each taking twice as long, improved nothing.
    """

    @property
    def magnitudes_alone(self) -> bool:
        """Whether it returns magnitudes now."""
        return bool(self.training and not self.cac and not self.hybrid and self.end_iters < 0)

    def _mask(self, z: Tensor, m: Tensor) -> Tensor:
        return m if self.magnitudes_alone else super()._mask(z, m)

    def _ispec(self, z: Tensor, length: int | None = None, scale: int = 0) -> Tensor:
        return z if self.magnitudes_alone else cast("Tensor", super()._ispec(z, length, scale))

    def spectra(self, samples: Tensor) -> Tensor:
        """Returns the complex spectra (..., bins, times) of samples (..., frames), as the model computes them."""
        spectra: Tensor = self._spec(samples)
        return spectra


@dataclass(frozen=True)
class SpectralTarget:
    """`in_phase` is (batch, stems, channels, bins, times); energies are (batch, stems), the mixture's (batch, 1)."""

    in_phase: Tensor
    rest: Tensor
    stems: Tensor
    mixture: Tensor


@torch.no_grad()
def spectral_target(model: MagnitudeHDemucs, mix: Tensor, stems: Tensor) -> SpectralTarget:
    """Returns the target for mixes (batch, channels, frames) of stems (batch, stems, channels, frames)."""
    mixed = model.spectra(mix)[:, None]
    true = model.spectra(stems)
    turn = mixed.conj() / (mixed.abs() + 1e-8)
    in_phase = (true * turn).real
    energy = _energy(true)
    return SpectralTarget(
        in_phase, (energy - in_phase.square().sum(dim=(2, 3, 4))).clamp_min(0.0), energy, _energy(mixed)
    )


def _energy(spectra: Tensor) -> Tensor:
    return (spectra.real.square() + spectra.imag.square()).sum(dim=(2, 3, 4))


def relative_errors(magnitudes: Tensor, target: SpectralTarget) -> tuple[Tensor, Tensor]:
    """Returns the RMS of the errors and of the true stems, each (batch, stems), relative to the mixture's RMS."""
    mixture = target.mixture + 1e-6 * magnitudes[0, 0].numel()
    error = (magnitudes - target.in_phase).square().sum(dim=(2, 3, 4)) + target.rest
    return (error / mixture + 1e-8).sqrt(), (target.stems / mixture).sqrt()
