"""A decoder gets as many frames out of an MP3 file as the stem has, each in its place."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.exports.mp3_file import BIT_RATES, MP3_RATES, mp3_bytes_at_most, write_mp3
from mismo_grpc.audio.exports.pcm_source import BLOCK_FRAMES
from tests.unit.audio.exports.pieces import Samples, lag, noise, samples_of, source_of

FRAMES = BLOCK_FRAMES + 1234


def mp3_of(source: Any, kbps: int = 320) -> bytes:
    file = io.BytesIO()
    write_mp3(source, file, kbps)
    return file.getvalue()


Decode = Callable[[bytes, int], Samples]


@pytest.fixture
def decoded_mp3(ffmpeg: Callable[..., Any], tmp_path: Path) -> Decode:
    """What ffmpeg decodes of a file: of a pipe it does not know the end, and keeps the padding."""

    def decode(content: bytes, channels: int) -> Samples:
        path = tmp_path / "x.mp3"
        path.write_bytes(content)
        return ffmpeg(path, channels, "mp3")

    return decode


@pytest.mark.parametrize("encoding", [Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", MP3_RATES)
def test_every_rate_decodes_to_the_same_frames_in_their_place(
    decoded_mp3: Decode, rate: int, channels: int, encoding: Encoding
) -> None:
    source = source_of(noise(FRAMES, channels), rate, encoding)
    content = mp3_of(source)
    decoded = decoded_mp3(content, channels)
    assert len(decoded) == FRAMES
    assert lag(decoded, samples_of(source)) == 0
    assert len(content) <= mp3_bytes_at_most(source, 320)


@pytest.mark.parametrize("frames", [1, 46, 47, 500, 1151, 1152, 1153, 1198, 2304, 44_100])
def test_short_stems_have_their_length(decoded_mp3: Decode, frames: int) -> None:
    assert len(decoded_mp3(mp3_of(source_of(noise(frames))), 2)) == frames


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
@pytest.mark.parametrize("extra", range(0, 1200, 23))
def test_every_padding_is_right(decoded_mp3: Decode, rate: int, extra: int) -> None:
    frames = 3000 + extra
    assert len(decoded_mp3(mp3_of(source_of(noise(frames), rate)), 2)) == frames


@pytest.mark.parametrize("kbps", BIT_RATES)
def test_the_bit_rate_is_the_one_asked_for(kbps: int) -> None:
    seconds = 10
    source = source_of(noise(44_100 * seconds))
    content = mp3_of(source, kbps)
    assert len(content) == pytest.approx(kbps * 125 * seconds, rel=0.03)
    assert len(content) <= mp3_bytes_at_most(source, kbps)


def test_floats_over_full_scale_do_no_harm(decoded_mp3: Decode) -> None:
    source = source_of(noise(FRAMES, level=0.9), encoding=Encoding.PCM_F32LE)
    assert np.abs(samples_of(source)).max() > 1
    decoded = decoded_mp3(mp3_of(source), 2)
    assert np.isfinite(decoded).all()
    assert lag(decoded, samples_of(source)) == 0


def test_the_same_samples_give_the_same_bytes() -> None:
    assert mp3_of(source_of(noise(FRAMES))) == mp3_of(source_of(noise(FRAMES)))


@pytest.mark.parametrize("rate", [88_200, 96_000, 1000])
def test_a_rate_that_the_format_lacks_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match=f"{rate} Hz"):
        mp3_of(source_of(noise(100), rate))
