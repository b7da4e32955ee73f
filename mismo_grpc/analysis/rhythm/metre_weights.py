"""The weights of the features of a metrical hypothesis.

Fitted to composed songs (`mismo_grpc.generation`) by multinomial logistic regression over the hypotheses of each song,
with an L2 penalty; the features of `mismo_grpc.analysis.rhythm.metre`. The fit is that of `training.metre`.
"""

from __future__ import annotations

import numpy as np

PLACE_WEIGHTS = (
    (0.09, 0.21, 1.01, -0.41, 1.09),  # beats against eighth offbeats
    (-0.69, 1.05, -0.06, 0.70, 0.60),  # eighth offbeats against the other sixteenths
    (1.54, 1.20, 0.95, 2.95, 0.20),  # beats against the mean of all frames
    (3.51, 3.36, -1.14, 0.06, 4.11),  # the downbeat against all beats
    (-1.07, -0.38, 1.38, 1.09, -0.60),  # 4/4: beats 2 and 4 against all beats
    (-0.55, -0.44, -1.19, -1.75, -0.49),  # 4/4: beat 3 against all beats
    (-0.43, -0.70, 0.40, 0.87, -0.29),  # 3/4: beat 2 against beat 3
)
"""The columns: onsets below 160 Hz, to 1 kHz, to 4.5 kHz and above, change of harmony."""

CORRELATION_WEIGHTS = (
    (-1.92, 0.24, 0.50, 1.32, -0.64),  # below 160 Hz
    (-0.63, -0.86, -0.75, 1.61, 1.53),  # 1 to 4.5 kHz
    (1.67, 1.54, -1.35, -0.09, 0.30),  # above 4.5 kHz
    (1.58, 1.21, 0.61, -0.06, -0.10),  # all
)
"""The columns: lags of an eighth, a beat, half a bar, a bar and two bars."""

WALTZ_WEIGHT, OCTAVE_WEIGHT, OCTAVE_SQUARED_WEIGHT, PULSE_WEIGHT = (-1.05, 3.53, -1.50, 0.41)
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
