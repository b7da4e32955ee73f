"""Samples as PCM bytes and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mismo_grpc.audio.encode import Encoding, convert_pcm, from_pcm, pcm_integers, sample_bytes, to_pcm

S16, S24, F32 = Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE

finite = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 40), st.integers(1, 6)), elements=st.floats(-2, 2, width=32)
)
anything = hnp.arrays(np.float32, st.tuples(st.integers(0, 40), st.integers(1, 2)))


def packed(channels: st.SearchStrategy[int], width: int) -> st.SearchStrategy[tuple[bytes, int]]:
    return channels.flatmap(
        lambda n: st.integers(0, 30).flatmap(
            lambda frames: st.binary(min_size=frames * n * width, max_size=frames * n * width).map(
                lambda b: (b, n)
            )
        )
    )


@given(samples=finite)
def test_16_bits_are_what_demucs_writes(samples: npt.NDArray[np.float32]) -> None:
    demucs = (np.clip(samples, -1, 1) * (2**15 - 1)).astype("<i2").tobytes()

    assert to_pcm(samples, S16).tobytes() == demucs


@given(samples=finite)
def test_24_bits_are_what_demucs_writes(samples: npt.NDArray[np.float32]) -> None:
    integers = (np.clip(samples, -1, 1) * (2**23 - 1)).astype("<i4")
    demucs = b"".join(int(v).to_bytes(3, "little", signed=True) for v in integers.reshape(-1))

    assert to_pcm(samples, S24).tobytes() == demucs


@given(samples=anything)
def test_floats_pass_through_bit_by_bit(samples: npt.NDArray[np.float32]) -> None:
    content = to_pcm(samples, F32)

    assert content.tobytes() == samples.tobytes()
    assert from_pcm(content, F32, samples.shape[1]).tobytes() == samples.tobytes()


@given(samples=anything, encoding=st.sampled_from([S16, S24]))
def test_integers_stay_near_whatever_comes(samples: npt.NDArray[np.float32], encoding: Encoding) -> None:
    """Full scale is the limit, NaN is silence, and there and back costs two steps at most."""
    back = from_pcm(to_pcm(samples, encoding), encoding, samples.shape[1])

    expected = np.clip(np.nan_to_num(samples, nan=0.0, posinf=1, neginf=-1), -1, 1)
    assert back.shape == samples.shape
    np.testing.assert_allclose(back, expected, rtol=0, atol=2 * 2.0 ** (1 - 8 * sample_bytes(encoding)))


@pytest.mark.parametrize("encoding", [S16, S24, F32])
def test_other_readers_get_the_same_samples(tmp_path: Any, encoding: Encoding) -> None:
    from mismo_grpc.audio.wav import wav_header

    samples = np.random.default_rng(1).uniform(-1, 1, (500, 2)).astype(np.float32)
    content = to_pcm(samples, encoding)
    path = tmp_path / "a.wav"
    path.write_bytes(wav_header(encoding, 500, 44100, 2) + content.tobytes())

    read, _ = soundfile.read(path, dtype="float32")

    np.testing.assert_array_equal(from_pcm(content, encoding, 2), read)


def test_neither_order_in_memory_nor_the_input_is_changed() -> None:
    planar = np.random.default_rng(1).uniform(-2, 2, (2, 100)).astype(np.float32)
    kept = planar.copy()

    for encoding in (S16, S24, F32):
        assert (
            to_pcm(planar.T, encoding).tobytes() == to_pcm(np.ascontiguousarray(planar.T), encoding).tobytes()
        )
    np.testing.assert_array_equal(planar, kept)


def test_floats_in_order_are_not_copied() -> None:
    samples = np.zeros((10, 2), np.float32)

    assert np.shares_memory(to_pcm(samples, F32), samples)


@given(content=packed(st.integers(1, 3), 2))
def test_16_bits_widen_exactly_and_come_back(content: tuple[bytes, int]) -> None:
    narrow, channels = content
    wide = convert_pcm(narrow, S16, S24, channels)

    assert len(wide) == len(narrow) // 2 * 3
    np.testing.assert_array_equal(from_pcm(wide, S24, channels), from_pcm(narrow, S16, channels))
    assert convert_pcm(wide, S24, S16, channels) == narrow


@given(content=packed(st.integers(1, 3), 3))
def test_24_bits_are_exact_as_floats(content: tuple[bytes, int]) -> None:
    stored, channels = content
    floats = from_pcm(stored, S24, channels)

    assert convert_pcm(stored, S24, F32, channels) == floats.tobytes()
    assert ((floats * 2**23).astype(np.int32) == pcm_integers(stored, S24, channels)).all()


@given(samples=finite, encoding=st.sampled_from([S16, S24]))
def test_floats_convert_as_they_are_first_written(
    samples: npt.NDArray[np.float32], encoding: Encoding
) -> None:
    content = to_pcm(samples, F32).tobytes()

    assert convert_pcm(content, F32, encoding, samples.shape[1]) == to_pcm(samples, encoding).tobytes()


@given(samples=finite)
def test_integers_for_a_lossless_codec_are_those_of_the_encoding(samples: npt.NDArray[np.float32]) -> None:
    channels = samples.shape[1]
    s16, s24 = to_pcm(samples, S16), to_pcm(samples, S24)

    assert pcm_integers(s16, S16, channels).dtype == np.int16
    assert pcm_integers(s16, S16, channels).tobytes() == s16.tobytes()
    assert (pcm_integers(s24, S24, channels) == pcm_integers(to_pcm(samples, F32), F32, channels)).all()


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)])
@pytest.mark.parametrize("encoding", [S16, S24, F32])
def test_any_buffer_will_do(make: Any, encoding: Encoding) -> None:
    content = to_pcm(np.array([[0.25, -0.5], [1, -1]], np.float32), encoding).tobytes()
    buffer = make(content)

    assert from_pcm(buffer, encoding, 2).tobytes() == from_pcm(content, encoding, 2).tobytes()
    for other in (S16, S24, F32):
        assert convert_pcm(buffer, encoding, other, 2) == convert_pcm(content, encoding, other, 2)


def test_flac_has_no_sample_size_and_half_frames_are_refused() -> None:
    for refused in (
        lambda: sample_bytes(Encoding.FLAC),
        lambda: to_pcm(np.zeros((1, 2), np.float32), Encoding.FLAC),
        lambda: from_pcm(b"\0\0\0\0", Encoding.FLAC, 2),
        lambda: pcm_integers(b"\0\0\0\0", Encoding.FLAC, 2),
        lambda: convert_pcm(b"\0\0\0\0", S16, Encoding.FLAC, 2),
        lambda: from_pcm(b"\0\0\0", S16, 1),
        lambda: from_pcm(b"\0\0", S16, 2),
        lambda: from_pcm(b"\0\0\0", S24, 2),
        lambda: pcm_integers(b"\0\0", S24, 1),
    ):
        with pytest.raises(ValueError, match=r"."):
            refused()


def test_full_scale_is_reached_on_both_sides() -> None:
    samples = np.array([[1.0], [-1.0], [math.inf], [-math.inf], [math.nan]], np.float32)

    assert to_pcm(samples, S16).view("<i2").tolist() == [32767, -32767, 32767, -32767, 0]
