"""Every format, rate and number of channels, against what the ffmpeg command decodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mismo_grpc.audio.decode import decode_blocks, probe

Samples = npt.NDArray[np.float32]

EXACT = {
    "wav-u8",
    "wav-s16",
    "wav-s24",
    "wav-s32",
    "wav-f32",
    "wav-f64",
    "wav-extensible",
    "rf64",
    "w64",
    "aiff",
    "aifc",
    "caf",
    "flac-16",
    "flac-24",
    "alac",
}
# Decoders of lossy codecs may sum in another order from one version to the next.
TOLERANCE = {"vorbis": 1e-5, "opus": 1e-4, "mp3": 1e-5, "m4a": 1e-5, "adts": 1e-5, "webm": 1e-4}

RATES = {
    "vorbis": (8000, 44100, 48000),
    "opus": (8000, 48000),
    "webm": (48000,),
    "mp3": (8000, 22050, 44100, 48000),
    "m4a": (8000, 44100, 96000),
    "adts": (44100,),
    "alac": (44100,),
    "caf": (44100,),
    "w64": (44100,),
    "rf64": (48000,),
}
MATRIX = [
    (name, rate, channels)
    for name in sorted(EXACT | set(TOLERANCE))
    for rate in RATES.get(name, (8000, 44100, 192000))
    for channels in ((1, 2) if name in {"mp3", "webm"} else (1, 2, 6))
]


def decoded(path: Path, rate: int, channels: int = 2, **options: Any) -> Samples:
    return np.concatenate(list(decode_blocks(path, rate, channels, **options)))


@pytest.mark.parametrize(("name", "rate", "channels"), MATRIX)
def test_decodes_as_the_ffmpeg_command_does(
    studio: Any,
    chord: Callable[..., Samples],
    ffmpeg: Callable[..., Samples],
    name: str,
    rate: int,
    channels: int,
) -> None:
    path = studio.record(name, chord(rate // 5 + 77, rate, channels), rate)
    expected = ffmpeg(path, min(channels, 2))
    if channels == 1:
        expected = np.repeat(expected, 2, axis=1)

    actual = decoded(path, probe(path).sample_rate)

    assert actual.shape == expected.shape
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=TOLERANCE.get(name, 0 if channels <= 2 else 1e-6)
    )


def lag(actual: Samples, original: Samples, reach: int = 64) -> int:
    """By how many frames `actual` is late, as far as `reach`."""
    middle = original[reach:-reach]
    errors = [
        np.sum((actual[reach + late :][: len(middle)] - middle) ** 2) for late in range(-reach, reach + 1)
    ]
    return int(np.argmin(errors)) - reach


@pytest.mark.parametrize("name", sorted(EXACT | {"mp3", "opus"}))
@pytest.mark.parametrize("frames", [1, 1023, 4096, 30_000])
def test_decodes_as_many_frames_as_were_encoded(
    studio: Any, chord: Callable[..., Samples], name: str, frames: int
) -> None:
    path = studio.record(name, chord(frames, 48000, 2), 48000)

    # One frame of MP3 alone is decoded to 47, by ffmpeg as well: its padding does not fit the tag.
    assert len(decoded(path, 48000)) == (47 if (name, frames) == ("mp3", 1) else frames)


@pytest.mark.parametrize("name", sorted(EXACT | set(TOLERANCE) - {"adts"}))
def test_what_is_decoded_lies_on_the_original(studio: Any, chord: Callable[..., Samples], name: str) -> None:
    """Raw ADTS is left out: it has no place to tell the encoder's delay."""
    original = chord(30_000, 48000, 2)

    actual = decoded(studio.record(name, original, 48000), 48000)

    # AAC is played to the end of its last packet, and of Vorbis a short last block is lost, as in ffmpeg.
    assert -128 <= len(actual) - len(original) < 1024
    assert lag(actual, original[: len(actual)]) == 0


@pytest.mark.parametrize(
    ("name", "codec", "frames"),
    [
        ("wav-s24", "pcm_s24le", 5000),
        ("wav-f32", "pcm_f32le", 5000),
        ("aiff", "pcm_s24be", 5000),
        ("rf64", "pcm_s16le", 5000),
        ("flac-16", "flac", 5000),
        ("mp3", "mp3float", None),
        ("m4a", "aac", None),
        ("vorbis", "vorbis", None),
        ("opus", "opus", None),
    ],
)
def test_probe_tells_what_the_headers_say(
    studio: Any, chord: Callable[..., Samples], name: str, codec: str, frames: int | None
) -> None:
    info = probe(studio.record(name, chord(5000, 48000, 2), 48000))

    assert (info.codec, info.sample_rate, info.channels, info.frames) == (codec, 48000, 2, frames)
    assert info.duration_seconds == pytest.approx(5000 / 48000, abs=0.05)


@pytest.mark.parametrize(
    ("name", "rate", "target"),
    [("wav-s16", 48000, 44100), ("wav-f32", 8000, 44100), ("flac-24", 192000, 44100), ("opus", 48000, 44100)],
)
def test_resampling_keeps_pitch_place_and_rounded_length(
    studio: Any, chord: Callable[..., Samples], name: str, rate: int, target: int
) -> None:
    for frames in (1, 2, 5, 30_001):
        path = studio.record(name, chord(frames, rate, 2), rate)
        blocks = list(decode_blocks(path, target))
        assert sum(map(len, blocks)) == max(1, int(frames * target / rate + 0.5))
    actual = np.concatenate(blocks)
    expected = chord(len(actual), target, 2)
    middle = slice(2000, -2000)
    tolerance = 0.05 if name == "opus" else 2e-4
    np.testing.assert_allclose(actual[middle], expected[middle], rtol=0, atol=tolerance)


def test_a_resampled_second_of_silence_is_silent(studio: Any) -> None:
    actual = decoded(studio.record("wav-s16", np.zeros((48000, 2), np.float32), 48000), 44100)

    assert actual.shape == (44100, 2)
    assert not actual.any()


@pytest.mark.parametrize("name", ["wav-s16", "flac-16", "mp3", "m4a", "vorbis", "opus"])
@pytest.mark.parametrize("target", [48000, 44100])
def test_the_size_of_blocks_changes_nothing(
    studio: Any, chord: Callable[..., Samples], name: str, target: int
) -> None:
    path = studio.record(name, chord(3000, 48000, 2), 48000)
    whole = decoded(path, target)

    for block_frames in (1, 7, 1152, 1_000_000):
        blocks = list(decode_blocks(path, target, block_frames=block_frames))
        assert all(0 < len(block) <= block_frames for block in blocks)
        assert all(block.flags.c_contiguous and block.dtype == np.float32 for block in blocks)
        np.testing.assert_allclose(np.concatenate(blocks), whole, rtol=0, atol=1e-6)


def test_one_channel_is_the_mean_of_two(studio: Any, chord: Callable[..., Samples]) -> None:
    original = chord(3000, 44100, 2)
    path = studio.record("wav-f32", original, 44100)

    np.testing.assert_allclose(decoded(path, 44100, 1), original.mean(axis=1, keepdims=True), atol=1e-7)


def test_a_picture_in_the_file_is_no_audio(studio: Any, chord: Callable[..., Samples], ffmpeg: Any) -> None:
    plain = studio.record("mp3", chord(9000, 44100, 2), 44100).read_bytes()
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
    )
    content = b"\0image/png\0\x03\0" + png
    frame = b"APIC" + len(content).to_bytes(4, "big") + b"\0\0" + content
    size = len(frame)
    tag = b"ID3\x03\0\0" + bytes((size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127)) + frame
    path = studio.file("cover.mp3", tag + plain[plain.index(b"\xff\xfb") :])

    actual = decoded(path, 44100)

    np.testing.assert_array_equal(actual, ffmpeg(path))
    assert len(actual) == 9000


def test_the_first_of_equal_streams_is_heard(studio: Any, chord: Callable[..., Samples]) -> None:
    """As in `.stem.mp4`, where the mix comes first."""
    import av

    path = studio.folder / "several.m4a"
    with av.open(str(path), "w", format="mp4") as output:
        streams: list[Any] = [output.add_stream("alac", 44100, layout="stereo") for _ in range(3)]
        for i, stream in enumerate(streams):
            sound = np.full((2, 4096), (i + 1) / 8, np.float32)
            frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 44100, 0
            output.mux([*stream.encode(frame), *stream.encode(None)])

    np.testing.assert_allclose(decoded(path, 44100), 1 / 8, atol=1e-4)
