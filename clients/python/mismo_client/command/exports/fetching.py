"""Fetches the exports of a job into a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import typer

from mismo.analysis.v1 import job_pb2
from mismo_client.client import AsyncClient
from mismo_client.command.stem_files import UnsafeStemNameError
from mismo_client.exports import EXPORT_FORMATS, STEM_MP4, exported_names


class ExportReporter(Protocol):
    """Who is told how it goes."""

    def exporting(self, name: str, done: int, total: int) -> None:
        """Bytes of a file that are here; `total` is 0 while the server makes it."""
        ...


def export_formats(text: str) -> tuple[str, ...]:
    """Names of formats, separated by commas; raises BadParameter."""
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in EXPORT_FORMATS:
            known = ", ".join(EXPORT_FORMATS)
            raise typer.BadParameter(f"{name!r} is no format of an export; there are {known}")
    return names


async def fetch_exports(
    client: AsyncClient,
    job: job_pb2.Job,
    formats: Sequence[str],
    folder: Path,
    reporter: ExportReporter,
    title: str = "track",
) -> list[Path]:
    """Writes `folder/STEM.mp3` and the like, and `folder/TITLE.stem.mp4`; returns them. Makes the folder.

    The server makes what is not there yet. Raises MismoRpcError, other ClientErrors, OSError.
    """
    stems = list(job.stem_set.stem_names)
    if any(name in {"", ".", ".."} or Path(name).name != name for name in stems):
        raise UnsafeStemNameError(f"the server's stem names {stems} are no file names")
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    files: list[Path] = []
    for export in formats:
        for name in exported_names(export, stems):
            target = folder / (f"{title}.stem.mp4" if name == STEM_MP4 else name)
            reporter.exporting(name, 0, 0)
            files.append(
                await client.artifact(
                    job.job_id,
                    name,
                    target,
                    expected_run_id=job.run_id,
                    on_progress=lambda done, total, name=name: reporter.exporting(name, done, total),
                )
            )
    return files
