"""Builds the JSON that reports how a job ended, as a stream of bytes of known length.

Stems are encoded to base64 block by block while they are sent, so a body takes a few blocks of memory, however long
the track. A callback's body has an envelope around what `GET /jobs/{id}/stems` returns.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TypeVar

from mismo_grpc.delivery.json_body import Base64Blob, Base64File, Body, render_body
from mismo_grpc.delivery.timestamps import timestamp
from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.callbacks import stage_named
from mismo_grpc.jobs.job import DeliveryMode, Job, Stage, StageState, StageStatus
from mismo_grpc.jobs.stage_data import STEM_STAGES
from mismo_grpc.results.blob_names import stem_blob
from mismo_grpc.results.copied_artifacts import copied_waveforms, has_waveforms
from mismo_grpc.results.copies import Copies, ResultBlob
from mismo_grpc.results.documents import stage_document
from mismo_grpc.results.exports.plan import is_export
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.worker_document import worker_document
from mismo_grpc.storage.run_files import RunFiles

T = TypeVar("T")

FOUR_STEMS = ("bass", "drums", "other", "vocals")
"""Keys that clients expect in every result; the keys of stems that were not requested are null."""

Waveforms = Callable[[RunFiles, Sequence[str]], list[dict[str, object]]]
"""Returns the waveforms of a run's stems; blocks on the disk."""


@dataclass(frozen=True)
class _Copied:
    """What takes the place of a run's files that are gone: its stems in the container, and its waveforms."""

    blobs: Mapping[str, ResultBlob] = field(default_factory=dict[str, ResultBlob])
    waveforms: list[dict[str, object]] = field(default_factory=list[dict[str, object]])

    def close(self) -> None:
        for blob in self.blobs.values():
            blob.close()


class Bodies:
    """Builds the bodies of jobs; the caller must hold the run meanwhile (`Runs.held`)."""

    def __init__(
        self,
        runs: Runs,
        waveforms: Waveforms,
        in_thread: InThread = asyncio.to_thread,
        copies: Copies | None = None,
    ) -> None:
        """Files are opened and read by `in_thread`; those that are gone are read from `copies`."""
        self._in_thread = in_thread
        self._copies = copies or Copies(None)
        self._runs = runs
        self._waveforms = waveforms

    async def callback(self, job: Job, stage: str, at: float) -> Body:
        """What a callback says of a stage that has ended, named by `stage`; `at` is its time, seconds since the epoch.

        Raises ArtifactNotFoundError if the stems are gone, OSError if they cannot be opened, BlobError if they are only
        in the container and it cannot be read.
        """
        return await self._made_of(job, partial(self._callback, job, stage, at))

    async def stems(self, job: Job, mode: DeliveryMode | None = None) -> Body:
        """The `data` of the callback of finished stems alone, delivered as the job asked for or as `mode` says.

        Raises as `callback`.
        """
        return await self._made_of(job, partial(self._stems, job, mode or job.delivery.mode))

    async def _made_of(self, job: Job, make: Callable[[_Copied | None], Body]) -> Body:
        """The body of a run's files, or of their copies in the container where files are gone."""
        copies = self._copies
        try:
            return await self._made(partial(make, None))
        except ArtifactNotFoundError:
            if not copies.has_stems(job):
                raise
        waveforms = await copied_waveforms(copies, job, self._in_thread)
        names = job.layout.stem_names if job.layout is not None else ()
        blobs = copies.open_all(job, [stem_blob(job, name) for name in names])
        copied = _Copied(dict(zip(names, blobs, strict=True)), waveforms)
        try:
            body = await self._made(partial(make, copied))
        except BaseException:
            copied.close()
            raise
        body.also_close(copied.close)
        return body

    async def _made(self, make: Callable[[], Body]) -> Body:
        making = asyncio.ensure_future(self._in_thread(make))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_close_unused)
            raise

    def _callback(self, job: Job, stage: str, at: float, copied: _Copied | None) -> Body:
        if job.delivery.mode is DeliveryMode.BLOB:
            return render_body(worker_document(job, timestamp(at)), {}, self._in_thread)
        status = job.stage(stage_named(stage))
        succeeded = status.state is StageState.SUCCEEDED
        frame: dict[str, object] = {
            "job_id": job.job_id,
            "stage": stage,
            "status": "completed" if succeeded else "failed",
            "timestamp": timestamp(at),
        }
        if not succeeded:
            return render_body({**frame, "error": _error(status)}, {}, self._in_thread)
        if status.stage not in STEM_STAGES:
            return render_body({**frame, "data": self._data(job, status, copied)}, {}, self._in_thread)
        with _Stems(self._runs, job, self._in_thread, copied) as stems:
            return stems.body(lambda data: {**frame, "data": data}, job.delivery.mode, self._waveforms)

    def _data(self, job: Job, status: StageStatus, copied: _Copied | None) -> dict[str, object]:
        """The result of a stage, by the names of the contract's fields."""
        if status.stage is Stage.WAVEFORMS:
            if copied is not None:
                return {"waveforms": copied.waveforms}
            names = job.layout.stem_names if job.layout is not None else ()
            found = self._waveforms(self._runs.files(job.run_id), names)
            if not found and has_waveforms(self._copies, job):
                raise ArtifactNotFoundError(
                    f"the waveforms of job {job.job_id} are gone; submit the track again"
                )
            return {"waveforms": found}
        if status.stage is Stage.EXPORT:
            names = [each.name for each in job.artifacts if is_export(job, each.name)]
            return {"exports": {name: f"/jobs/{job.job_id}/artifacts/{name}" for name in names}}
        return {} if status.result is None else stage_document(status.result)

    def _stems(self, job: Job, mode: DeliveryMode, copied: _Copied | None) -> Body:
        with _Stems(self._runs, job, self._in_thread, copied) as stems:
            return stems.body(lambda data: data, mode, self._waveforms)


class _Stems:
    """Opens the stems of one job for a body; closes them again if the body is not built."""

    def __init__(self, runs: Runs, job: Job, in_thread: InThread, copied: _Copied | None) -> None:
        self._in_thread = in_thread
        self._copied = copied
        self._files = runs.files(job.run_id)
        self._public = RunFiles(runs.jobs_dir.absolute() / job.job_id)
        """The folder whose paths clients get: the link to the job's run."""
        self._job = job
        self._names = job.layout.stem_names if job.layout is not None else ()
        self._open: dict[str, Base64File | Base64Blob] = {}

    def body(
        self,
        framed: Callable[[dict[str, object]], Mapping[str, object]],
        mode: DeliveryMode,
        waveforms: Waveforms,
    ) -> Body:
        body = render_body(framed(self._data(mode, waveforms)), self._open, self._in_thread)
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
            "waveforms": waveforms(self._files, self._names)
            if self._copied is None
            else self._copied.waveforms,
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
        if self._copied is not None:
            return self._copied_stem(self._copied.blobs[name], name, mode)
        path = self._files.stem(name)
        try:
            if mode is not DeliveryMode.CALLBACK:
                path.stat()
                return str(self._public.stem(name)) if mode is DeliveryMode.PATH else self._link(name)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ArtifactNotFoundError(
                f"the stems of job {self._job.job_id} are gone; submit the track again"
            ) from error
        return self._placed(Base64File(descriptor, os.fstat(descriptor).st_size))

    def _copied_stem(self, blob: ResultBlob, name: str, mode: DeliveryMode) -> str:
        if mode is DeliveryMode.PATH:
            raise ArtifactNotFoundError(
                f"the stems of job {self._job.job_id} have no path any more: they are only in the blob container; read "
                "them with mode poll or callback, or submit the track again"
            )
        return self._placed(Base64Blob(blob)) if mode is DeliveryMode.CALLBACK else self._link(name)

    def _link(self, name: str) -> str:
        return f"/jobs/{self._job.job_id}/stems/{name}.wav"

    def _placed(self, stem: Base64File | Base64Blob) -> str:
        mark = secrets.token_hex(16)
        self._open[mark] = stem
        return mark

    def __enter__(self) -> _Stems:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._open.values():
            if isinstance(file, Base64File):
                os.close(file.descriptor)


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
