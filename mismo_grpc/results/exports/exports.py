"""Makes exports when they are first needed, each once, however many ask for it; and opens them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from mismo_grpc.completion import run_to_completion, wait_ended
from mismo_grpc.errors import (
    ArtifactNotFoundError,
    ExportNotPossibleError,
    ServerDrainingError,
    TooManyExportsError,
)
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Job
from mismo_grpc.results.artifacts import ArtifactReader, content_type_of
from mismo_grpc.results.exports.plan import ExportFile, files_of, is_export_zip
from mismo_grpc.results.exports.rendering import Rendered, bytes_at_most, render, rendered
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.stored_zip import FileSpan, ZipEntry, ZipPlan
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.storage.disk import Disk, disk_errors

log = structlog.get_logger(__name__)

MAX_WAITING = 32
"""Renders that wait for a thread; further requests are refused."""
RETRY_SECONDS = 10.0


@dataclass(eq=False)
class _Render:
    """One file that is being made, and who waits for it."""

    task: asyncio.Future[Rendered]
    stop: threading.Event
    started: threading.Event
    waiters: int = 0
    goes_on: bool = False
    """A client asked for it: it is made also if the client leaves, so that the client finds it when it comes back."""


@dataclass(eq=False)
class _Promised:
    """The bytes that running renders may still write."""

    bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Exports:
    """Makes and opens exports of finished stems; on the event loop.

    `encode` runs a render in a thread of its own kind, which limits how many run at once; `bulk` reads files.
    """

    def __init__(
        self, runs: Runs, *, disk: Disk, disk_reserve: int, bulk: InThread, encode: InThread
    ) -> None:
        self._runs = runs
        self._disk = disk
        self._disk_reserve = disk_reserve
        self._bulk = bulk
        self._encode = encode
        self._renders: dict[tuple[str, str], _Render] = {}
        self._promised = _Promised()
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many renders wait for a thread."""
        return sum(not each.started.is_set() for each in self._renders.values())

    async def open(self, job: Job, name: str) -> ArtifactReader:
        """Opens an export by its name as an artifact, and makes it first if it is not there. The caller holds the run.

        Raises ArtifactNotFoundError, ExportNotPossibleError, TooManyExportsError, ServerDrainingError, DiskFullError,
        InternalError.
        """
        exports = files_of(job, name)
        records = await self.make(job, exports)
        files = self._runs.files(job.run_id)
        if not is_export_zip(name):
            span = FileSpan(0, records[0].size, files.exports / exports[0].file_name)
            return ArtifactReader([span], content_type_of(name), records[0].sha256, self._bulk)
        plan = zip_of(files.exports, exports, records)
        return ArtifactReader(plan.spans, content_type_of(name), in_thread=self._bulk)

    async def make(
        self, job: Job, exports: Sequence[ExportFile], *, for_client: bool = True
    ) -> list[Rendered]:
        """Makes the files that are not there, and returns what is known of all. The caller holds the run.

        Those for a client are refused if too many wait, and are finished even if the caller is cancelled. Others are
        stopped then, and have stopped when this raises, unless a client waits for them too.
        """
        if job.layout is None:
            raise ExportNotPossibleError("a job has no exports before its stems are finished")
        known = await self._bulk(self._known, job, exports)
        missing = [export for export, record in zip(exports, known, strict=True) if record is None]
        if not missing:
            return [record for record in known if record is not None]
        renders = self._join(job, job.layout, missing, for_client=for_client)
        tasks = [each.task for each in renders]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            made = iter([task.result() for task in tasks if task.done()])
        finally:
            await self._leave(renders)
        return [record if record is not None else next(made) for record in known]

    def _known(self, job: Job, exports: Sequence[ExportFile]) -> list[Rendered | None]:
        files = self._runs.files(job.run_id)
        return [rendered(files, export) for export in exports]

    def _join(
        self, job: Job, layout: StemLayout, exports: Sequence[ExportFile], *, for_client: bool
    ) -> list[_Render]:
        """The renders of these files, those included that others began."""
        new = [each for each in exports if (job.run_id, each.file_name) not in self._renders]
        if new and self._closed:
            raise ServerDrainingError("the server is shutting down; try again shortly", retry_after=5.0)
        if new and for_client and self.waiting + len(new) > MAX_WAITING:
            raise TooManyExportsError(
                f"{self.waiting} exports wait to be made; try again in a while", retry_after=RETRY_SECONDS
            )
        for export in new:
            self._begin(job, layout, export)
        renders = [self._renders[job.run_id, each.file_name] for each in exports]
        for each in renders:
            each.waiters += 1
            each.goes_on = each.goes_on or for_client
        return renders

    def _begin(self, job: Job, layout: StemLayout, export: ExportFile) -> None:
        stop, started = threading.Event(), threading.Event()
        held = ExitStack()
        held.enter_context(self._runs.held(job.run_id))
        task = asyncio.ensure_future(self._encode(self._render, job.run_id, layout, export, stop, started))
        key = (job.run_id, export.file_name)
        self._renders[key] = _Render(task, stop, started)

        def ended(task: asyncio.Future[Rendered]) -> None:
            del self._renders[key]
            held.close()
            # Retrieves the error, as all who waited may have left.
            if not task.cancelled() and task.exception() is None:
                log.info("export made", job_id=job.job_id, name=export.name, bytes=task.result().size)

        task.add_done_callback(ended)

    async def _leave(self, renders: Sequence[_Render]) -> None:
        stopped: list[asyncio.Future[Rendered]] = []
        for each in renders:
            each.waiters -= 1
            if not each.waiters and not each.goes_on and not each.task.done():
                each.stop.set()
                stopped.append(each.task)
        if stopped:
            await run_to_completion(wait_ended(stopped))

    def _render(
        self,
        run_id: str,
        layout: StemLayout,
        export: ExportFile,
        stop: threading.Event,
        started: threading.Event,
    ) -> Rendered:
        started.set()
        files = self._runs.files(run_id)

        def check() -> None:
            if stop.is_set():
                raise ServerDrainingError("the server is shutting down; try again shortly", retry_after=5.0)
            if self._runs.is_discarded(run_id):
                raise ArtifactNotFoundError(f"{export.name}: the job was deleted while it was being made")

        check()
        there = rendered(files, export)
        if there is not None:
            return there
        if not files.stems.is_dir():
            raise ArtifactNotFoundError(
                f"{export.name} cannot be made: the stems are gone from the server; submit the track again"
            )
        needed, promised = bytes_at_most(layout, export), self._promised
        with promised.lock, disk_errors():
            self._disk.require(files.folder, needed + promised.bytes, self._disk_reserve)
            promised.bytes += needed
        try:
            return render(files, layout, export, check)
        finally:
            with promised.lock:
                promised.bytes -= needed

    async def close(self) -> None:
        """Stops all renders and refuses new ones; what was not finished is made again when it is needed."""
        self._closed = True
        tasks = [each.task for each in self._renders.values()]
        for each in self._renders.values():
            each.stop.set()
        if tasks:
            await run_to_completion(wait_ended(tasks))


def zip_of(folder: Path, exports: Sequence[ExportFile], records: Sequence[Rendered]) -> ZipPlan:
    """The archive of several exports in `folder`, without folders, in the order of the stems."""
    return ZipPlan.of(
        [
            ZipEntry(export.name, folder / export.file_name, record.size, record.crc32)
            for export, record in zip(exports, records, strict=True)
        ]
    )
