"""Reads the peaks of a finished run's stems in parts from its `waveform-STEM.dat` files."""

from __future__ import annotations

from mismo_grpc.audio.peaks import FRAMES_PER_PIXEL, DatFile, Peaks
from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.results.waveforms import WAVEFORM_PREFIX
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.storage.run_files import RunFiles


class StoredPeaks:
    """One open file for each stem, in layout order; methods block. The caller holds the run while it reads."""

    def __init__(self, files: RunFiles, layout: StemLayout) -> None:
        """Raises ArtifactNotFoundError if the run has no waveforms, or they are damaged."""
        self._files: list[DatFile] = []
        pixels = -(-layout.total_frames // FRAMES_PER_PIXEL)
        try:
            for stem in layout.stem_names:
                file = DatFile(files.artifact(f"{WAVEFORM_PREFIX}{stem}.dat"))
                self._files.append(file)
                found = (file.sample_rate, file.frames_per_pixel, file.pixels)
                if found != (layout.sample_rate, FRAMES_PER_PIXEL, pixels):
                    raise ValueError("a waveform file is of another track")
        except (OSError, ValueError) as error:
            self.close()
            raise ArtifactNotFoundError(
                "this run has no waveforms: none were asked for, the disk was nearly full, "
                "or they are damaged; submit the track again"
            ) from error

    def read(self, track: int, first_pixel: int, pixel_count: int) -> Peaks:
        """The lowest and highest sample of each of these pixels of a stem, [pixels, 2]."""
        return self._files[track].read(first_pixel, pixel_count)

    def close(self) -> None:
        """Closes the files."""
        while self._files:
            self._files.pop().close()
