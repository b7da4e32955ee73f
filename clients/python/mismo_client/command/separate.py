"""One track from submit to stem files, playing from the playhead while the rest is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from mismo.analysis.v1.job_pb2 import PRIORITY_NORMAL, Priority
from mismo.analysis.v1.job_service_pb2 import SubmitJobResponse
from mismo.analysis.v1.stage_pb2 import STAGE_STEMS, Stage
from mismo_client.client import AsyncClient
from mismo_client.command.analysis.offered import offered_analyses
from mismo_client.command.exports.fetching import ExportReporter, fetch_exports
from mismo_client.command.sources import FileOrBlob, submit_track
from mismo_client.command.stem_files import FileFormat
from mismo_client.command.stem_job import Received, Reporter, StemJob, StemTarget
from mismo_client.submits import UploadedTrack


@dataclass(frozen=True)
class Separation:
    """What to separate and where to put it: `output/<track's name>/<stem>.<format>`; seconds."""

    track: FileOrBlob
    output: Path
    model: str = ""
    stems: tuple[str, ...] = ()
    two_stems: str = ""
    playhead: float | None = None
    file_format: FileFormat = FileFormat.WAV
    upload: bool = False
    priority: Priority = PRIORITY_NORMAL
    shifts: int = 0
    overlap: float | None = None
    analyses: tuple[Stage, ...] = ()
    blob_prefix: str = ""
    export: tuple[str, ...] = ()
    every_analysis: bool = False
    """Also every other analysis that the server offers."""

    @property
    def folder(self) -> Path:
        """Where the stems go."""
        return self.output / self.track.stem


class SeparationReporter(Reporter, ExportReporter, Protocol):
    """Who is told how a separation and its exports go."""


async def separate_track(
    client: AsyncClient, plan: Separation, reporter: SeparationReporter, clock: Callable[[], float]
) -> Received:
    """Submits, receives, writes; if it is cancelled, it cancels the job that it started. `clock` gives seconds.

    Raises MismoRpcError, JobFailedError, other ClientErrors, OSError.
    """
    analyses = plan.analyses
    if plan.every_analysis:
        analyses = (*analyses, *await offered_analyses(client, reporter))
    stem_job = StemJob(
        client, StemTarget(plan.folder, plan.file_format, plan.playhead or 0.0), reporter, clock
    )

    async def submit(source: str | Path | UploadedTrack) -> SubmitJobResponse:
        return await stem_job.submit(
            client.submit(
                source,
                stages=tuple(dict.fromkeys((STAGE_STEMS, *analyses))),
                model=plan.model,
                stems=plan.stems,
                two_stems=plan.two_stems,
                playhead=plan.playhead,
                priority=plan.priority,
                shifts=plan.shifts,
                overlap=plan.overlap,
                blob_prefix=plan.blob_prefix,
                export=plan.export,
            )
        )

    done = await stem_job.run(submit_track(client, plan.track, plan.upload, reporter, submit))
    exported = await fetch_exports(client, done.job, plan.export, plan.folder, reporter, plan.track.stem)
    return replace(done, files=[*done.files, *exported])
