"""HDemucs with a multichannel Wiener filter, which separates stems by their place in the stereo field."""

from __future__ import annotations

from typing import cast

import torch
from demucs.hdemucs import HDemucs
from torch import Tensor

SHARE = 0.75
"""The share of the filter's output in the result; the rest is HDemucs' magnitudes with the mixture's phase."""
EXPONENT = 1.0
"""The exponent that turns a magnitude into a stem's power in the filter: below 2, as magnitudes are uncertain."""
NOISE = 0.05
"""The share of the mixture's power in a bin that the filter assigns to no stem."""


class SpatialHDemucs(HDemucs):
    """HDemucs whose output for a stereo mixture is mixed with that of a Wiener filter based on its magnitudes.

    The filter has no weights of its own. It estimates each stem's place in the stereo field at each frequency of a
    segment, and so separates stems that share a frequency at one moment; the magnitudes give each stem's loudness. In
    training, in mono and with complex outputs the class equals HDemucs.
    """

    def _mask(self, z: Tensor, m: Tensor) -> Tensor:
        if self.training or self.cac or z.shape[1] != 2:
            return cast("Tensor", super()._mask(z, m))
        # The range of half floats is too small for the determinant of a covariance.
        with torch.autocast(z.device.type, enabled=False):
            magnitudes = m.float()
            direct = (z / (1e-8 + z.abs()))[:, None] * magnitudes
            return torch.lerp(direct, wiener_filtered(z, magnitudes), SHARE)


def wiener_filtered(
    mixture: Tensor, magnitudes: Tensor, exponent: float = EXPONENT, noise: float = NOISE
) -> Tensor:
    """Estimates the stems' spectra by one step of expectation maximisation under a local Gaussian model.

    `mixture` are complex spectra (batch, 2 channels, bins, times), `magnitudes` the stems' estimated magnitudes (batch,
    stems, 2, bins, times); returns complex spectra of that shape. A stem's covariance is its power in a bin times its
    mean spatial covariance at that frequency: Duong, Vincent and Gribonval, "Under-determined reverberant audio source
    separation using a full-rank spatial covariance model", IEEE TASLP 18(7), 2010; averaged by energy as in Nugraha,
    Liutkus and Vincent, "Multichannel audio source separation with deep neural networks", IEEE TASLP 24(9), 2016. With
    an `exponent` of 2 and no `noise` this is what demucs' `wiener_iters=1` computes, in an eighth of the time. A lower
    exponent assumes that the stems differ less in power than their magnitudes say; noise keeps the filter stable for
    mixtures that are almost mono, also in half floats.
    """
    scale = (mixture.abs().amax(dim=(1, 2, 3)) / 10).clamp_min(1e-8)[:, None, None, None]
    left, right = (mixture / scale).unbind(1)
    between = left * right.conj()
    between = torch.view_as_real(between / (between.abs() + 1e-16))
    # Real numbers from here on, which is several times faster; bins first, so that sums over stems are matrix products.
    one, two = (magnitudes / scale[:, None]).transpose(1, 3).unbind(2)  # each (batch, bins, stems, times)
    energy_one, energy_two = one.square(), two.square()
    power = (energy_one + energy_two) / 2
    weight = power.sum(-1, keepdim=True) + 1e-10
    # The entries of the covariances: each channel's power, and the real and imaginary parts of the cross term.
    own_one = energy_one.sum(-1, keepdim=True) / weight
    own_two = energy_two.sum(-1, keepdim=True) / weight
    common = torch.matmul(one * two, between) / weight
    spatial = torch.cat([own_one, own_two, common], dim=-1)  # (batch, bins, stems, 4)
    gain = power.pow(exponent / 2)
    c1, c2, real, imag = torch.matmul(spatial.transpose(2, 3), gain).unbind(2)  # each (batch, bins, times)
    # A floor that avoids a division by zero in silence.
    floor = noise * (c1 + c2) / 2 + 1e-5
    c1, c2 = c1 + floor, c2 + floor
    determinant = c1 * c2 - real.square() - imag.square()
    l_real, l_imag, r_real, r_imag = left.real, left.imag, right.real, right.imag
    whitened = (
        torch.stack(
            [
                c2 * l_real - real * r_real + imag * r_imag,
                c2 * l_imag - real * r_imag - imag * r_real,
                c1 * r_real - real * l_real - imag * l_imag,
                c1 * r_imag - real * l_imag + imag * l_real,
            ],
            dim=2,
        )
        / determinant[:, :, None]
    )
    turned = torch.matmul(_as_matrices(spatial), whitened)  # (batch, bins, 4 x stems, times)
    stems = turned.reshape(*gain.shape[:3], 2, 2, -1) * (gain * scale)[:, :, :, None, None]
    return torch.view_as_complex(stems.permute(0, 2, 3, 1, 5, 4).contiguous())


def _as_matrices(spatial: Tensor) -> Tensor:
    """Writes Hermitian 2 x 2 matrices as real 4 x 4 matrices: (batch, bins, 4 x stems, 4)."""
    one, two, real, imag = spatial.unbind(-1)
    none = torch.zeros_like(one)
    rows = [
        [one, none, real, -imag],
        [none, one, imag, real],
        [real, imag, two, none],
        [-imag, real, none, two],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], dim=-2).flatten(2, 3)
