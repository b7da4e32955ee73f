"""FLAC that can be entered at any block, read by others."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mismo_grpc.audio.decode import decode_blocks
from mismo_grpc.audio.flac import BLOCK_FRAMES, FlacBlocks

Integers = npt.NDArray[Any]
LAST_BLOCK = (1 << 31) - 1


def music(frames: int, channels: int = 2, bits: int = 16, seed: int = 0) -> Integers:
    """Tones and noise, at times silent, at times at full scale, so that every kind of subframe is used."""
    rng = np.random.default_rng(seed)
    at = np.arange(frames)[:, None]
    sound = 0.4 * np.sin(at * (0.01 + 0.013 * np.arange(channels))) + rng.normal(0, 0.02, (frames, channels))
    sound[at[:, 0] // 3000 % 3 == 1] = 0
    sound[at[:, 0] // 3000 % 5 == 3] *= 50
    full = 2 ** (bits - 1)
    return np.clip(sound * full, -full, full - 1).astype(np.int16 if bits == 16 else np.int32)


class Sequential(soundfile.SoundFile):
    """Reads on without seeking: a stream that was entered in the middle begins at a place past its own length."""

    def seekable(self) -> bool:
        return False


def read(stream: bytes, frames: int, bits: int = 16) -> Integers:
    """With libFLAC."""
    with Sequential(io.BytesIO(stream)) as sound:
        samples: Integers = sound.read(frames, dtype="int16" if bits == 16 else "int32", always_2d=True)
    return samples if bits == 16 else samples >> 8


def as_floats(pcm: Integers, bits: int) -> npt.NDArray[np.float32]:
    return (pcm / 2 ** (bits - 1)).astype(np.float32)


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [1, 15, 4095, 4096, 4097, 50_000])
def test_is_lossless_for_every_decoder(
    ffmpeg: Callable[..., Any], bits: Literal[16, 24], channels: int, frames: int
) -> None:
    pcm = music(frames, channels, bits)
    blocks = FlacBlocks(44100, channels, bits)
    stream = blocks.stream_header(frames) + blocks.encode(pcm, 0)

    np.testing.assert_array_equal(read(stream, frames, bits), pcm)
    np.testing.assert_array_equal(ffmpeg(stream, channels, "flac"), as_floats(pcm, bits))


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("first", [1, 5, 11])
def test_can_be_entered_at_any_block(ffmpeg: Callable[..., Any], bits: Literal[16, 24], first: int) -> None:
    pcm = music(50_000, 2, bits)
    rest = pcm[first * BLOCK_FRAMES :]
    blocks = FlacBlocks(44100, 2, bits)
    stream = blocks.stream_header(len(pcm)) + blocks.encode(rest, first)

    np.testing.assert_array_equal(read(stream, len(rest), bits), rest)
    np.testing.assert_array_equal(ffmpeg(stream, 2, "flac"), as_floats(rest, bits))


@pytest.mark.parametrize("rate", [1, 8000, 22_050, 44_100, 48_000, 96_000, 192_000, 37_800, 655_350])
def test_rates_with_and_without_a_code_of_their_own(rate: int) -> None:
    """A rate may stand in the block's header after the number, which moves what is rewritten."""
    pcm = music(10_000)
    blocks = FlacBlocks(rate, 2)
    stream = blocks.stream_header(len(pcm)) + blocks.encode(pcm[:8192], 0) + blocks.encode(pcm[8192:], 2)

    assert soundfile.info(io.BytesIO(stream)).samplerate == rate
    np.testing.assert_array_equal(read(stream, len(pcm)), pcm)


@given(data=st.data(), frames=st.integers(1, 60_000))
@settings(max_examples=40)
def test_parts_encoded_in_any_order_make_the_same_stream(data: st.DataObject, frames: int) -> None:
    pcm = music(frames)
    blocks = FlacBlocks(44100, 2)
    total = -(-frames // BLOCK_FRAMES)
    cuts = sorted({0, total, *data.draw(st.lists(st.integers(0, total), max_size=5))})
    parts = list(pairwise(cuts))

    encoded = {
        (first, last): blocks.encode(pcm[first * BLOCK_FRAMES : last * BLOCK_FRAMES], first)
        for first, last in data.draw(st.permutations(parts))
    }

    assert b"".join(encoded[part] for part in parts) == blocks.encode(pcm, 0)


def test_blocks_are_encoded_on_several_threads_at_once() -> None:
    pcm = music(400_000)
    blocks = FlacBlocks(44100, 2)
    steps = range(0, len(pcm), 8 * BLOCK_FRAMES)

    with ThreadPoolExecutor(6) as threads:
        parts = threads.map(
            lambda at: blocks.encode(pcm[at : at + 8 * BLOCK_FRAMES], at // BLOCK_FRAMES), steps
        )
        stream = b"".join(parts)

    assert stream == blocks.encode(pcm, 0)


NUMBER_GROWS = [1 << bits for bits in (7, 11, 16, 21, 26)]


@given(
    first=st.integers(0, LAST_BLOCK - 2)
    | st.sampled_from(NUMBER_GROWS).flatmap(lambda n: st.integers(n - 3, n))
)
@settings(max_examples=60)
def test_any_number_and_both_checksums_are_right(first: int) -> None:
    """libFLAC drops a block whose header or content does not fit its checksum."""
    pcm = music(BLOCK_FRAMES * 2 + 77)
    blocks = FlacBlocks(48000, 2)
    encoded = blocks.encode_blocks(pcm, first)

    assert len(encoded) == 3
    np.testing.assert_array_equal(read(blocks.stream_header(0) + b"".join(encoded), len(pcm)), pcm)
    for i, block in enumerate(encoded):
        assert crc(block[:-2], 0x8005, 16) == int.from_bytes(block[-2:], "big")
        header_bytes = (
            4 + len(number(first + i)) + (1 if i == 2 else 0)
        )  # The short block's size takes a byte.
        assert block[4:].startswith(number(first + i))
        assert crc(block[:header_bytes], 0x07, 8) == block[header_bytes]


def number(value: int) -> bytes:
    """As UTF-8 codes it, carried on to 31 bits."""
    if value < 0x80:
        return bytes([value])
    for length in range(2, 7):
        if value < 1 << (5 * length + 1):
            lead = (0xFF << (8 - length)) & 0xFF | value >> (6 * (length - 1))
            return bytes([lead, *(0x80 | value >> (6 * k) & 0x3F for k in reversed(range(length - 1)))])
    raise AssertionError(value)


def crc(content: bytes, polynomial: int, width: int) -> int:
    """Bit by bit, as the definition has it."""
    value = 0
    for byte in content:
        for bit in range(7, -1, -1):
            value = value << 1 ^ (polynomial if (value >> (width - 1) ^ byte >> bit) & 1 else 0)
            value &= (1 << width) - 1
    return value


def test_a_whole_stream_can_be_sought_in(studio: Any) -> None:
    pcm = music(300_000)
    blocks = FlacBlocks(44100, 2)
    path = studio.file("a.flac", blocks.stream_header(len(pcm)) + blocks.encode(pcm, 0))

    with soundfile.SoundFile(path) as sound:
        for at in (250_000, 1, 123_456, 299_999, 0):
            sound.seek(at)
            np.testing.assert_array_equal(sound.read(100, dtype="int16"), pcm[at : at + 100])
    np.testing.assert_array_equal(np.concatenate(list(decode_blocks(path, 44100))), as_floats(pcm, 16))


def test_the_header_is_of_one_length_and_tells_the_format() -> None:
    header = FlacBlocks(44100, 2, 24).stream_header(12345)
    info = soundfile.info(io.BytesIO(header + FlacBlocks(44100, 2, 24).encode(music(12345, 2, 24), 0)))

    assert len(header) == 42
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (12345, 44100, 2, "PCM_24")
    assert len(FlacBlocks(44100, 2).stream_header(1 << 40)) == 42


def test_music_becomes_smaller() -> None:
    pcm = music(100_000)

    assert len(FlacBlocks(44100, 2).encode(pcm, 0)) < pcm.nbytes * 0.8


def test_no_samples_make_no_blocks() -> None:
    assert FlacBlocks(44100, 2).encode_blocks(music(0), 7) == []


def test_what_cannot_be_encoded_is_refused() -> None:
    stereo = FlacBlocks(44100, 2)
    for refused in (
        lambda: FlacBlocks(44100, 3),
        lambda: FlacBlocks(44100, 2, 32),  # pyright: ignore[reportArgumentType]
        lambda: FlacBlocks(0, 2),
        lambda: FlacBlocks(655_351, 2),
        lambda: stereo.encode(music(100, 1), 0),
        lambda: stereo.encode(music(100, 2, 24), 0),
        lambda: stereo.encode(music(100)[:, 0], 0),
        lambda: stereo.encode(music(100), -1),
        lambda: stereo.encode(music(4097), LAST_BLOCK),
    ):
        with pytest.raises(ValueError, match=r"."):
            refused()
