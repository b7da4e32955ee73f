"""The weights of the features of a metrical hypothesis.

Fitted to composed songs (`mismo_grpc.generation`) by multinomial logistic regression over the hypotheses of each song,
with an L2 penalty; the features of `mismo_grpc.analysis.rhythm.metre`.
"""

from __future__ import annotations

import numpy as np

PLACE_WEIGHTS = (
    (0.25, 0.12, 0.71, -0.25, 0.77),  # beats against eighth offbeats
    (-0.34, 0.82, -0.27, 0.60, -0.01),  # eighth offbeats against the other sixteenths
    (0.71, 0.82, 0.96, 1.54, 0.26),  # beats against the mean of all frames
    (1.92, 2.16, -0.21, -0.22, 2.99),  # the downbeat against all beats
    (-0.70, -0.62, 0.71, 0.68, -0.73),  # 4/4: beats 2 and 4 against all beats
    (-0.18, -0.35, -1.07, -1.05, -0.58),  # 4/4: beat 3 against all beats
    (-0.41, -0.61, 1.01, 0.56, 0.03),  # 3/4: beat 2 against beat 3
)
"""The columns: onsets below 160 Hz, to 1 kHz, to 4.5 kHz and above, change of harmony."""

CORRELATION_WEIGHTS = (
    (-0.18, 0.48, 0.23, 0.75, -0.36),  # below 160 Hz
    (0.13, -0.23, -0.16, 0.68, 0.79),  # 1 to 4.5 kHz
    (0.92, 0.56, -0.11, 0.18, 0.26),  # above 4.5 kHz
    (0.82, 0.65, 0.21, 0.16, 0.15),  # all
)
"""The columns: lags of an eighth, a beat, half a bar, a bar and two bars."""

WALTZ_WEIGHT, OCTAVE_WEIGHT, OCTAVE_SQUARED_WEIGHT, PULSE_WEIGHT = (-0.74, 2.57, -1.21, 0.47)
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
