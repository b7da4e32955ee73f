"""Waveform files of finished jobs: whole or not there, and as old callbacks tell them."""

from __future__ import annotations

import errno
import hashlib
import json
import struct
from pathlib import Path
from typing import TextIO, cast

import numpy as np
import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.peaks import Waveform
from mismo_grpc.errors import DiskFullError, InternalError
from mismo_grpc.results.waveforms import read_waveforms, waveform_names, write_waveforms
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.storage.disk import Disk, FileSystemDisk, QuotaDisk
from mismo_grpc.storage.run_files import RunFiles

NAMES = ("drums", "bass")
FRAMES = 100_000
FILES = ["waveform-bass.dat", "waveform-bass.json", "waveform-drums.dat", "waveform-drums.json"]


@pytest.fixture
def stems(tmp_path: Path) -> StemSet:
    """Drums with one loud frame in silence, bass with noise."""
    layout = StemLayout(NAMES, 48_000, 2, FRAMES, Encoding.PCM_S16LE)
    stems = StemSet(tmp_path / "stems", layout, tmp_path / "stems" / "peaks")
    stems.resume(RangeSet())
    samples = np.zeros((2, FRAMES, 2), np.float32)
    samples[0, 50_000] = -0.5
    samples[1] = np.random.default_rng(1).uniform(-1, 1, (FRAMES, 2))
    stems.write(0, samples)
    return stems


def waveform_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def written_of(folder: Path, stems: StemSet, disk: Disk, reserve: int = 0) -> dict[str, str]:
    assert stems.peaks is not None
    return write_waveforms(RunFiles(folder), stems.layout, stems.peaks, disk, reserve)


def test_every_stem_gets_both_files(tmp_path: Path, stems: StemSet) -> None:
    names = written_of(tmp_path, stems, FileSystemDisk())
    assert sorted(names) == waveform_files(tmp_path) == FILES
    assert tuple(names) == waveform_names(NAMES)
    for name, sha256 in names.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == sha256
    for stem in NAMES:
        content = (tmp_path / f"waveform-{stem}.dat").read_bytes()
        document = json.loads((tmp_path / f"waveform-{stem}.json").read_text())
        assert struct.unpack("<iIiiIi", content[:24]) == (2, 0, 48_000, 256, 391, 1)
        assert list(struct.unpack("<782h", content[24:])) == document["data"]
    drums = json.loads((tmp_path / "waveform-drums.json").read_text())["data"]
    assert {place: value for place, value in enumerate(drums) if value} == {2 * (50_000 // 256): -16383}
    # Once more, as after a crash before the job's end was stored.
    assert written_of(tmp_path, stems, FileSystemDisk()) == names
    stems.close()


def test_the_callback_s_list_is_read_from_the_files(tmp_path: Path, stems: StemSet) -> None:
    written_of(tmp_path, stems, FileSystemDisk())
    stems.close()
    found = read_waveforms(RunFiles(tmp_path), NAMES)
    assert [(entry["stem_type"], entry["zoom_level"]) for entry in found] == [
        (stem, level) for stem in NAMES for level in (1, 2, 3)
    ]
    lengths = [-(-FRAMES // frames) for frames in (16384, 4096, 1024)]
    points = [cast("list[float]", entry["data"]) for entry in found]
    assert [len(data) for data in points] == lengths * 2
    assert points[0] == [0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0]
    assert all(0 <= point <= 1 for data in points for point in data)
    assert [entry["zoom_level"] for entry in read_waveforms(RunFiles(tmp_path), ["bass"], [2])] == [2]


def test_results_of_earlier_versions_have_none(tmp_path: Path) -> None:
    assert read_waveforms(RunFiles(tmp_path), NAMES) == []
    assert read_waveforms(RunFiles(tmp_path / "nowhere"), NAMES) == []


def test_a_spoilt_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "waveform-drums.dat").write_bytes(b"no waveform")
    waveform = Waveform(44_100, 256, np.zeros((3, 2), np.int16))
    (tmp_path / "waveform-bass.dat").write_bytes(waveform.to_dat())
    assert {entry["stem_type"] for entry in read_waveforms(RunFiles(tmp_path), NAMES)} == {"bass"}


def test_without_room_there_are_none(tmp_path: Path, stems: StemSet) -> None:
    with pytest.raises(DiskFullError):
        written_of(tmp_path, stems, QuotaDisk(0))
    with pytest.raises(DiskFullError):
        written_of(tmp_path, stems, QuotaDisk(1 << 30), reserve=1 << 30)
    assert waveform_files(tmp_path) == []
    stems.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fills_up_or_fails_meanwhile_leaves_no_half(
    tmp_path: Path, stems: StemSet, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    whole = Waveform.write_json
    written: list[Waveform] = []

    def write_json(waveform: Waveform, file: TextIO) -> None:
        written.append(waveform)
        file.write("{")
        if len(written) == 2:
            raise OSError(code, "no more")
        whole(waveform, file)

    monkeypatch.setattr(Waveform, "write_json", write_json)
    with pytest.raises(DiskFullError if code == errno.ENOSPC else InternalError):
        written_of(tmp_path, stems, FileSystemDisk())
    assert len(written) == 2
    assert waveform_files(tmp_path) == []
    stems.close()


@pytest.mark.parametrize("trusted", [True, False])
def test_finished_stems_have_the_peaks_that_they_had_as_they_grew(
    tmp_path: Path, stems: StemSet, trusted: bool
) -> None:
    """Trusted or not: those of an earlier boot may hold anything, and are counted anew."""
    expected = written_of(tmp_path, stems, FileSystemDisk())
    stems.close()
    path = tmp_path / "stems" / "peaks"
    if not trusted:
        path.write_bytes(bytes(path.stat().st_size))
    finished = StemSet(tmp_path / "stems", stems.layout)
    peaks = finished.take_peaks(path, trusted=trusted)
    finished.close()
    assert write_waveforms(RunFiles(tmp_path), stems.layout, peaks, FileSystemDisk()) == expected
    peaks.close()
