"""Bad, broken and odd files: what can be heard is decoded, everything else is one of our errors."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from contextlib import closing, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mismo_grpc.audio.decode import DecodeTally, decode_blocks, probe
from mismo_grpc.audio.flac import FlacBlocks
from mismo_grpc.errors import (
    AudioError,
    CorruptAudioError,
    EmptyAudioError,
    NoAudioStreamError,
    UnsupportedAudioError,
)

Samples = npt.NDArray[np.float32]
Chord = Callable[..., Samples]


def decoded(path: Path, rate: int = 44100, channels: int = 2, tally: DecodeTally | None = None) -> Samples:
    return np.concatenate(list(decode_blocks(path, rate, channels, tally=tally)))


@pytest.mark.parametrize("name", ["mp3", "wav-s16", "aiff", "flac-16", "vorbis", "opus", "adts"])
@pytest.mark.parametrize("kept", [0.9, 0.5])
def test_of_a_truncated_file_is_decoded_what_is_there(
    studio: Any, chord: Chord, ffmpeg: Chord, name: str, kept: float
) -> None:
    # Long enough that Ogg has several pages.
    whole = studio.record(name, chord(480_000, 48000, 2), 48000).read_bytes()
    path = studio.file("truncated", whole[: int(len(whole) * kept)])

    actual = decoded(path, 48000)

    assert 0 < len(actual) < 480_000
    expected = ffmpeg(path)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["mp3", "m4a", "vorbis", "opus", "wav-s16"])
def test_a_hole_in_the_middle_is_passed_over_as_ffmpeg_does(
    studio: Any, chord: Chord, ffmpeg: Chord, name: str
) -> None:
    content = bytearray(studio.record(name, chord(240_000, 48000, 2), 48000).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path = studio.file("holed", bytes(content))

    assert decoded(path, 48000).shape == ffmpeg(path).shape


def test_broken_packets_are_counted(studio: Any, chord: Chord) -> None:
    content = bytearray(studio.record("m4a", chord(240_000, 48000, 2), 48000).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = b"\xff" * 2000
    tally = DecodeTally()

    decoded(studio.file("holed.m4a", bytes(content)), 48000, tally=tally)

    assert tally.broken_packets > 0


@pytest.mark.parametrize("name", ["m4a", "flac-16", "vorbis", "wav-s16"])
def test_a_file_of_which_nothing_is_left_but_its_beginning_is_corrupt(
    studio: Any, chord: Chord, name: str
) -> None:
    whole = studio.record(name, chord(48_000, 48000, 2), 48000).read_bytes()

    with pytest.raises(CorruptAudioError):
        decoded(studio.file("cut", whole[:36]), 48000)


def test_silence_is_audio(studio: Any) -> None:
    path = studio.record("flac-16", np.zeros((1000, 2), np.float32), 44100)

    np.testing.assert_array_equal(decoded(path), np.zeros((1000, 2)))


@pytest.mark.parametrize("name", ["wav-s16", "aiff", "flac", "wav-f32"])
def test_a_file_without_samples_is_empty(studio: Any, name: str) -> None:
    if name == "flac":
        path = studio.file("empty.flac", FlacBlocks(44100, 2).stream_header(0))
    else:
        path = studio.record(name, np.zeros((0, 2), np.float32), 44100)

    with pytest.raises(EmptyAudioError, match="no samples"):
        decoded(path)


def test_a_film_without_sound_has_no_audio_stream(studio: Any) -> None:
    path = studio.folder / "film.mp4"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("mpeg4", 25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 32), np.uint8), format="yuv420p")
        output.mux([*stream.encode(frame), *stream.encode(None)])

    for look in (probe, decoded):
        with pytest.raises(NoAudioStreamError):
            look(path)


def test_a_codec_that_nobody_knows_is_unsupported(studio: Any, chord: Chord) -> None:
    content = bytearray(studio.record("wav-s16", chord(1000, 44100, 2), 44100).read_bytes())
    content[20:22] = b"\x34\x12"

    with pytest.raises(UnsupportedAudioError, match="codec"):
        decoded(studio.file("odd.wav", bytes(content)))


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**31 - 1])
def test_an_absurd_rate_is_unsupported(studio: Any, chord: Chord, rate: int) -> None:
    content = bytearray(studio.record("wav-s16", chord(1000, 44100, 2), 44100).read_bytes())
    content[24:28] = struct.pack("<I", rate)
    path = studio.file("odd.wav", bytes(content))

    for look in (probe, decoded):
        with pytest.raises(UnsupportedAudioError, match="rate"):
            look(path)


def test_samples_that_are_no_numbers_become_silence_and_are_counted(studio: Any, chord: Chord) -> None:
    original = chord(100_000, 44100, 2)
    original[10:20, 0] = np.nan
    original[70_000, :] = np.inf
    original[80_000, 1] = -np.inf
    path = studio.record("wav-f32", original, 44100)
    tally = DecodeTally()

    actual = decoded(path, tally=tally)

    np.testing.assert_array_equal(actual, np.where(np.isfinite(original), original, 0))
    assert tally.nonfinite_samples == 13
    assert np.isfinite(decoded(path, 48000)).all()


def test_samples_above_full_scale_are_kept(studio: Any) -> None:
    original = np.array([[1.5, -3.0], [100.0, -0.25]], np.float32)

    np.testing.assert_array_equal(decoded(studio.record("wav-f32", original, 44100)), original)


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_FFFF])
def test_a_wav_that_was_piped_does_not_know_its_size(
    studio: Any, chord: Chord, ffmpeg: Chord, size: int
) -> None:
    content = bytearray(studio.record("wav-s16", chord(50_000, 44100, 2), 44100).read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", size)
    path = studio.file("piped.wav", bytes(content))

    actual = decoded(path)

    assert len(actual) == 50_000
    np.testing.assert_array_equal(actual, ffmpeg(path))


@pytest.mark.parametrize("name", ["wav-s16", "aiff", "flac-16", "mp3"])
def test_a_tag_in_front_changes_nothing(studio: Any, chord: Chord, name: str) -> None:
    plain = studio.record(name, chord(5000, 44100, 2), 44100)
    tagged = studio.file("tagged", b"ID3\x03\0\0\0\0\0\x14" + bytes(20) + plain.read_bytes())

    np.testing.assert_array_equal(decoded(tagged), decoded(plain))


def test_tags_in_another_charset_do_not_matter(studio: Any, chord: Chord) -> None:
    content = bytearray(studio.record("wav-s16", chord(1000, 44100, 2), 44100).read_bytes())
    chunk = b"INFOIART\x06\0\0\0" + "Café".encode("latin-1") + b"\xff\0"
    content += b"LIST" + struct.pack("<I", len(chunk)) + chunk
    content[4:8] = struct.pack("<I", len(content) - 8)

    assert len(decoded(studio.file("tagged.wav", bytes(content)))) == 1000


@pytest.mark.parametrize(
    "name",
    [
        b"a:b.wav",
        b"http:x.wav",
        b"concat:a|b.wav",
        b"%d.wav",
        b"-i.wav",
        b"caf\xe9.wav",
        "日本 ♫.wav".encode(),
        b"a\nb",
    ],
)
def test_any_file_name_will_do(studio: Any, chord: Chord, name: bytes) -> None:
    path = studio.record("wav-s16", chord(1000, 44100, 2), 44100).rename(studio.folder / os.fsdecode(name))

    assert len(decoded(path)) == 1000


def test_a_relative_path_will_do(studio: Any, chord: Chord, monkeypatch: pytest.MonkeyPatch) -> None:
    path = studio.record("wav-s16", chord(1000, 44100, 2), 44100)
    monkeypatch.chdir(path.parent)

    assert len(decoded(Path(path.name))) == 1000


def test_errors_do_not_tell_where_the_file_lies(studio: Any) -> None:
    for content in (b"", b"text", b"RIFF\0\0\0\0WAVE", b"OggS" + bytes(100), b"\0\0\0\x10ftypM4A \0\0\0\0"):
        with pytest.raises(AudioError) as caught:
            decoded(studio.file("secret.wav", content))
        assert str(studio.folder) not in str(caught.value)
        assert "secret" not in str(caught.value)


def test_a_missing_file_and_a_directory_are_os_errors(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.wav"):
        for look in (probe, decoded):
            with pytest.raises(OSError, match=r"missing|directory"):
                look(path)


@pytest.mark.parametrize(("first", "second"), [((1, 44100), (2, 44100)), ((2, 44100), (1, 44100))])
def test_a_stream_that_changes_on_the_way_goes_on_as_it_began(
    studio: Any, chord: Chord, ffmpeg: Chord, first: tuple[int, int], second: tuple[int, int]
) -> None:
    parts = [studio.record("adts", chord(40_000, rate, n), rate).read_bytes() for n, rate in (first, second)]
    path = studio.file("changing.aac", b"".join(parts))

    actual = decoded(path)

    expected = ffmpeg(path, first[0])
    assert actual.shape == (len(expected), 2)
    np.testing.assert_allclose(actual, np.broadcast_to(expected, actual.shape), rtol=0, atol=1e-4)


def test_files_are_closed_whatever_happens(studio: Any, chord: Chord) -> None:
    good = studio.record("mp3", chord(100_000, 44100, 2), 44100)
    bad = [
        studio.file("bad.wav", b"RIFF\0\0\0\0WAVE"),
        studio.file("bad.ogg", b"OggS" + bytes(100)),
        good.parent,
    ]
    decoded(good)
    before = os.listdir("/proc/self/fd")

    for _ in range(20):
        decoded(good)
        probe(good)
        with closing(decode_blocks(good, 48000, block_frames=1000)) as left_early:
            next(left_early)
        for path in bad:
            with pytest.raises((AudioError, OSError)):
                decoded(path)

    assert os.listdir("/proc/self/fd") == before


@pytest.fixture(scope="module")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("small")
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (3000, 2))
    contents: dict[str, bytes] = {}
    for suffix in ("wav", "flac", "aiff", "ogg", "mp3"):
        soundfile.write(folder / f"a.{suffix}", sound, 44100)
        contents[suffix] = (folder / f"a.{suffix}").read_bytes()
    with av.open(str(folder / "a.m4a"), "w") as output:
        stream: Any = output.add_stream("aac", 44100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(sound.T.astype(np.float32).copy(), format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base, frame.pts = 44100, Fraction(1, 44100), 0
        output.mux([*stream.encode(frame), *stream.encode(None)])
    contents["m4a"] = (folder / "a.m4a").read_bytes()
    return contents


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(["wav", "flac", "aiff", "ogg", "mp3", "m4a"]),
    seed=st.integers(0, 2**32),
    changes=st.integers(0, 30),
    kept=st.floats(0, 1),
    reach=st.sampled_from([60, 600, 100_000]),
)
def test_damage_of_any_kind_ends_in_audio_or_in_one_of_our_errors(
    small_files: dict[str, bytes],
    tmp_path: Path,
    suffix: str,
    seed: int,
    changes: int,
    kept: float,
    reach: int,
) -> None:
    rng = random.Random(seed)
    content = bytearray(small_files[suffix])
    for _ in range(changes):
        content[rng.randrange(min(len(content), reach))] = rng.randrange(256)
    path = tmp_path / "damaged"
    path.write_bytes(content[: max(1, int(len(content) * kept))])
    with suppress(AudioError):
        for block in decode_blocks(path, 44100):
            assert block.shape[1] == 2
            assert np.isfinite(block).all()
