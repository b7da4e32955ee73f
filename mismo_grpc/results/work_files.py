"""Which files of a run go when: work files as soon as no stage needs them, all of them with a run that has no result.

Functions block on the disk.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from mismo_grpc.storage.run_files import RunFiles


def remove_needless(files: RunFiles, *, mix: bool, stems: bool, peaks: bool) -> None:
    """Removes the source and the work files, but for what is needed further.

    `mix` keeps the source and the decoded track, `stems` what the separation goes on from, `peaks` those of the stems.
    What cannot be removed stays until the job's files go.
    """
    if not (mix or stems or peaks):
        shutil.rmtree(files.work, ignore_errors=True)
        _remove(files.source)
        return
    if not mix:
        for path in (files.source, files.mix, files.mix_record):
            _remove(path)
    if not stems:
        for path in (files.journal, files.unconverted):
            _remove(path)
        shutil.rmtree(files.pieces, ignore_errors=True)
        if not peaks:
            _remove(files.peaks)


def remove_results(files: RunFiles) -> None:
    """Removes all but the source, which a restart needs as long as the job's end is not stored."""
    for folder in (files.stems, files.work):
        shutil.rmtree(folder, ignore_errors=True)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
