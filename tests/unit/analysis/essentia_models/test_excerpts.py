"""The excerpts of a track that the models take: they cover it, are bounded, and never hold what is not audio."""

from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.analysis.essentia_models.excerpts import (
    BATCH,
    FRAME,
    HOP,
    LENGTH,
    MODEL_RATE,
    MOST,
    PATCH_FRAMES,
    PATCH_HOP_FRAMES,
    SHORTEST,
    STEP,
    excerpts,
)
from tests.unit.analysis.signals import silence, tone


def test_an_excerpt_is_a_batch_and_the_next_one_goes_on_with_the_next_patch() -> None:
    frames = (LENGTH - FRAME) // HOP + 1
    assert (frames - PATCH_FRAMES) // PATCH_HOP_FRAMES + 1 == BATCH
    assert STEP == BATCH * PATCH_HOP_FRAMES * HOP


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_excerpts_are_mono_at_the_rate_of_the_models(rate: int) -> None:
    (excerpt,) = excerpts(tone(-6, 10, rate, hz=1000), rate)
    assert excerpt.ndim == 1
    assert len(excerpt) == pytest.approx(10 * MODEL_RATE, abs=1)
    spectrum = np.abs(np.fft.rfft(excerpt * np.hanning(len(excerpt))))
    assert spectrum.argmax() * MODEL_RATE / len(excerpt) == pytest.approx(1000, abs=1)


@pytest.mark.parametrize(("minutes", "count"), [(1, 1), (2, 2), (5, 5), (120, MOST)])
def test_the_number_of_excerpts_is_bounded(minutes: int, count: int) -> None:
    # A view of one sample stands for two hours of audio.
    audio = np.broadcast_to(np.float32(0.1), (minutes * 60 * MODEL_RATE, 2))
    lengths = [len(excerpt) for excerpt in excerpts(audio, MODEL_RATE)]
    assert len(lengths) == count
    assert max(lengths) <= LENGTH


def test_a_long_track_is_covered_from_its_start_to_its_end() -> None:
    minutes = 20
    audio = np.repeat(np.arange(1, minutes + 1, dtype=np.float32) / 100, 60 * MODEL_RATE)
    found = list(excerpts(audio, MODEL_RATE))
    assert found[0][0] == pytest.approx(0.01)
    assert found[-1][-1] == pytest.approx(minutes / 100)
    assert len({round(float(excerpt[0]) * 100) for excerpt in found}) == MOST


@pytest.mark.parametrize("seconds", [0.0, 0.5, 2.0])
def test_a_track_shorter_than_a_patch_has_none(seconds: float) -> None:
    assert list(excerpts(tone(-6, seconds), 48_000)) == []


def test_the_shortest_track_has_one() -> None:
    assert len(list(excerpts(np.full(SHORTEST, 0.1, np.float32), MODEL_RATE))) == 1


@pytest.mark.parametrize(("more", "count"), [(-1, 1), (0, 2)])
def test_a_patch_that_does_not_fit_into_an_excerpt_is_in_the_next_one(more: int, count: int) -> None:
    # A batch of patches, and one patch more that is complete or lacks a sample.
    audio = np.full(STEP + SHORTEST + more, 0.1, np.float32)
    assert len(list(excerpts(audio, MODEL_RATE))) == count


def test_silence_and_what_is_not_a_number_has_none() -> None:
    assert list(excerpts(silence(10), 48_000)) == []
    assert list(excerpts(np.full((480_000, 2), np.nan, np.float32), 48_000)) == []
    audio = tone(-6, 10)
    audio[1000:2000] = np.inf
    (excerpt,) = excerpts(audio, 48_000)
    assert np.isfinite(excerpt).all()
