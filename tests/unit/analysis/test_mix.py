"""The decoded mix, mapped from its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.analysis.mix import MixFile


def test_maps_the_samples_of_the_file_for_reading(tmp_path: Path) -> None:
    samples = np.arange(12, dtype="<f4").reshape(6, 2)
    (tmp_path / "mix.f32").write_bytes(samples.tobytes())
    mapped = MixFile(tmp_path / "mix.f32", 6, 2, 44_100).samples()
    np.testing.assert_array_equal(mapped, samples)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0, 0] = 1.0


@pytest.mark.parametrize(("frames", "channels"), [(5, 2), (7, 2), (6, 1), (0, 2)])
def test_a_file_of_another_size_is_refused(tmp_path: Path, frames: int, channels: int) -> None:
    (tmp_path / "mix.f32").write_bytes(bytes(48))
    with pytest.raises(ValueError, match=f"48 bytes; {frames} frames"):
        MixFile(tmp_path / "mix.f32", frames, channels, 44_100).samples()


def test_a_file_that_is_gone_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MixFile(tmp_path / "mix.f32", 6, 2, 44_100).samples()
