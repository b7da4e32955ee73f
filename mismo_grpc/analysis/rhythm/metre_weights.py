"""The weights of the features of a metrical hypothesis.

Fitted to composed songs (`mismo_grpc.generation`) by multinomial logistic regression over the hypotheses of each song,
with an L2 penalty; the features of `mismo_grpc.analysis.rhythm.metre`.
"""

from __future__ import annotations

import numpy as np

PLACE_WEIGHTS = (
    (-0.06, 0.06, 0.65, -0.44, 1.21),  # beats against eighth offbeats
    (-0.64, 0.92, -0.01, 0.51, 0.07),  # eighth offbeats against the other sixteenths
    (1.18, 1.45, 1.45, 2.27, 0.54),  # beats against the mean of all frames
    (2.82, 2.72, -0.81, -0.02, 3.85),  # the downbeat against all beats
    (-0.82, -0.39, 1.13, 0.77, -0.65),  # 4/4: beats 2 and 4 against all beats
    (-0.52, -0.30, -1.18, -1.33, -0.65),  # 4/4: beat 3 against all beats
    (-0.63, -0.44, 0.58, 0.94, -0.22),  # 3/4: beat 2 against beat 3
)
"""The columns: onsets below 160 Hz, to 1 kHz, to 4.5 kHz and above, change of harmony."""

CORRELATION_WEIGHTS = (
    (-0.57, 0.67, 0.58, 0.99, -0.34),  # below 160 Hz
    (0.23, -0.23, -0.02, 0.94, 0.91),  # 1 to 4.5 kHz
    (1.48, 0.96, -0.33, 0.07, 0.37),  # above 4.5 kHz
    (1.16, 1.05, 0.37, 0.14, -0.01),  # all
)
"""The columns: lags of an eighth, a beat, half a bar, a bar and two bars."""

WALTZ_WEIGHT, OCTAVE_WEIGHT, OCTAVE_SQUARED_WEIGHT, PULSE_WEIGHT = (-0.32, 4.73, -1.76, 0.55)
"""Of 3/4 time, of octaves above the reference tempo and their square, of the mean strength of the pulse."""

WEIGHTS = np.array(
    [
        *(weight for row in (*PLACE_WEIGHTS, *CORRELATION_WEIGHTS) for weight in row),
        WALTZ_WEIGHT,
        OCTAVE_WEIGHT,
        OCTAVE_SQUARED_WEIGHT,
        PULSE_WEIGHT,
    ]
)
