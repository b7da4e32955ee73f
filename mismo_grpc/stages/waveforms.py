"""The waveforms of the stems, for drawing: files beside the stems, made of the peaks that were taken with them."""

from __future__ import annotations

from collections.abc import Sequence

from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import InternalError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Artifact, Stage
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.waveforms import write_waveforms
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stage import Retry, StageResult
from mismo_grpc.storage.disk import Disk, disk_errors


class WaveformsStage:
    """Writes the waveforms. They give way to the reserve of a disk that is nearly full: the job then ends without."""

    stage = Stage.WAVEFORMS
    retries: Sequence[Retry] = ()

    def __init__(self, runs: Runs, *, disk: Disk, disk_reserve: int, bulk: InThread) -> None:
        self._runs = runs
        self._disk = disk
        self._disk_reserve = disk_reserve
        self._bulk = bulk

    def time_limit(self, audio_seconds: float) -> float | None:
        """See StageWork: it reads and writes a few files."""
        return None

    async def run(self, context: StageContext) -> StageResult:
        """See StageWork."""
        await context.needs()
        await context.begin()
        layout = context.job.layout
        if layout is None:
            raise InternalError("a job has no waveforms without stems")
        run_id, trusted = context.job.run_id, context.memory.separated
        # Once begun it is carried out, so that nothing writes into the folder after a cancellation.
        return await run_to_completion(self._bulk(self._write, run_id, layout, trusted))

    def _write(self, run_id: str, layout: StemLayout, trusted: bool) -> StageResult:
        """`trusted`: the peaks among the work files are of these stems and whole."""
        files = self._runs.files(run_id)
        with disk_errors():
            stems = StemSet(files.stems, layout)
            try:
                peaks = stems.take_peaks(files.peaks, trusted=trusted)
            finally:
                stems.close()
            try:
                written = write_waveforms(files, layout, peaks, self._disk, self._disk_reserve)
            finally:
                peaks.close()
            self._runs.sync_names(run_id)
            artifacts = tuple(
                Artifact(name, files.artifact(name).stat().st_size, sha256)
                for name, sha256 in written.items()
            )
        return StageResult(artifacts=artifacts, bytes=sum(each.total_bytes for each in artifacts))
