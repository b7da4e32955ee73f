"""Compares what a browser played with the server's audio."""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt

from mismo.analysis.v1 import job_pb2
from tests.service.conftest import Server

Samples = npt.NDArray[np.float64]

HALF_A_STEP = 0.5 / 32768
"""Of 16-bit samples."""
FADE_FRAMES = 1024
"""Where a stretch begins or ends, the player fades within fewer frames."""


def tape(text: str) -> Samples:
    """A track of tools.js."""
    return np.frombuffer(base64.b64decode(text), np.float32).astype(np.float64)


async def left_of(server: Server, job: job_pb2.Job, stem: str) -> Samples:
    """The left channel of a stem as the API sends it."""
    data = await server.client.read_stem(job.job_id, stem)
    return np.frombuffer(data, "<i2").reshape(-1, 2)[:, 0] / 32768


def place_of(expected: Samples, heard: Samples) -> int:
    """Where `expected` begins on a tape; fails unless it is there sample by sample, but for a fade at its start."""
    probe = expected[FADE_FRAMES : FADE_FRAMES + 256]
    places = np.arange(len(heard) - len(probe) + 1)
    for offset, sample in enumerate(probe):
        places = places[np.abs(heard[places + offset] - sample) < HALF_A_STEP]
    assert len(places) > 0, "it is not on the tape"
    at = int(places[0]) - FADE_FRAMES
    assert at >= 0, "the tape begins too late"
    heard_there = heard[at + FADE_FRAMES : at + len(expected)]
    assert len(heard_there) == len(expected) - FADE_FRAMES, "the tape ends too early"
    assert np.abs(heard_there - expected[FADE_FRAMES:]).max() < HALF_A_STEP
    return at
