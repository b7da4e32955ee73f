"""Peaks: whatever the order of the parts, those of the whole; files that others read byte by byte."""

from __future__ import annotations

import io
import itertools
import json
import os
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.audio.encode import Encoding, convert_pcm, pcm_s16, to_pcm
from mismo_grpc.audio.peaks import DatFile, PeakFile, Waveform, waveforms_document

Int16s = npt.NDArray[np.int16]


def noise(seed: int, frames: int, channels: int) -> Int16s:
    """Every value, both ends of the range among them."""
    draw = np.random.default_rng(seed)
    samples = draw.integers(-32768, 32768, (frames, channels)).astype(np.int16)
    samples[draw.random((frames, channels)) < 0.05] = -32768
    return samples


def mono(frame: list[int]) -> int:
    """The mean as C divides."""
    return int(sum(frame) / len(frame))


def peaks_of(samples: Int16s, frames_per_pixel: int) -> list[tuple[int, int]]:
    """One frame after the other, as audiowaveform's WaveformGenerator goes."""
    heard = [mono(frame) for frame in samples.tolist()]
    pixels = [heard[at : at + frames_per_pixel] for at in range(0, len(heard), frames_per_pixel)]
    return [(min(pixel), max(pixel)) for pixel in pixels]


def pairs(waveform: Waveform) -> list[tuple[int, int]]:
    return [(low, high) for low, high in waveform.peaks.tolist()]


def parse_dat(content: bytes) -> dict[str, Any]:
    """As doc/DataFormat.md of bbc/audiowaveform says, number by number."""
    version, flags = struct.unpack_from("<iI", content, 0)
    sample_rate, samples_per_pixel = struct.unpack_from("<ii", content, 8)
    (length,) = struct.unpack_from("<I", content, 16)
    (channels,) = struct.unpack_from("<i", content, 20)
    data = [value for (value,) in struct.iter_unpack("<h", content[24:])]
    assert flags == 0, "16 bits"
    return {
        "version": version,
        "channels": channels,
        "sample_rate": sample_rate,
        "samples_per_pixel": samples_per_pixel,
        "bits": 16,
        "length": length,
        "data": data,
    }


# Any order


@given(data=st.data(), frames=st.integers(1, 1500), channels=st.integers(1, 3), seed=st.integers(0, 1 << 30))
def test_parts_in_any_order_and_more_than_once_give_the_peaks_of_the_whole(
    data: st.DataObject, frames: int, channels: int, seed: int
) -> None:
    tracks = [noise(seed + n, frames, channels) for n in range(2)]
    cuts = data.draw(st.lists(st.integers(0, frames), max_size=8))
    parts = list(itertools.pairwise(sorted({0, frames, *cuts})))
    again = data.draw(st.lists(st.tuples(st.integers(0, frames), st.integers(0, frames)), max_size=4))
    everything = parts + [(min(pair), max(pair)) for pair in again]
    with TemporaryDirectory() as folder:
        peaks = PeakFile(Path(folder) / "peaks", 2, frames)
        peaks.mark_complete()
        for track, (start, end) in data.draw(
            st.permutations([(track, part) for track in (0, 1) for part in everything])
        ):
            if data.draw(st.booleans()):
                # As a process does that takes up what a killed one left.
                peaks.close()
                peaks = PeakFile(Path(folder) / "peaks", 2, frames)
                assert not peaks.incomplete
            peaks.add(track, start, tracks[track][start:end])
        for track, samples in enumerate(tracks):
            assert pairs(peaks.waveform(track, 44_100)) == peaks_of(samples, 256)
        peaks.close()


@pytest.mark.parametrize("frames", [1, 255, 256, 257])
def test_a_track_about_one_pixel_long(tmp_path: Path, frames: int) -> None:
    samples = noise(frames, frames, 2)
    peaks = PeakFile(tmp_path / "peaks", 1, frames)
    peaks.add(0, 0, samples)
    waveform = peaks.waveform(0, 44_100)
    peaks.close()
    assert pairs(waveform) == peaks_of(samples, 256)
    assert pairs(waveform.at(16384)) == peaks_of(samples, 16384)


def test_what_never_came_is_silent(tmp_path: Path) -> None:
    peaks = PeakFile(tmp_path / "peaks", 1, 3 * 256)
    peaks.add(0, 256, np.full((256, 1), 32767, np.int16))
    peaks.add(0, 512, np.zeros((0, 1), np.int16))
    assert pairs(peaks.waveform(0, 8_000)) == [(0, 0), (32767, 32767), (0, 0)]
    peaks.close()


def test_full_scale_in_both_channels_is_full_scale(tmp_path: Path) -> None:
    peaks = PeakFile(tmp_path / "peaks", 1, 2)
    peaks.add(0, 0, np.array([[-32768, -32768], [32767, 32767]], np.int16))
    assert pairs(peaks.waveform(0, 8_000)) == [(-32768, 32767)]
    peaks.close()


@pytest.mark.parametrize(("track", "start"), [(2, 0), (-1, 0), (0, -1), (0, 991)])
def test_frames_outside_the_track_are_refused(tmp_path: Path, track: int, start: int) -> None:
    peaks = PeakFile(tmp_path / "peaks", 2, 1000)
    with pytest.raises(ValueError, match="outside the track"):
        peaks.add(track, start, np.zeros((10, 2), np.int16))
    peaks.close()


# The file


def test_a_file_is_taken_up_only_once_it_was_said_to_be_complete(tmp_path: Path) -> None:
    path = tmp_path / "peaks"
    first = PeakFile(path, 1, 1000)
    assert first.incomplete
    first.add(0, 0, noise(1, 1000, 2))
    first.close()
    second = PeakFile(path, 1, 1000)
    assert second.incomplete
    assert pairs(second.waveform(0, 8_000)) == [(0, 0)] * 4
    second.mark_complete()
    second.close()
    assert [p.name for p in tmp_path.iterdir()] == ["peaks"]
    for frames, fresh in ((1000, False), (2000, True)):
        again = PeakFile(path, 1, frames)
        assert again.incomplete is fresh
        again.close()


def test_a_shortened_file_is_an_error_not_silence(tmp_path: Path) -> None:
    peaks = PeakFile(tmp_path / "peaks", 1, 1000)
    peaks.mark_complete()
    os.truncate(tmp_path / "peaks", 4)
    with pytest.raises(EOFError):
        peaks.waveform(0, 8_000)
    peaks.close()


# Levels and formats


@given(
    frames=st.integers(1, 40_000), seed=st.integers(0, 99), level=st.sampled_from([256, 1024, 4096, 16384])
)
def test_coarser_levels_are_those_of_the_samples(frames: int, seed: int, level: int) -> None:
    samples = noise(seed, frames, 1)
    fine = Waveform(44_100, 256, np.array(peaks_of(samples, 256), np.int16))
    coarse = fine.at(level)
    assert coarse.frames_per_pixel == level
    assert pairs(coarse) == peaks_of(samples, level)


@pytest.mark.parametrize("level", [0, 128, 300])
def test_a_level_that_cannot_be_merged_is_refused(level: int) -> None:
    with pytest.raises(ValueError, match="no multiple of 256"):
        Waveform(44_100, 256, np.zeros((1, 2), np.int16)).at(level)


@pytest.mark.parametrize("pixels", [0, 1, 5, 40_000])
def test_files_say_what_audiowaveform_documents(pixels: int) -> None:
    peaks = np.sort(noise(pixels, pixels, 2), axis=1)
    waveform = Waveform(48_000, 256, peaks)
    dat = parse_dat(waveform.to_dat())
    assert dat == {
        "version": 2,
        "channels": 1,
        "sample_rate": 48_000,
        "samples_per_pixel": 256,
        "bits": 16,
        "length": pixels,
        "data": peaks.reshape(-1).tolist(),
    }
    text = io.StringIO()
    waveform.write_json(text)
    assert json.loads(text.getvalue()) == dat
    again = Waveform.from_dat(waveform.to_dat())
    assert (again.sample_rate, again.frames_per_pixel) == (48_000, 256)
    assert again.peaks.dtype == np.int16
    np.testing.assert_array_equal(again.peaks, peaks)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(23),
        struct.pack("<iIiiI", 1, 0, 44_100, 256, 1) + bytes(4),
        struct.pack("<iIiiIi", 2, 1, 44_100, 256, 2, 1) + bytes(4),
        struct.pack("<iIiiIi", 2, 0, 44_100, 256, 1, 2) + bytes(8),
        struct.pack("<iIiiIi", 2, 0, 44_100, 0, 1, 1) + bytes(4),
        struct.pack("<iIiiIi", 2, 0, 44_100, 256, 2, 1) + bytes(4),
        struct.pack("<iIiiIi", 2, 0, 44_100, 256, 1, 1) + bytes(5),
    ],
)
def test_files_of_others_and_broken_ones_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="a waveform file is"):
        Waveform.from_dat(content)


def test_the_callback_has_points_from_0_to_1_at_every_zoom_level() -> None:
    peaks = np.zeros((129, 2), np.int16)
    peaks[0] = (-32768, 100)
    peaks[70] = (-1000, 16384)
    document = waveforms_document({"bass": Waveform(44_100, 256, peaks)})
    assert [(entry["zoom_level"], entry["stem_type"]) for entry in document] == [
        (1, "bass"),
        (2, "bass"),
        (3, "bass"),
    ]
    coarse, middle, fine = (entry["data"] for entry in document)
    assert coarse == [1.0, 0.5, 0.0]
    assert middle == [1.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]
    assert isinstance(fine, list)
    assert (len(fine), fine[0], fine[17]) == (33, 1.0, 0.5)
    third = waveforms_document({"x": Waveform(44_100, 256, np.array([[-10922, 3]], np.int16))}, [1])
    assert json.dumps(third) == '[{"zoom_level": 1, "stem_type": "x", "data": [0.3333]}]'
    assert waveforms_document({}) == []


# What is stored, at 16 bits


@given(
    samples=st.lists(st.tuples(*[st.floats(width=32)] * 2), max_size=40),
    encoding=st.sampled_from([Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE]),
)
def test_stored_samples_are_seen_at_16_bits(samples: list[tuple[float, float]], encoding: Encoding) -> None:
    stored = to_pcm(np.array(samples, np.float32).reshape(-1, 2), encoding)
    seen = pcm_s16(stored, encoding, 2)
    assert seen.dtype == np.int16
    assert seen.tobytes() == convert_pcm(stored, encoding, Encoding.PCM_S16LE, 2)


def test_flac_is_no_pcm() -> None:
    with pytest.raises(ValueError, match="not PCM"):
        pcm_s16(b"", Encoding.FLAC, 2)


# Parts


@pytest.mark.parametrize(("first", "count"), [(0, 4), (1, 2), (3, 1), (4, 0)])
def test_a_part_of_the_peaks_is_read_alone(tmp_path: Path, first: int, count: int) -> None:
    peaks = PeakFile(tmp_path / "peaks", 2, 1000)
    for track in (0, 1):
        peaks.add(track, 0, noise(track, 1000, 2))
    for track in (0, 1):
        waveform = peaks.waveform(track, 8_000)
        path = tmp_path / f"{track}.dat"
        path.write_bytes(waveform.to_dat())
        stored = DatFile(path)
        assert (stored.sample_rate, stored.frames_per_pixel, stored.pixels) == (8_000, 256, 4)
        expected = waveform.peaks[first : first + count]
        for part in (peaks.read(track, first, count), stored.read(first, count)):
            assert part.dtype == np.int16
            np.testing.assert_array_equal(part, expected)
        stored.close()
    peaks.close()


@pytest.mark.parametrize(
    ("track", "first", "count"), [(0, -1, 1), (0, 0, 5), (0, 4, 1), (1, 0, 1), (0, 2, -1)]
)
def test_pixels_outside_the_track_are_refused(tmp_path: Path, track: int, first: int, count: int) -> None:
    peaks = PeakFile(tmp_path / "peaks", 1, 1000)
    with pytest.raises(ValueError, match="pixels outside"):
        peaks.read(track, first, count)
    path = tmp_path / "0.dat"
    path.write_bytes(peaks.waveform(0, 8_000).to_dat())
    stored = DatFile(path)
    if track == 0:
        with pytest.raises(ValueError, match="pixels outside"):
            stored.read(first, count)
    stored.close()
    stored.close()
    peaks.close()


@pytest.mark.parametrize(
    "content", [b"", bytes(23), struct.pack("<iIiiIi", 2, 0, 44_100, 256, 2, 1) + bytes(4)]
)
def test_a_broken_file_is_not_opened(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "0.dat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a waveform file is"):
        DatFile(path)
    with pytest.raises(FileNotFoundError):
        DatFile(tmp_path / "1.dat")


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "0.dat"
    path.write_bytes(Waveform(8_000, 256, np.zeros((4, 2), np.int16)).to_dat())
    stored = DatFile(path)
    os.truncate(path, 30)
    with pytest.raises(EOFError):
        stored.read(0, 4)
    stored.close()
