"""A whole FLAC file has exactly the stem's samples, and says how many there are and what their hash is."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mismo_grpc.audio.encode import Encoding, pcm_integers
from mismo_grpc.audio.exports.flac_file import flac_bytes_at_most, write_flac
from mismo_grpc.audio.exports.pcm_source import BLOCK_FRAMES
from tests.unit.audio.exports.pieces import noise, source_of

RATES = [22_050, 32_000, 44_100, 48_000, 88_200, 96_000]
FRAMES = BLOCK_FRAMES + 4097


def flac_of(source: Any) -> bytes:
    file = io.BytesIO()
    write_flac(source, file)
    return file.getvalue()


@pytest.mark.parametrize("encoding", [Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_every_form_of_stems_is_lossless(
    ffmpeg: Callable[..., Any], rate: int, channels: int, encoding: Encoding
) -> None:
    # Some samples are over full scale: those of floats are clipped, as the integers are.
    source = source_of(noise(FRAMES, channels, level=0.4), rate, encoding)
    content = flac_of(source)
    bits = 16 if encoding is Encoding.PCM_S16LE else 24
    expected = pcm_integers(source.read(0, FRAMES), encoding, channels)
    with soundfile.SoundFile(io.BytesIO(content)) as sound:
        assert (sound.samplerate, sound.channels, sound.frames) == (rate, channels, FRAMES)
        assert sound.subtype == ("PCM_16" if bits == 16 else "PCM_24")
        samples: Any = np.asarray(sound.read(dtype="int16" if bits == 16 else "int32", always_2d=True))
    np.testing.assert_array_equal(samples if bits == 16 else samples >> 8, expected)
    floats = (expected / 2 ** (bits - 1)).astype(np.float32)
    np.testing.assert_array_equal(ffmpeg(content, channels, "flac"), floats)
    assert len(content) <= flac_bytes_at_most(source)


@pytest.mark.parametrize("encoding", [Encoding.PCM_S16LE, Encoding.PCM_S24LE])
def test_the_header_has_the_md5_of_the_samples(encoding: Encoding) -> None:
    source = source_of(noise(FRAMES), encoding=encoding)
    content = flac_of(source)
    # RFC 9639, 8.2: the samples as they are in a WAV file of whole bytes.
    assert content[26:42] == hashlib.md5(source.read(0, FRAMES)).digest()
    assert int.from_bytes(content[21:26], "big") & (1 << 36) - 1 == FRAMES


def test_the_seek_table_leads_to_the_frames_that_it_names(tmp_path: Path) -> None:
    samples = noise(44_100 * 65, 1)
    content = flac_of(source_of(samples))
    assert content[42] == 0x83, "the last metadata block is the seek table"
    size = int.from_bytes(content[43:46], "big")
    points = [content[at : at + 18] for at in range(46, 46 + size, 18)]
    assert len(points) == 7
    for point in points:
        frame, offset = int.from_bytes(point[:8], "big"), int.from_bytes(point[8:16], "big")
        start = 46 + size + offset
        assert content[start : start + 2] == b"\xff\xf8"
        assert frame % 4096 == 0
    path = tmp_path / "x.flac"
    path.write_bytes(content)
    with soundfile.SoundFile(path) as sound:
        sound.seek(44_100 * 42 + 7)
        found = sound.read(1000, dtype="float32")
    np.testing.assert_allclose(found, samples[44_100 * 42 + 7 :][:1000, 0], atol=2 / 32767)


@pytest.mark.parametrize("frames", [1, 15, 4096, BLOCK_FRAMES])
def test_short_stems(frames: int) -> None:
    source = source_of(noise(frames))
    samples, _ = soundfile.read(io.BytesIO(flac_of(source)), dtype="int16", always_2d=True)
    np.testing.assert_array_equal(samples, pcm_integers(source.read(0, frames), source.encoding, 2))


def test_noise_at_full_scale_stays_below_the_announced_size() -> None:
    samples = np.sign(np.random.default_rng(1).standard_normal((FRAMES, 2))).astype(np.float32)
    samples[:, 1] *= -1
    samples *= np.random.default_rng(2).uniform(0, 1, (FRAMES, 2)).astype(np.float32)
    source = source_of(samples, encoding=Encoding.PCM_S24LE)
    assert len(flac_of(source)) <= flac_bytes_at_most(source)


def test_whoever_asks_to_stop_is_asked_before_each_block() -> None:
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        write_flac(source_of(noise(10 * BLOCK_FRAMES)), io.BytesIO(), check)
