"""Builds the JSON that reports how a job ended, as a stream of bytes of known length.

Stems are encoded to base64 from their files block by block while they are sent, so a body takes a few blocks of
memory, however long the track. A callback's body has an envelope around what `GET /jobs/{id}/stems` returns.
"""

from __future__ import annotations

import asyncio
import binascii
import errno
import json
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from mismo_grpc.delivery.timestamps import timestamp
from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.callbacks import stage_named
from mismo_grpc.jobs.job import DeliveryMode, Job, Stage, StageState, StageStatus
from mismo_grpc.jobs.stage_data import STEM_STAGES
from mismo_grpc.results.documents import stage_document
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.worker_document import worker_document
from mismo_grpc.storage.run_files import RunFiles

T = TypeVar("T")

FOUR_STEMS = ("bass", "drums", "other", "vocals")
"""Keys that clients expect in every result; the keys of stems that were not requested are null."""
READ_BYTES = 3 << 18
"""Bytes of one block; a multiple of 3, so that the blocks' base64 can be concatenated."""

Waveforms = Callable[[RunFiles, Sequence[str]], list[dict[str, object]]]
"""Returns the waveforms of a run's stems; blocks on the disk."""


@dataclass(frozen=True)
class _StemFile:
    """An open file that the body contains as base64."""

    descriptor: int
    size: int


class Body:
    """JSON text of `length` bytes. It keeps files open: use it as a context manager, or call `close`."""

    def __init__(self, parts: Sequence[bytes | _StemFile], in_thread: InThread) -> None:
        self._parts = parts
        self._call_in_thread = in_thread
        self._closed = False
        self._pending: set[asyncio.Future[Any]] = set()
        self.length = sum(len(part) if isinstance(part, bytes) else -(-part.size // 3) * 4 for part in parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yields the blocks in order; can be repeated. Raises OSError if a file cannot be read to its end.

        It reads one block ahead of the sender, because a thread may wait long to run on a busy machine.
        """
        reads = self._reads()
        ahead = self._start_read(next(reads, None))
        while ahead is not None:
            block = await asyncio.shield(ahead)
            ahead = self._start_read(next(reads, None))
            yield block

    async def read_into(self, consume: Callable[[bytes], object]) -> None:
        """Passes every block to `consume`, which may block, in one thread. Raises OSError."""
        stopped = threading.Event()

        def consume_blocks() -> None:
            for read in self._reads():
                if stopped.is_set():
                    return
                consume(read())

        try:
            await asyncio.shield(self._in_thread(consume_blocks))
        finally:
            stopped.set()

    def _start_read(self, read: Callable[[], bytes] | None) -> asyncio.Future[bytes] | None:
        return None if read is None else self._in_thread(read)

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        task = asyncio.ensure_future(self._call_in_thread(work))
        self._pending.add(task)
        task.add_done_callback(self._read_ended)
        return task

    def _read_ended(self, task: asyncio.Future[Any]) -> None:
        self._pending.discard(task)
        if not task.cancelled():
            # Marks the error as retrieved: if the waiter is gone, asyncio would log it.
            task.exception()
        if self._closed:
            self.close()

    def _reads(self) -> Iterator[Callable[[], bytes]]:
        for part in self._parts:
            if isinstance(part, bytes):
                for offset in range(0, len(part), READ_BYTES):
                    yield partial(part.__getitem__, slice(offset, offset + READ_BYTES))
            else:
                for offset in range(0, part.size, READ_BYTES):
                    yield partial(_base64, part, offset)

    def close(self) -> None:
        """Closes the files, at once or after the last read that is in progress; can be called twice."""
        self._closed = True
        if self._pending:
            return
        for part in self._parts:
            if isinstance(part, _StemFile):
                os.close(part.descriptor)
        self._parts = ()

    def __enter__(self) -> Body:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Bodies:
    """Builds the bodies of jobs; the caller must hold the run meanwhile (`Runs.held`)."""

    def __init__(self, runs: Runs, waveforms: Waveforms, in_thread: InThread = asyncio.to_thread) -> None:
        """Files are opened and read by `in_thread`."""
        self._in_thread = in_thread
        self._runs = runs
        self._waveforms = waveforms

    async def callback(self, job: Job, stage: str, at: float) -> Body:
        """What a callback says of a stage that has ended, named by `stage`; `at` is its time, seconds since the epoch.

        Raises ArtifactNotFoundError if the stems are gone, OSError if they cannot be opened.
        """
        return await self._made(partial(self._callback, job, stage, at))

    async def stems(self, job: Job, mode: DeliveryMode | None = None) -> Body:
        """The `data` of the callback of finished stems alone, delivered as the job asked for or as `mode` says.

        Raises as `callback`.
        """
        return await self._made(partial(self._stems, job, mode or job.delivery.mode))

    async def _made(self, make: Callable[[], Body]) -> Body:
        making = asyncio.ensure_future(self._in_thread(make))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_close_unused)
            raise

    def _callback(self, job: Job, stage: str, at: float) -> Body:
        if job.delivery.mode is DeliveryMode.BLOB:
            return _body(worker_document(job, timestamp(at)), {}, self._in_thread)
        status = job.stage(stage_named(stage))
        succeeded = status.state is StageState.SUCCEEDED
        frame: dict[str, object] = {
            "job_id": job.job_id,
            "stage": stage,
            "status": "completed" if succeeded else "failed",
            "timestamp": timestamp(at),
        }
        if not succeeded:
            return _body({**frame, "error": _error(status)}, {}, self._in_thread)
        if status.stage not in STEM_STAGES:
            return _body({**frame, "data": self._data(job, status)}, {}, self._in_thread)
        with _Stems(self._runs, job, self._in_thread) as stems:
            return stems.body(lambda data: {**frame, "data": data}, job.delivery.mode, self._waveforms)

    def _data(self, job: Job, status: StageStatus) -> dict[str, object]:
        """The result of a stage, by the names of the contract's fields."""
        if status.stage is Stage.WAVEFORMS:
            names = job.layout.stem_names if job.layout is not None else ()
            return {"waveforms": self._waveforms(self._runs.files(job.run_id), names)}
        return {} if status.result is None else stage_document(status.result)

    def _stems(self, job: Job, mode: DeliveryMode) -> Body:
        with _Stems(self._runs, job, self._in_thread) as stems:
            return stems.body(lambda data: data, mode, self._waveforms)


class _Stems:
    """Opens the stems of one job for a body; closes them again if the body is not built."""

    def __init__(self, runs: Runs, job: Job, in_thread: InThread) -> None:
        self._in_thread = in_thread
        self._files = runs.files(job.run_id)
        self._public = RunFiles(runs.jobs_dir.absolute() / job.job_id)
        """The folder whose paths clients get: the link to the job's run."""
        self._job = job
        self._names = job.layout.stem_names if job.layout is not None else ()
        self._open: dict[str, _StemFile] = {}

    def body(
        self,
        framed: Callable[[dict[str, object]], Mapping[str, object]],
        mode: DeliveryMode,
        waveforms: Waveforms,
    ) -> Body:
        body = _body(framed(self._data(mode, waveforms)), self._open, self._in_thread)
        self._open = {}
        return body

    def _data(self, mode: DeliveryMode, waveforms: Waveforms) -> dict[str, object]:
        job = self._job
        stems = {
            name: self._stem(name, mode) if name in self._names else None
            for name in sorted({*FOUR_STEMS, *self._names})
        }
        data: dict[str, object] = {
            "delivery_mode": mode.value,
            "stems": stems,
            "waveforms": waveforms(self._files, self._names),
            "processing_time": _processing_seconds(job),
            "model": job.model,
        }
        if job.fallback_from:
            data["fallback_from"] = job.fallback_from
        if mode is DeliveryMode.CALLBACK:
            data |= {"format": "wav", "encoding": "base64"}
        return data

    def _stem(self, name: str, mode: DeliveryMode) -> str:
        """Returns the stem's path, its link, or a placeholder that its base64 replaces."""
        path = self._files.stem(name)
        try:
            if mode is not DeliveryMode.CALLBACK:
                path.stat()
                link = f"/jobs/{self._job.job_id}/stems/{name}.wav"
                return str(self._public.stem(name)) if mode is DeliveryMode.PATH else link
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ArtifactNotFoundError(
                f"the stems of job {self._job.job_id} are gone; submit the track again"
            ) from error
        mark = secrets.token_hex(16)
        self._open[mark] = _StemFile(descriptor, os.fstat(descriptor).st_size)
        return mark

    def __enter__(self) -> _Stems:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._open.values():
            os.close(file.descriptor)


def _body(document: Mapping[str, object], files: Mapping[str, _StemFile], in_thread: InThread) -> Body:
    """Renders the document as JSON with files in place of their placeholders, which occur in the files' order."""
    rest = json.dumps(document, separators=(",", ":")).encode("ascii")
    parts: list[bytes | _StemFile] = []
    for mark, file in files.items():
        before, _, rest = rest.partition(mark.encode("ascii"))
        parts += [before, file]
    return Body([*parts, rest], in_thread)


def _base64(file: _StemFile, offset: int) -> bytes:
    missing = min(READ_BYTES, file.size - offset)
    blocks: list[bytes] = []
    while missing:
        block = os.pread(file.descriptor, missing, offset)
        if not block:
            raise OSError(errno.EIO, "a stem file became shorter while it was sent")
        blocks.append(block)
        offset += len(block)
        missing -= len(block)
    return binascii.b2a_base64(b"".join(blocks), newline=False)


def _processing_seconds(job: Job) -> float:
    """From the begin of the job to the last stem."""
    status = job.stem_status
    ended = None if status is None else status.ended_at
    if job.started_at is None or ended is None:
        return 0.0
    return round(max(0.0, ended - job.started_at), 3)


def _error(status: StageStatus) -> dict[str, str]:
    if status.error is not None:
        return {"code": status.error.reason, "message": status.error.message}
    if status.state is StageState.CANCELLED:
        return {"code": "CANCELLED", "message": "the job was cancelled"}
    return {"code": "INTERNAL", "message": "the job failed; the server's log says why"}


def _close_unused(making: asyncio.Future[Body]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().close()
