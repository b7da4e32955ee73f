"""The waveforms that a finished job leaves: `waveform-STEM.dat` and `waveform-STEM.json` beside stems.json.

Both are audiowaveform's formats at 256 frames a pixel, made of the peaks that were taken while the stems were
written. Nothing depends on them: results of earlier versions have none, and they give way to the reserve of a
disk that is nearly full. Functions block on the disk.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from mismo_grpc.audio.peaks import FRAMES_PER_PIXEL, ZOOM_LEVELS, PeakFile, Waveform, waveforms_document
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.storage.disk import Disk, disk_errors, synced_file
from mismo_grpc.storage.run_files import RunFiles

WAVEFORM_TYPES = {".dat": "application/octet-stream", ".json": "application/json"}
WAVEFORM_PREFIX = "waveform-"

_BYTES_PER_PIXEL = 18
"""At most, of both files: two numbers of 2 bytes, and of 6 characters and a comma."""
_HEADERS_BYTES = 256


def waveform_names(stem_names: Iterable[str]) -> tuple[str, ...]:
    """The names of the artifacts that stems of these names have."""
    return tuple(f"{WAVEFORM_PREFIX}{stem}{suffix}" for stem in stem_names for suffix in WAVEFORM_TYPES)


def write_waveforms(
    files: RunFiles, layout: StemLayout, peaks: PeakFile, disk: Disk, reserve: int = 0
) -> dict[str, str]:
    """Writes the waveforms of all stems and brings them to the disk; answers the SHA-256 of each by its name.

    `peaks` are those of the whole stems. Raises DiskFullError without room beside the reserve, or InternalError; there
    are no waveforms then.
    """
    pixels = -(-layout.total_frames // FRAMES_PER_PIXEL)
    needed = len(layout.stem_names) * (pixels * _BYTES_PER_PIXEL + _HEADERS_BYTES)
    disk.require(files.folder, needed, reserve)
    written: dict[str, str] = {}
    try:
        with disk_errors():
            for index, stem in enumerate(layout.stem_names):
                waveform = peaks.waveform(index, layout.sample_rate)
                for name, write in zip(waveform_names([stem]), (_write_dat, _write_json), strict=True):
                    path = files.artifact(name)
                    with synced_file(path) as file:
                        write(waveform, file)
                    with path.open("rb") as file:
                        written[name] = hashlib.file_digest(file, "sha256").hexdigest()
    except BaseException:
        _remove(files, layout.stem_names)
        raise
    return written


def _write_dat(waveform: Waveform, file: BinaryIO) -> None:
    file.write(waveform.to_dat())


def _write_json(waveform: Waveform, file: BinaryIO) -> None:
    text = io.TextIOWrapper(file, "ascii")
    waveform.write_json(text)
    text.detach()


def _remove(files: RunFiles, stem_names: Iterable[str]) -> None:
    for name in waveform_names(stem_names):
        files.artifact(name).unlink(missing_ok=True)


def read_waveforms(
    files: RunFiles, stem_names: Iterable[str], levels: Sequence[int] = tuple(ZOOM_LEVELS)
) -> list[dict[str, object]]:
    """`waveforms` of a callback: see `waveforms_document`. A stem whose waveform is missing or spoilt has no entry.

    Raises KeyError for a zoom level that there is not.
    """
    waveforms: dict[str, Waveform] = {}
    for stem in stem_names:
        try:
            waveforms[stem] = Waveform.from_dat(files.artifact(f"{WAVEFORM_PREFIX}{stem}.dat").read_bytes())
        except (OSError, ValueError):
            continue
    return waveforms_document(waveforms, levels)
