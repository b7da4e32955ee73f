"""WAV headers, read by others."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile

from mismo_grpc.audio.encode import Encoding, sample_bytes, to_pcm
from mismo_grpc.audio.wav import wav_header

ENCODINGS = [Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE]
SUBTYPES = {Encoding.PCM_S16LE: "PCM_16", Encoding.PCM_S24LE: "PCM_24", Encoding.PCM_F32LE: "FLOAT"}
FOUR_GIB = 1 << 32


def chunks(header: bytes) -> dict[bytes, tuple[int, bytes]]:
    """Each chunk's size field and what of its content the header holds."""
    found: dict[bytes, tuple[int, bytes]] = {}
    at = 12
    while at < len(header):
        name, size = struct.unpack_from("<4sI", header, at)
        found[name] = size, header[at + 8 : at + 8 + size]
        at += 8 + (0 if name == b"data" else size)
    return found


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [0, 1, 1001])
def test_other_readers_find_what_was_written(
    tmp_path: Any, ffmpeg: Callable[..., Any], encoding: Encoding, channels: int, frames: int
) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (frames, channels)).astype(np.float32)
    content = to_pcm(samples, encoding).tobytes()
    path = tmp_path / "a.wav"
    path.write_bytes(wav_header(encoding, frames, 48000, channels) + content + bytes(len(content) % 2))

    info = soundfile.info(path)
    read, _ = soundfile.read(path, dtype="float32", always_2d=True)

    assert (info.frames, info.samplerate, info.channels) == (frames, 48000, channels)
    assert (info.format, info.subtype) == ("WAV", SUBTYPES[encoding])
    np.testing.assert_allclose(read, samples, rtol=0, atol=0 if encoding is Encoding.PCM_F32LE else 1e-4)
    np.testing.assert_array_equal(ffmpeg(path, channels), read)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sizes_fit_the_whole_file(encoding: Encoding) -> None:
    header = wav_header(encoding, 1001, 44100, 1)
    data = 1001 * sample_bytes(encoding)

    assert struct.unpack_from("<I", header, 4) == (len(header) - 8 + data + data % 2,)
    assert struct.unpack_from("<I", header, len(header) - 4) == (data,)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_its_length_depends_on_the_encoding_alone_and_is_even(encoding: Encoding) -> None:
    lengths = {
        len(wav_header(encoding, frames, rate, channels))
        for frames in (0, 1, 10**6, FOUR_GIB)
        for rate in (8000, 192_000)
        for channels in (1, 2)
    }

    assert len(lengths) == 1
    assert lengths.pop() % 2 == 0


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_becomes_rf64_where_the_file_passes_four_gib(encoding: Encoding) -> None:
    frame = 2 * sample_bytes(encoding)
    header_bytes = len(wav_header(encoding, 0, 44100, 2))
    last = (FOUR_GIB - 2 + 8 - header_bytes) // frame

    below, above = (wav_header(encoding, frames, 44100, 2) for frames in (last, last + 1))

    assert below[:4] == b"RIFF"
    assert chunks(below)[b"data"][0] == last * frame
    assert above[:8] == b"RF64\xff\xff\xff\xff"
    assert chunks(above)[b"data"][0] == 0xFFFF_FFFF
    riff, data, frames, table = struct.unpack("<QQQI", chunks(above)[b"ds64"][1])
    assert (riff, data, frames, table) == (header_bytes - 8 + data, (last + 1) * frame, last + 1, 0)
    assert b"JUNK" in chunks(below)
    assert b"JUNK" not in chunks(above)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_other_readers_understand_the_large_form(tmp_path: Any, encoding: Encoding) -> None:
    """A sparse file: five gibibytes by its length, a few pages on the disk."""
    frames = 5 * FOUR_GIB // 4 // (2 * sample_bytes(encoding))
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.write(wav_header(encoding, frames, 44100, 2))
        file.truncate(file.tell() + frames * 2 * sample_bytes(encoding))
        file.seek(-2 * sample_bytes(encoding), io.SEEK_END)
        file.write(to_pcm(np.array([[0.5, -0.5]], np.float32), encoding).tobytes())

    with soundfile.SoundFile(path) as sound:
        assert (sound.frames, sound.format, sound.subtype) == (frames, "RF64", SUBTYPES[encoding])
        sound.seek(frames - 1)
        np.testing.assert_allclose(sound.read(1), [[0.5, -0.5]], atol=1e-4)


def test_flac_has_no_such_header() -> None:
    with pytest.raises(ValueError, match="FLAC"):
        wav_header(Encoding.FLAC, 1, 44100, 2)
