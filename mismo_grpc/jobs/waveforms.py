"""The waveforms that a finished job leaves: `waveform-STEM.dat` and `waveform-STEM.json` beside stems.json.

Both are audiowaveform's formats at 256 frames a pixel, made of the peaks that were taken while the stems were
written. Nothing depends on them: results of earlier versions have none, and they give way to the reserve of a
disk that is nearly full. Functions block on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog

from mismo_grpc.audio.peaks import FRAMES_PER_PIXEL, ZOOM_LEVELS, PeakFile, Waveform, waveforms_document
from mismo_grpc.errors import DiskFullError
from mismo_grpc.separation.stems import StemSet
from mismo_grpc.storage.disk import Disk, disk_errors

log = structlog.get_logger(__name__)

WAVEFORM_TYPES = {".dat": "application/octet-stream", ".json": "application/json"}
WAVEFORM_PREFIX = "waveform-"

_BYTES_PER_PIXEL = 18
"""At most, of both files: two numbers of 2 bytes, and of 6 characters and a comma."""
_HEADERS_BYTES = 256


def waveform_names(stem_names: Iterable[str]) -> tuple[str, ...]:
    """The names of the artifacts that stems of these names have."""
    return tuple(f"{WAVEFORM_PREFIX}{stem}{suffix}" for stem in stem_names for suffix in WAVEFORM_TYPES)


def write_waveforms(job_folder: Path, stems: StemSet, disk: Disk, reserve: int = 0) -> tuple[str, ...]:
    """Writes the waveforms of all stems; answers their names: none, and no file, without room.

    Each is renamed into place when whole, but not forced out to the disk. Raises InternalError.
    """
    layout, peaks = stems.layout, stems.peaks
    if peaks is None:
        return ()
    names = waveform_names(layout.stem_names)
    pixels = -(-layout.total_frames // FRAMES_PER_PIXEL)
    try:
        needed = len(layout.stem_names) * (pixels * _BYTES_PER_PIXEL + _HEADERS_BYTES)
        disk.require(job_folder, needed, reserve)
        with disk_errors():
            for index in range(len(layout.stem_names)):
                _write(job_folder, names[2 * index : 2 * index + 2], peaks, index, layout.sample_rate)
    except DiskFullError:
        log.warning("no room for a job's waveforms; it ends without them", job_id=job_folder.name)
        for name in names:
            _remove(job_folder, name)
        return ()
    except BaseException:
        for name in names:
            _remove(job_folder, name)
        raise
    return names


def _write(job_folder: Path, names: Sequence[str], peaks: PeakFile, index: int, sample_rate: int) -> None:
    waveform = peaks.waveform(index, sample_rate)
    dat, text = names
    _aside(job_folder, dat).write_bytes(waveform.to_dat())
    with _aside(job_folder, text).open("w", encoding="ascii") as file:
        waveform.write_json(file)
    for name in names:
        os.replace(_aside(job_folder, name), job_folder / name)


def _aside(job_folder: Path, name: str) -> Path:
    return job_folder / f".{name}.new"


def _remove(job_folder: Path, name: str) -> None:
    _aside(job_folder, name).unlink(missing_ok=True)
    (job_folder / name).unlink(missing_ok=True)


def read_waveforms(
    job_folder: Path, stem_names: Iterable[str], levels: Sequence[int] = tuple(ZOOM_LEVELS)
) -> list[dict[str, object]]:
    """`waveforms` of a callback: see `waveforms_document`. A stem whose waveform is missing or spoilt has no entry.

    Raises KeyError for a zoom level that there is not.
    """
    waveforms: dict[str, Waveform] = {}
    for stem in stem_names:
        try:
            waveforms[stem] = Waveform.from_dat((job_folder / f"{WAVEFORM_PREFIX}{stem}.dat").read_bytes())
        except (OSError, ValueError):
            continue
    return waveforms_document(waveforms, levels)
