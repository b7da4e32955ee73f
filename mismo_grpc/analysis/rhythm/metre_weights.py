"""The weights of the features of a metrical hypothesis.

Fitted to composed songs (`mismo_grpc.generation`) by multinomial logistic regression over the hypotheses of each song,
with an L2 penalty; the features of `mismo_grpc.analysis.rhythm.metre`.
"""

from __future__ import annotations

import numpy as np

PLACE_WEIGHTS = (
    (0.19, 0.16, 1.02, -0.41, 0.88),  # beats against eighth offbeats
    (-0.43, 0.88, -0.28, 0.70, 0.72),  # eighth offbeats against the other sixteenths
    (1.28, 0.86, 0.79, 2.38, 0.51),  # beats against the mean of all frames
    (2.95, 2.82, -0.60, 0.40, 3.70),  # the downbeat against all beats
    (-0.90, -0.36, 1.01, 0.75, -0.50),  # 4/4: beats 2 and 4 against all beats
    (-0.39, -0.42, -1.19, -1.64, -0.50),  # 4/4: beat 3 against all beats
    (-0.48, -0.62, 0.44, 1.17, -0.23),  # 3/4: beat 2 against beat 3
)
"""The columns: onsets below 160 Hz, to 1 kHz, to 4.5 kHz and above, change of harmony."""

CORRELATION_WEIGHTS = (
    (-1.63, 0.65, 0.70, 0.91, -0.22),  # below 160 Hz
    (-0.44, -0.50, -0.07, 1.02, 1.15),  # 1 to 4.5 kHz
    (1.30, 1.24, -0.37, -0.02, 0.22),  # above 4.5 kHz
    (1.20, 1.04, 0.71, -0.03, 0.01),  # all
)
"""The columns: lags of an eighth, a beat, half a bar, a bar and two bars."""

WALTZ_WEIGHT, OCTAVE_WEIGHT, OCTAVE_SQUARED_WEIGHT, PULSE_WEIGHT = (-0.30, 3.57, -0.95, 0.44)
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
