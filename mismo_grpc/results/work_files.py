"""Removes the files of a run: work files as soon as no stage needs them, all files if the run has no result.

Functions block on the disk.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mismo_grpc.storage.run_files import RunFiles


@dataclass(frozen=True)
class Needed:
    """Which files are still needed: the source, the decoded track, the files to resume separation, the stems' peaks."""

    source: bool = False
    mix: bool = False
    stems: bool = False
    peaks: bool = False


def remove_needless(files: RunFiles, needed: Needed) -> None:
    """Removes the source and the work files that are not needed.

    A file that cannot be removed stays until the run is removed.
    """
    if not needed.source:
        _remove(files.source)
    mix, stems, peaks = needed.mix, needed.stems, needed.peaks
    if not (mix or stems or peaks):
        shutil.rmtree(files.work, ignore_errors=True)
        return
    if not mix:
        _remove(files.mix)
        _remove(files.mix_record)
    if not stems:
        for path in (files.journal, files.unconverted):
            _remove(path)
        shutil.rmtree(files.pieces, ignore_errors=True)
        if not peaks:
            _remove(files.peaks)


def remove_results(files: RunFiles) -> None:
    """Removes all files except the source, which a restart needs until the job's end is stored."""
    for folder in (files.stems, files.exports, files.work):
        shutil.rmtree(folder, ignore_errors=True)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
