"""A decoded track on disk: whole or not there, with the figures of what was written."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mismo_grpc.audio.checksum import crc32c, crc32c_of_file
from mismo_grpc.audio.decode import DecodeStopped, decode_blocks, decode_to_file, open_mix, probe
from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.flac import FlacBlocks
from mismo_grpc.audio.wav import wav_header
from mismo_grpc.errors import CorruptAudioError, DiskFullError, TrackTooLongError
from mismo_grpc.storage.disk import QuotaDisk, folder_bytes

Samples = npt.NDArray[np.float32]
Chord = Callable[..., Samples]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder / "mix.f32"


@pytest.mark.parametrize(("rate", "sample_rate"), [(44100, 44100), (48000, 44100)])
@pytest.mark.parametrize("channels", [1, 2])
def test_holds_what_the_blocks_held(
    studio: Any, chord: Chord, target: Path, rate: int, sample_rate: int, channels: int
) -> None:
    source = studio.record("flac-24", chord(200_000, rate, 2), rate)

    mix = decode_to_file(source, target, sample_rate, channels)

    expected = np.concatenate(list(decode_blocks(source, sample_rate, channels)))
    samples = open_mix(mix)
    np.testing.assert_array_equal(samples, expected)
    assert (mix.path, mix.frames, mix.sample_rate, mix.channels) == (
        target,
        len(expected),
        sample_rate,
        channels,
    )
    assert isinstance(samples, np.memmap)
    assert not samples.flags.writeable
    assert [p.name for p in target.parent.iterdir()] == ["mix.f32"]


def test_the_figures_are_those_demucs_takes_of_the_whole_track(
    studio: Any, chord: Chord, target: Path
) -> None:
    source = studio.record("wav-f32", chord(200_000, 44100, 2) * 0.7 + 0.1, 44100)

    mix = decode_to_file(source, target, 44100)

    whole = np.array(open_mix(mix), np.float64)
    reference = whole.mean(axis=1)
    assert mix.mean == pytest.approx(reference.mean(), rel=1e-12)
    assert mix.std == pytest.approx(reference.std(ddof=1), rel=1e-12)
    assert mix.peak == np.abs(whole).max()
    assert mix.nonfinite_samples == 0
    assert mix.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()


def test_the_figures_of_one_frame_and_of_silence_are_numbers(studio: Any, target: Path) -> None:
    one = decode_to_file(studio.record("wav-f32", np.array([[0.5, -0.25]]), 44100, "one.wav"), target, 44100)
    silent = decode_to_file(studio.record("wav-f32", np.zeros((99, 2)), 44100, "silent.wav"), target, 44100)

    assert (one.frames, one.mean, one.std, one.peak) == (1, 0.125, 0.0, 0.5)
    assert (silent.frames, silent.mean, silent.std, silent.peak) == (99, 0.0, 0.0, 0.0)


def test_counts_samples_that_are_no_numbers(studio: Any, chord: Chord, target: Path) -> None:
    sound = chord(1000, 44100, 2)
    sound[5] = np.nan

    mix = decode_to_file(studio.record("wav-f32", sound, 44100), target, 44100)

    assert mix.nonfinite_samples == 2
    assert np.isfinite([mix.mean, mix.std, mix.peak]).all()
    assert not open_mix(mix)[5].any()


def test_the_source_is_hashed_only_if_asked(studio: Any, chord: Chord, target: Path) -> None:
    source = studio.record("wav-s16", chord(1000, 44100, 2), 44100)

    assert decode_to_file(source, target, 44100, hash_source=False).source_sha256 is None


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_stops_between_two_blocks_and_leaves_nothing(
    studio: Any, chord: Chord, target: Path, blocks: int
) -> None:
    source = studio.record("wav-s16", chord(200_000, 44100, 2), 44100)
    asked: list[bool] = []

    def should_stop() -> bool:
        asked.append(True)
        return len(asked) > blocks

    with pytest.raises(DecodeStopped):
        decode_to_file(source, target, 44100, should_stop=should_stop)

    assert len(asked) == blocks + 1
    assert list(target.parent.iterdir()) == []


def unmeasured_flac(seconds: int) -> bytes:
    """Silence that says nowhere how long it is: 16 bytes for 32 KiB of decoded samples."""
    flac = FlacBlocks(44100, 2)
    return flac.stream_header(0) + flac.encode(np.zeros((seconds * 44100, 2), np.int16), 0)


def test_a_source_that_hides_its_length_stops_at_the_reserve(studio: Any, target: Path) -> None:
    """Ten minutes in a file of 100 KB, on a disk with room for ten seconds besides its reserve."""
    source = studio.file("silence.flac", unmeasured_flac(600))
    target.write_bytes(b"an earlier mix")
    assert probe(source).duration_seconds is None
    assert source.stat().st_size < 1 << 17
    reserve, room = 1 << 20, 10 * 44100 * 8
    disk = QuotaDisk(reserve + room, target.parent)
    sizes: list[int] = []

    def check_room(needed: int) -> None:
        sizes.append(folder_bytes(target.parent) + needed)
        disk.require(target.parent, needed, reserve)

    with pytest.raises(DiskFullError, match="reserve"):
        decode_to_file(source, target, 44100, check_room=check_room)

    assert room - (1 << 20) < sizes[-2] <= room < sizes[-1]
    assert target.read_bytes() == b"an earlier mix"
    assert list(target.parent.iterdir()) == [target]


def test_a_source_that_hides_its_length_stops_at_the_longest_track(studio: Any, target: Path) -> None:
    source = studio.file("silence.flac", unmeasured_flac(600))
    written: list[int] = []

    with pytest.raises(TrackTooLongError, match="longer than the 10 s") as caught:
        decode_to_file(source, target, 44100, max_frames=441_000, check_room=written.append)

    assert sum(written) <= 441_000 * 8, "it is known while decoding, not at the end"
    assert caught.value.metadata == {"max_track_seconds": "10"}
    assert list(target.parent.iterdir()) == []


def test_a_disk_that_is_really_full_leaves_nothing(studio: Any, chord: Chord, tmp_path: Path) -> None:
    source = studio.record("wav-s16", chord(200_000, 44100, 2), 44100)
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        with pytest.raises(OSError, match="No space left"):
            decode_to_file(source, small / "mix.f32", 44100)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_the_checksum_is_of_what_was_written(studio: Any, chord: Chord, target: Path) -> None:
    mix = decode_to_file(studio.record("flac-24", chord(200_000, 48000, 2), 48000), target, 44100)

    assert mix.crc32c == crc32c(target.read_bytes()) == crc32c_of_file(target)


def test_a_broken_source_leaves_nothing(studio: Any, target: Path) -> None:
    with pytest.raises(CorruptAudioError):
        decode_to_file(studio.file("bad.wav", b"RIFF\0\0\0\0WAVE"), target, 44100)

    assert list(target.parent.iterdir()) == []


def test_a_missing_source_is_told_as_such(tmp_path: Path, target: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode_to_file(tmp_path / "missing.wav", target, 44100)

    assert list(target.parent.iterdir()) == []


def test_what_a_killed_process_left_is_overwritten(studio: Any, chord: Chord, target: Path) -> None:
    source = studio.record("wav-s16", chord(1000, 44100, 2), 44100)
    target.with_name("mix.f32.part").write_bytes(bytes(1_000_000))

    mix = decode_to_file(source, target, 44100)

    assert open_mix(mix).shape == (1000, 2)
    assert list(target.parent.iterdir()) == [target]


def test_a_track_may_be_as_long_as_the_limit_and_no_longer(studio: Any, chord: Chord, target: Path) -> None:
    source = studio.record("wav-s16", chord(100_000, 44100, 2), 44100)

    assert decode_to_file(source, target, 44100, max_frames=100_000).frames == 100_000
    target.unlink()
    with pytest.raises(TrackTooLongError, match="2 s"):
        decode_to_file(source, target, 44100, max_frames=99_999)
    assert list(target.parent.iterdir()) == []


def test_a_mix_of_another_size_is_not_opened(studio: Any, chord: Chord, target: Path) -> None:
    mix = decode_to_file(studio.record("wav-s16", chord(1000, 44100, 2), 44100), target, 44100)

    with pytest.raises(ValueError, match="8008 bytes"):
        open_mix(replace(mix, frames=1001))


def test_decodes_on_several_threads_at_once(studio: Any, chord: Chord, tmp_path: Path) -> None:
    names = ["wav-s16", "flac-16", "mp3", "m4a", "vorbis", "opus"]
    sources = [studio.record(name, chord(150_000, 48000, 2), 48000) for name in names]

    def decode(place: int) -> tuple[float, bytes]:
        mix = decode_to_file(sources[place % len(names)], tmp_path / f"{place}.f32", 44100)
        return mix.std, open_mix(mix).tobytes()

    alone = [decode(i) for i in range(len(names))]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(decode, range(24)))

    assert all(result == alone[i % len(names)] for i, result in enumerate(together))


PEAK_MEMORY = """
import json, resource, sys
from pathlib import Path
from mismo_grpc.audio.decode import decode_blocks
peaks = []
for path, rate in json.loads(sys.argv[1]):
    frames = sum(len(block) for block in decode_blocks(Path(path), rate))
    peaks.append([frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024])
print(json.dumps(peaks))
"""


def test_memory_does_not_grow_with_the_track(tmp_path: Path) -> None:
    """Ten minutes take no more than ten seconds do; as float32 they would be 201 MiB."""
    files: list[Path] = []
    for seconds in (10, 600):
        frames = seconds * 44100
        path = tmp_path / f"{seconds}.wav"
        with path.open("wb") as file:
            file.write(wav_header(Encoding.PCM_S16LE, frames, 44100, 2))
            file.truncate(file.tell() + frames * 4)
        files.append(path)
    short, long = map(str, files)

    plan = json.dumps([(short, 44100), (short, 48000), (long, 44100), (long, 48000)])
    done = subprocess.run(
        [sys.executable, "-c", PEAK_MEMORY, plan], capture_output=True, check=True, text=True
    )

    peaks = json.loads(done.stdout)
    assert [frames for frames, _ in peaks] == [441_000, 480_000, 26_460_000, 28_800_000]
    assert peaks[3][1] - peaks[1][1] < 32
