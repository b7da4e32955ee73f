"""The quality measure of a stem."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]


def sdr(reference: Audio, estimate: Audio) -> float:
    """10 log10 of reference energy over error energy, in dB, over all frames and channels at once.

    Without scaling, filters or a median over windows; silence as the estimate has 0 dB. NaN for a silent reference.
    """
    energy = float(np.square(reference, dtype=np.float64).sum())
    error = float(np.square(reference - estimate, dtype=np.float64).sum())
    return float("nan") if energy == 0 else 10 * float(np.log10(energy / max(error, 1e-20)))
