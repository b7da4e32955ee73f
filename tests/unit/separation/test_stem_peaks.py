"""Peaks grow with the stem files and are those of what is stored, through any end of the process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mismo_grpc.audio.encode import Encoding, pcm_s16
from mismo_grpc.separation import stems as stems_module
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout, StemSet

FRAMES = 5_000
NAMES = ("drums", "bass")


def open_stems(
    folder: Path,
    ready: Sequence[tuple[int, int]] = (),
    *,
    encoding: Encoding = Encoding.PCM_S16LE,
    channels: int = 2,
) -> StemSet:
    """As the engine does, at first and after a restart."""
    layout = StemLayout(NAMES, 44_100, channels, FRAMES, encoding)
    stems = StemSet(folder / "stems", layout, folder / "peaks")
    stems.resume(RangeSet(ready))
    return stems


def loud(channels: int = 2) -> npt.NDArray[np.float32]:
    """Louder than full scale here and there."""
    noise = np.random.default_rng(1).standard_normal((len(NAMES), FRAMES, channels))
    return (noise * 0.5).astype(np.float32)


def stored_peaks(stems: StemSet) -> list[list[list[int]]]:
    """From the files, pixel by pixel."""
    layout, found = stems.layout, []
    for index in range(len(NAMES)):
        pcm = stems.read(index, 0, FRAMES)
        frames = pcm_s16(pcm, layout.encoding, layout.channels).astype(np.int64)
        mono = np.trunc(frames.mean(axis=1))
        found.append(
            [[int(mono[at : at + 256].min()), int(mono[at : at + 256].max())] for at in range(0, FRAMES, 256)]
        )
    return found


def taken_peaks(stems: StemSet) -> list[list[list[int]]]:
    assert stems.peaks is not None
    return [stems.peaks.waveform(index, 44_100).peaks.tolist() for index in range(len(NAMES))]


@pytest.mark.parametrize("encoding", [Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE])
@pytest.mark.parametrize("channels", [1, 2])
def test_peaks_are_those_of_the_samples_as_stored(tmp_path: Path, encoding: Encoding, channels: int) -> None:
    stems, samples = open_stems(tmp_path, encoding=encoding, channels=channels), loud(channels)
    samples[0, :300] = np.nan_to_num(np.float32("inf"))
    for start, end in ((3_000, FRAMES), (0, 1_001), (1_001, 3_000)):
        stems.write(start, samples[:, start:end])
    assert taken_peaks(stems) == stored_peaks(stems)
    assert taken_peaks(stems)[0][0] == [32767, 32767]
    stems.close()


def test_samples_that_are_not_numbers_leave_no_trace(tmp_path: Path) -> None:
    stems, samples = open_stems(tmp_path, encoding=Encoding.PCM_F32LE), loud()
    samples[:, 256:512] = np.nan
    stems.write(0, samples)
    assert taken_peaks(stems)[0][1] == [0, 0]
    stems.close()


def test_a_restart_goes_on_with_the_peaks_of_what_was_committed(tmp_path: Path) -> None:
    stems, samples = open_stems(tmp_path), loud()
    stems.write(0, samples[:, :1_900])
    # Written and not committed: the process ends here, and what comes again is the same.
    stems.write(1_900, samples[:, 1_900:2_500])
    stems.close()
    stems = open_stems(tmp_path, [(0, 1_900)])
    stems.write(1_900, samples[:, 1_900:])
    assert taken_peaks(stems) == stored_peaks(stems)
    stems.close()


def test_peaks_that_are_gone_are_taken_from_what_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever took them away."""
    monkeypatch.setattr(stems_module, "BLOCK_FRAMES", 700)
    stems, samples = open_stems(tmp_path, encoding=Encoding.PCM_S24LE), loud()
    for start, end in ((0, 1_900), (2_000, 4_000)):
        stems.write(start, samples[:, start:end])
    stems.close()
    (tmp_path / "peaks").unlink()
    stems = open_stems(tmp_path, [(0, 1_900), (2_000, 4_000)], encoding=Encoding.PCM_S24LE)
    stems.write(1_900, samples[:, 1_900:2_000])
    stems.write(4_000, samples[:, 4_000:])
    assert taken_peaks(stems) == stored_peaks(stems)
    stems.close()


def test_where_nothing_is_ready_all_begins_anew(tmp_path: Path) -> None:
    stems = open_stems(tmp_path)
    stems.write(0, loud())
    stems.close()
    stems = open_stems(tmp_path)
    assert taken_peaks(stems) == [[[0, 0]] * 20] * 2
    stems.close()


def test_finished_stems_have_no_peaks_of_their_own(tmp_path: Path) -> None:
    growing = open_stems(tmp_path)
    finished = StemSet(tmp_path / "stems", growing.layout)
    assert finished.peaks is None
    growing.close()
    finished.close()
