"""What a beat tracker finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.arrays import Values


@dataclass(frozen=True)
class Tracked:
    """Beats in seconds, ascending; `downbeats` are the indices of those that begin a bar.

    `beats_per_bar` is 0 if no bars were found. The confidences, from 0 to 1, are of the beats and of the bars.
    `constant` says that the tracker found one tempo for the whole track.
    """

    beats: Values
    confidence: float = 0.0
    downbeats: tuple[int, ...] = ()
    beats_per_bar: int = 0
    metre_confidence: float = 0.0
    constant: bool = False


NOTHING = Tracked(np.zeros(0))
