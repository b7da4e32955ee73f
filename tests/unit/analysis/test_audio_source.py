"""What every analysis reads: shapes, types and rates that are refused, finite samples, downmixes and excerpts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from mismo_grpc.analysis.arrays import Audio
from mismo_grpc.analysis.audio_source import (
    LARGEST_SAMPLE,
    MIN_SAMPLE_RATE,
    AudioFile,
    check_audio,
    downmix,
    excerpt,
    finite,
    mono_excerpt,
)

FLOATS = [np.float16, np.float32, np.float64]


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (np.zeros((9, 2), np.int16), 44_100, "got int16 with 2 dimensions"),
        (np.zeros((9, 2), np.complex64), 44_100, "got complex64"),
        (np.zeros((9, 2, 2), np.float32), 44_100, "got float32 with 3 dimensions"),
        (np.zeros((), np.float32), 44_100, "with 0 dimensions"),
        (np.zeros((9, 0), np.float32), 44_100, "at least one channel"),
        (np.zeros(9, np.float32), MIN_SAMPLE_RATE - 1, "at least 8000 Hz; got 7999 Hz"),
    ],
)
def test_what_is_no_audio_is_refused(audio: Audio, rate: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_audio(audio, rate)


@pytest.mark.parametrize("shape", [(0,), (0, 2), (9,), (9, 1), (9, 6)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_any_number_of_frames_and_channels_is_audio(shape: tuple[int, ...], dtype: type[np.floating]) -> None:
    check_audio(np.zeros(shape, dtype), MIN_SAMPLE_RATE)


@pytest.mark.parametrize("dtype", FLOATS)
def test_samples_that_are_not_finite_count_as_0(dtype: type[np.floating]) -> None:
    block = np.array([[0.5, np.nan], [np.inf, -0.25], [-np.inf, 1.5]], dtype)
    assert finite(block).tolist() == [[0.5, 0.0], [0.0, -0.25], [0.0, 1.5]]
    assert finite(block).dtype == np.float32
    assert downmix(block).tolist() == [0.25, -0.125, 0.75]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_are_limited_far_above_full_scale(dtype: type[np.floating]) -> None:
    largest = np.finfo(dtype).max
    block = np.array([largest, -largest, 30_000.0], dtype)
    assert finite(block).tolist() == [LARGEST_SAMPLE, -LARGEST_SAMPLE, 30_000.0]


def test_a_read_only_block_is_not_changed() -> None:
    block = np.array([[0.5, np.nan], [2.0, 1.0]], np.float32)
    block.setflags(write=False)
    assert downmix(block).tolist() == [0.25, 1.5]
    assert np.isnan(block[0, 1])


def test_no_frames_stay_no_frames() -> None:
    assert finite(np.zeros((0, 2), np.float64)).shape == (0, 2)
    assert downmix(np.zeros((0, 2), np.float32)).shape == (0,)


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (1, 3, [2, 3]),
        (-2, 2, [0, 0, 1, 2]),
        (3, 6, [4, 0, 0]),
        (-1, 5, [0, 1, 2, 3, 4, 0]),
        (-3, -1, [0, 0]),
        (5, 7, [0, 0]),
        (2, 2, []),
    ],
)
def test_there_is_silence_around_the_audio(begin: int, end: int, expected: list[float]) -> None:
    mono = np.arange(1, 5, dtype=np.float32)
    stereo = np.stack([mono, 3 * mono], axis=1)
    assert excerpt(mono, begin, end).tolist() == expected
    assert excerpt(stereo, begin, end).tolist() == [[value, 3 * value] for value in expected]
    assert mono_excerpt(mono, begin, end).tolist() == expected
    assert mono_excerpt(stereo, begin, end).tolist() == [2 * value for value in expected]


def test_a_file_is_read_as_an_array_is(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    audio = np.random.default_rng(1).uniform(-1, 1, (1000, 2)).astype(np.float32)
    soundfile.write(path, audio, 22_050, subtype="FLOAT")
    with AudioFile(path) as file:
        check_audio(file, file.sample_rate)
        assert file.shape == audio.shape
        assert file.sample_rate == 22_050
        for frames in (slice(0, 1000), slice(990, 2000), slice(0, 10), slice(2000, 3000)):
            np.testing.assert_array_equal(file[frames], audio[frames])


def test_a_file_that_cannot_be_read_raises_an_os_error(tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    path.write_text("no audio")
    for missing in (path, tmp_path / "missing.wav"):
        with pytest.raises(OSError, match=f"{missing.name} cannot be read"):
            AudioFile(missing)
