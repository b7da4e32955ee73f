"""Peaks of finished runs, from the files that they left."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.results.stored_peaks import StoredPeaks
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.storage.run_files import RunFiles

LAYOUT = StemLayout(("drums", "bass"), 48_000, 2, 10_000, Encoding.PCM_S16LE)


@pytest.fixture
def stems(tmp_path: Path) -> StemSet:
    """Noise, and its waveforms written beside it."""
    stems = StemSet(tmp_path / "stems", LAYOUT, tmp_path / "peaks")
    stems.resume(RangeSet())
    stems.write(0, np.random.default_rng(1).uniform(-1, 1, (2, 10_000, 2)).astype(np.float32))
    assert stems.peaks is not None
    for index, name in enumerate(LAYOUT.stem_names):
        (tmp_path / f"waveform-{name}.dat").write_bytes(stems.peaks.waveform(index, 48_000).to_dat())
    return stems


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_they_are_those_that_grew_with_the_stems(tmp_path: Path, stems: StemSet) -> None:
    assert stems.peaks is not None
    stored = StoredPeaks(RunFiles(tmp_path), LAYOUT)
    for track in (0, 1):
        for first, count in ((0, 40), (7, 13), (39, 1)):
            np.testing.assert_array_equal(
                stored.read(track, first, count), stems.peaks.read(track, first, count)
            )
    stored.close()
    stems.close()


@pytest.mark.parametrize("damage", ["gone", "cut", "another"])
def test_a_run_without_whole_waveforms_has_none(tmp_path: Path, stems: StemSet, damage: str) -> None:
    stems.close()
    path = tmp_path / "waveform-bass.dat"
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        os.truncate(path, 100)
    layout = (
        LAYOUT if damage != "another" else StemLayout(("drums", "bass"), 48_000, 2, 9_000, LAYOUT.encoding)
    )
    before = open_files()
    with pytest.raises(ArtifactNotFoundError, match="no waveforms"):
        StoredPeaks(RunFiles(tmp_path), layout)
    assert open_files() == before
