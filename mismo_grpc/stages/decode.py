"""Decodes a job's track once to a work file, which is reused after a restart."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from mismo_grpc.audio.checksum import crc32c_of_file
from mismo_grpc.audio.decode import MIX_CHANNELS, DecodedMix, decode_to_file
from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import SourceNotFoundError
from mismo_grpc.jobs.job import Job, Source, SourceKind, Stage
from mismo_grpc.results.runs import Runs
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stage import Retry, StageResult
from mismo_grpc.storage.blobs.sources import BlobSources
from mismo_grpc.storage.disk import Disk
from mismo_grpc.storage.run_files import RunFiles

ANALYSIS_RATE = 44_100
"""Hz; the rate of the decoded track in jobs without stems. With stems the model determines it."""
DECODERS = 12
"""More than the default number of running jobs, so that an urgent track never waits for a long one."""


class DecodeStage:
    """Decodes the track to a work file, or reuses the file that an earlier process has decoded.

    A blob is copied to the run's folder first; it has at most `max_bytes`.
    """

    stage = Stage.DECODE
    retries: Sequence[Retry] = ()

    def __init__(
        self, decoder: TrackDecoder, blobs: BlobSources, *, max_bytes: int, disk: Disk, disk_reserve: int
    ) -> None:
        self._decoder = decoder
        self._blobs = blobs
        self._max_bytes = max_bytes
        self._disk = disk
        self._disk_reserve = disk_reserve

    def time_limit(self, audio_seconds: float) -> float | None:
        """See StageWork: no limit, a decode may take as long as it needs."""
        return None

    async def run(self, context: StageContext) -> StageResult:
        """See StageWork."""
        await context.begin()
        if context.job.source.kind is SourceKind.BLOB:
            await self._fetch(context.job, context.files)
        mix = await self._decoder.decode(context.job)
        job = context.job
        if mix.source_sha256 not in (None, job.source_sha256) and any(map(job.has_result_of, _OF_THE_SOURCE)):
            raise SourceNotFoundError(
                "the source file has changed since other stages of this job were done; submit the track again"
            )
        context.memory.mix = mix
        return StageResult(change=lambda job: _decoded(job, mix))

    async def _fetch(self, job: Job, files: RunFiles) -> None:
        """Copies the blob, unless an earlier attempt has. Raises BlobError, UploadTooLargeError, DiskFullError."""
        if await asyncio.to_thread(files.source.exists):
            return
        store, path = self._blobs.locate(job.source.location)
        await asyncio.to_thread(files.folder.mkdir, parents=True, exist_ok=True)
        await store.download(
            path,
            files.source,
            max_bytes=self._max_bytes,
            check_room=lambda needed: self._disk.require(files.folder, needed, self._disk_reserve),
        )


_OF_THE_SOURCE = tuple(stage for stage in Stage if stage is not Stage.DECODE)


def _decoded(job: Job, mix: DecodedMix) -> Job:
    warnings = job.warnings
    if mix.nonfinite_samples:
        warnings = (
            *warnings,
            f"{mix.nonfinite_samples} samples of the source were not numbers; they were made silent",
        )
    return replace(
        job,
        source_sha256=job.source_sha256 if mix.source_sha256 is None else mix.source_sha256,
        warnings=tuple(dict.fromkeys(warnings)),
    )


class TrackDecoder:
    """Decodes tracks in threads of its own; `sample_rate_of` a model in Hz, other values as in the settings.

    `boot` is the id of this boot ("" if unknown): a file that an earlier process has decoded is used in one boot only.
    """

    def __init__(
        self,
        runs: Runs,
        *,
        resolve: Callable[[Source], Path],
        sample_rate_of: Callable[[str], int],
        max_track_seconds: float,
        disk: Disk,
        disk_reserve: int,
        boot: str,
    ) -> None:
        self._runs = runs
        self._resolve = resolve
        self._sample_rate_of = sample_rate_of
        self._max_track_seconds = max_track_seconds
        self._disk = disk
        self._disk_reserve = disk_reserve
        self._boot = boot
        self._threads = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")

    async def decode(self, job: Job) -> DecodedMix:
        """The decoded track; if this is cancelled, the decoder has stopped writing when it returns.

        Its `source_sha256` is None if the source is the same as when the job was accepted, "" if it changed meanwhile.
        Raises AudioError, SourceNotFoundError, and OSError if the disk is full.
        """
        stopped = threading.Event()
        decoding = self._threads.submit(self._decode, job, stopped.is_set)
        decoded = asyncio.wrap_future(decoding)
        # The result of a stopped decoder is ignored.
        decoded.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.shield(decoded)
        except asyncio.CancelledError:
            stopped.set()
            if not decoding.cancel():
                await run_to_completion(asyncio.to_thread(wait_for_futures, [decoding]))
            raise

    def _decode(self, job: Job, should_stop: Callable[[], bool]) -> DecodedMix:
        files = self._runs.files(job.run_id)
        rate = self._sample_rate_of(job.model) if job.has(Stage.STEMS) else ANALYSIS_RATE
        files.work.mkdir(parents=True, exist_ok=True)
        found = _read_record(files, self._boot)
        if found is not None and found.sample_rate == rate:
            return found
        source = self._resolve(job.source) if job.source.kind is SourceKind.PATH else files.source
        try:
            before = _state(source)
            known = bool(job.source_sha256) and before == (job.source_bytes, job.source_mtime_ns)
            mix = decode_to_file(
                source,
                files.mix,
                rate,
                MIX_CHANNELS,
                should_stop=should_stop,
                max_frames=int(self._max_track_seconds * rate),
                check_room=lambda needed: self._disk.require(files.work, needed, self._disk_reserve),
                hash_source=not known,
            )
            if _state(source) != before:
                # It changed while it was read, so the decoded audio belongs to no known content.
                mix = replace(mix, source_sha256="")
        except FileNotFoundError as error:
            raise SourceNotFoundError("the source file is gone; submit the track again") from error
        temporary = files.mix_record.with_suffix(".tmp")
        temporary.write_text(json.dumps({"boot": self._boot, "mix": {**asdict(mix), "path": ""}}))
        temporary.replace(files.mix_record)
        return mix

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _state(source: Path) -> tuple[int, int]:
    found = source.stat()
    return found.st_size, found.st_mtime_ns


def _read_record(files: RunFiles, boot: str) -> DecodedMix | None:
    """The track that an earlier process decoded; None unless it is of this boot and its samples are unchanged."""
    try:
        record = cast("dict[str, Any]", json.loads(files.mix_record.read_bytes()))
        mix = DecodedMix(**cast("dict[str, Any]", {**record["mix"], "path": files.mix}))
        size = mix.frames * mix.channels * 4
        whole = bool(boot) and record["boot"] == boot and files.mix.stat().st_size == size
        return mix if whole and crc32c_of_file(files.mix) == mix.crc32c else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
