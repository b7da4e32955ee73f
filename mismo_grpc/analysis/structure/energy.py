"""The energy of a track over time: perceived loudness relative to the loudest part."""

from __future__ import annotations

import math

import numpy as np

from mismo_grpc.analysis.arrays import Values
from mismo_grpc.analysis.structure.features import interval_means
from mismo_grpc.analysis.structure.spectra import Spectra

REFERENCE_SECONDS = 3.0
"""The loudest part is the loudest window of this length, that of short-term loudness (EBU Tech 3341)."""
LOUDNESS_EXPONENT = math.log10(2.0)
"""Loudness in sones doubles with every 10 phon (ISO 532-1), so it grows with this power of the mean square."""
SILENT_POWER = 1e-7
"""About -70 LUFS, the absolute gate of BS.1770-5; a track whose loudest part is below it has no energy."""
PEAK_SHARE = 0.1
"""The usual peak energy is reached during this share of the track, so one loud moment does not set it."""
FULL_SHARE = 0.85
"""A section is full from this share of the usual peak energy on: at most 2.3 dB less."""


def interval_energies(spectra: Spectra, edges: Values) -> Values:
    """The energy of each interval between two edges in seconds, 0 to 1: (power / highest power) ^ log10(2).

    Power is the K-weighted mean square (ITU-R BS.1770-5); 10 dB less are half the energy.
    """
    highest = loudest_power(spectra)
    if highest < SILENT_POWER:
        return np.zeros(len(edges) - 1)
    power = np.maximum(interval_means(spectra.power, spectra.hop_seconds, edges), 0.0)
    energies: Values = np.minimum(power / highest, 1.0) ** LOUDNESS_EXPONENT
    return energies


def loudest_power(spectra: Spectra) -> float:
    """The highest mean of `power` over REFERENCE_SECONDS; over the whole track if it is shorter."""
    if len(spectra.power) == 0:
        return 0.0
    hops = max(1, min(len(spectra.power), round(REFERENCE_SECONDS / spectra.hop_seconds)))
    sums = np.concatenate([[0.0], np.cumsum(spectra.power)])
    return float((sums[hops:] - sums[:-hops]).max()) / hops


def usual_peak(lengths: Values, energies: Values) -> float:
    """The energy that sections of these lengths reach during PEAK_SHARE of the track."""
    order = np.argsort(-energies, kind="stable")
    reached = np.cumsum(lengths[order]) >= PEAK_SHARE * lengths.sum()
    return float(energies[order][int(np.argmax(reached))]) if len(energies) else 0.0
