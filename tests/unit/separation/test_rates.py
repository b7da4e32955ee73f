from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.rates import OUTPUT_RATES, RateConverter, Samples

RATE = 44100


def tone(hertz: float, rate: int, frames: int) -> Samples:
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(frames) / rate)
    return np.stack([wave, -wave], axis=1).astype(np.float32)[None]


def convert_all(converter: RateConverter, samples: Samples) -> Samples:
    parts = [converter.convert(g, samples[:, slice(*converter.needs(g))]) for g in range(converter.groups)]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("rate", [r for r in OUTPUT_RATES if r != RATE])
@pytest.mark.parametrize("frames", [1, 4_000, 50_001])
def test_a_tone_keeps_its_place_pitch_and_level(rate: int, frames: int) -> None:
    converter = RateConverter(RATE, rate, frames)
    got = convert_all(converter, tone(1000, RATE, frames))
    assert got.shape == (1, max(1, int(frames * rate / RATE + 0.5)), 2)
    edge = rate // 100
    inside = slice(edge, -edge)
    wanted = tone(1000, rate, converter.output_frames)
    assert np.abs(got[:, inside] - wanted[:, inside]).max(initial=0) < 1e-4


def test_what_the_lower_rate_cannot_hold_vanishes() -> None:
    converter = RateConverter(RATE, 22050, RATE)
    assert np.abs(convert_all(converter, tone(15_000, RATE, RATE))[:, 500:-500]).max() < 1e-4


@given(st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 30_000)), max_size=4))
def test_a_group_is_computable_exactly_when_its_input_is_final(ranges: list[tuple[int, int]]) -> None:
    converter = RateConverter(RATE, 48000, 30_000)
    final = RangeSet(ranges)
    found = converter.computable(final, RangeSet())
    assert found == [g for g in range(converter.groups) if final.covers(*converter.needs(g))]
    first = RangeSet([converter.span(0)])
    assert converter.computable(final, first) == [g for g in found if g != 0]


def test_groups_fill_the_track() -> None:
    converter = RateConverter(RATE, 96000, 123_457)
    spans = [converter.span(g) for g in range(converter.groups)]
    assert RangeSet(spans) == RangeSet([(0, converter.output_frames)])
    assert sum(end - start for start, end in spans) == converter.output_frames
