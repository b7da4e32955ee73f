"""Key profiles: how much each pitch class sounds in a major and in a minor key."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.arrays import Values

KEYS = 24
"""The number of a key is its tonic (0 for C) if it is major, 12 more if it is minor."""


@dataclass(frozen=True)
class KeyProfile:
    """The strengths of the twelve pitch classes from the tonic up, in a major and a minor key."""

    major: tuple[float, ...]
    minor: tuple[float, ...]

    def correlations(self, chroma: Values) -> Values:
        """Pearson's correlation of a chroma vector, [12] from C, with the profile of each key, [KEYS].

        All are 0 for a vector of equal values. The method is that of Krumhansl and Schmuckler (Krumhansl 1990).
        """
        rows = [np.roll(profile, tonic) for profile in (self.major, self.minor) for tonic in range(12)]
        table = np.array(rows) - np.mean(rows, axis=1, keepdims=True)
        table /= np.linalg.norm(table, axis=1, keepdims=True)
        centred = chroma - chroma.mean()
        length = float(np.linalg.norm(centred))
        return table @ centred / length if length > 1e-9 * float(np.abs(chroma).sum()) else np.zeros(KEYS)


KRUMHANSL_KESSLER = KeyProfile(
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
"""How well listeners found that a tone fits after a key was established: Krumhansl and Kessler, Tracing the dynamic
changes in perceived tonal organization in a spatial representation of musical keys, Psychological Review 1982."""

ALBRECHT_SHANAHAN = KeyProfile(
    (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
)
"""The distribution of notes in the beginnings and ends of 490 pieces: Albrecht and Shanahan, The use of large corpora
to train a new type of key-finding algorithm, Music Perception 2013."""
