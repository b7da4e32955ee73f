"""Files with the results of a job: picture, JAMS, JSON. Each appears when it is whole."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import typer

from mismo.analysis.v1 import job_pb2
from mismo.analysis.v1.stage_pb2 import STAGE_ANNOTATION
from mismo_client.client import AsyncClient
from mismo_client.command.render import as_json, json_line
from mismo_client.command.result_text import error_text
from mismo_client.errors import ClientError
from mismo_client.transfer.artifacts import whole_file

JAMS_ARTIFACT = "annotation.jams"
DASH = Path("-")


class PlotUnavailableError(ClientError):
    """A library that draws is missing."""


class NoAnnotationError(ClientError):
    """The job has no annotation.jams."""


@dataclass(frozen=True)
class ResultFiles:
    """Where to write what; None: not asked for."""

    plot: Path | None = None
    jams: Path | None = None
    json: Path | None = None

    @property
    def targets(self) -> list[Path]:
        """The files that are asked for."""
        return [path for path in (self.plot, self.jams, self.json) if path is not None and path != DASH]

    @property
    def asked(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.targets) or self.json_to_stdout

    @property
    def json_to_stdout(self) -> bool:
        """Whether the answer is for a program."""
        return self.json == DASH

    def check_libraries(self) -> None:
        """Raises PlotUnavailableError if a picture is asked for and cannot be drawn."""
        if self.plot is None:
            return
        for library in ("numpy", "matplotlib"):
            try:
                importlib.import_module(library)
            except ImportError as error:
                raise PlotUnavailableError(
                    f"a picture needs the package {library}: pip install 'mismo-grpc[plot]'"
                ) from error

    async def write(self, client: AsyncClient, job: job_pb2.Job, track: Path) -> AsyncGenerator[Path, None]:
        """Writes the files one after the other, and yields the path of each that is written.

        A file that fails does not keep the others from being written; then it raises the first error:
        NoAnnotationError, UnreadableTrackError, another ClientError or OSError.
        """
        failed: ClientError | OSError | None = None
        writers: tuple[tuple[Path | None, Callable[[Path], Awaitable[None]]], ...] = (
            (self.json, lambda target: asyncio.to_thread(_write_json, target, job)),
            (self.jams, lambda target: _fetch_jams(client, target, job)),
            (self.plot, lambda target: asyncio.to_thread(_draw, target, track, job)),
        )
        for target, write in writers:
            if target is None:
                continue
            try:
                await write(target)
            except (ClientError, OSError) as error:
                failed = failed or error
            else:
                if target != DASH:
                    yield target
        if failed is not None:
            raise failed


def check_targets(files: ResultFiles) -> None:
    """Raises BadParameter if the folder of a file is missing: an analysis takes too long to find out after it."""
    for target in files.targets:
        if not target.absolute().parent.is_dir():
            raise typer.BadParameter(f"there is no folder {target.parent} for {target.name}")


def _why_no_annotation(job: job_pb2.Job) -> str:
    for stage in job.stages:
        if stage.stage == STAGE_ANNOTATION and stage.HasField("error"):
            return error_text(stage.error)
    return "no analysis that goes into it was asked for, or the server does not write it"


async def _fetch_jams(client: AsyncClient, target: Path, job: job_pb2.Job) -> None:
    if all(artifact.name != JAMS_ARTIFACT for artifact in job.artifacts):
        raise NoAnnotationError(f"there is no {JAMS_ARTIFACT}: {_why_no_annotation(job)}")
    await client.artifact(job.job_id, JAMS_ARTIFACT, target, expected_run_id=job.run_id)


def _write_json(target: Path, job: job_pb2.Job) -> None:
    text = json_line(as_json(job))
    if target == DASH:
        # Flushed here: a full disk or a closed pipe behind it is then this command's error.
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    with whole_file(target) as part:
        part.write_text(text, encoding="utf-8")


def _draw(target: Path, track: Path, job: job_pb2.Job) -> None:
    # Here, not above: matplotlib takes longer to load than any other command to run.
    from mismo_client.plotting.picture import save_picture
    from mismo_client.plotting.results import TrackResults
    from mismo_client.plotting.waveform import read_waveform

    waveform = read_waveform(track)
    save_picture(target, track.stem, TrackResults.of(job, waveform.seconds), waveform)
