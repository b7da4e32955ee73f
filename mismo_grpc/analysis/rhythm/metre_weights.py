"""The weights of the features of a metrical hypothesis.

Fitted to composed songs (`mismo_grpc.generation`) by multinomial logistic regression over the hypotheses of each song,
with an L2 penalty; the features of `mismo_grpc.analysis.rhythm.metre`. Written by `training.metre`.
"""

from __future__ import annotations

import numpy as np

PLACE_WEIGHTS = (
    (0.21, 0.16, 1.06, -0.33, 0.62),  # beats against eighth offbeats
    (-0.15, 0.51, -0.60, 0.03, 0.30),  # eighth offbeats against the other sixteenths
    (3.01, 2.00, 2.14, 4.61, 0.66),  # beats against the mean of all frames
    (3.67, 4.91, 0.26, 0.57, 3.65),  # the downbeat against all beats
    (-1.53, -0.70, 1.16, 0.96, -0.47),  # 4/4: beats 2 and 4 against all beats
    (-0.90, -1.09, -2.42, -2.09, -1.29),  # 4/4: beat 3 against all beats
    (-1.62, -0.87, 3.05, 1.82, 0.02),  # 3/4: beat 2 against beat 3
)
"""The columns: onsets below 160 Hz, to 1 kHz, to 4.5 kHz and above, change of harmony."""

CORRELATION_WEIGHTS = (
    (-1.60, 1.15, -0.90, 0.78, 0.21),  # below 160 Hz
    (0.84, -0.85, 1.76, 2.92, 1.51),  # 1 to 4.5 kHz
    (1.33, 1.40, -1.69, 1.19, 0.37),  # above 4.5 kHz
    (2.51, 1.90, 0.89, 0.67, -0.42),  # all
)
"""The columns: lags of an eighth, a beat, half a bar, a bar and two bars."""

WALTZ_WEIGHT, OCTAVE_WEIGHT, OCTAVE_SQUARED_WEIGHT, PULSE_WEIGHT = (-1.79, 5.93, -1.10, 0.77)
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
