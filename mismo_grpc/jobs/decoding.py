"""A job's track as samples: decoded once, kept beside the job, found again after a restart."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from mismo_grpc.audio.decode import DecodedMix, decode_to_file
from mismo_grpc.errors import SourceNotFoundError
from mismo_grpc.jobs.job import Job, Source, SourceKind
from mismo_grpc.jobs.unbroken import unbroken
from mismo_grpc.separation.engine import WORK_FOLDER

CHANNELS = 2
DECODERS = 12
"""More than jobs are open at once by default, so that an urgent track never waits behind a long one."""
SOURCE_NAME = "source"
"""An upload's file inside its job's folder."""


class TrackDecoder:
    """Decodes tracks in threads of its own; `sample_rate_of` a model in Hz, `max_track_seconds` as in the settings."""

    def __init__(
        self,
        folder_of: Callable[[str], Path],
        *,
        resolve: Callable[[Source], Path],
        sample_rate_of: Callable[[str], int],
        max_track_seconds: float,
    ) -> None:
        self._folder_of = folder_of
        self._resolve = resolve
        self._sample_rate_of = sample_rate_of
        self._max_track_seconds = max_track_seconds
        self._threads = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")

    async def decode(self, job: Job) -> DecodedMix:
        """The decoded track; if this is cancelled the decoder writes nothing any more when it returns.

        Its `source_sha256` is None if the source is as it was when the job was accepted, "" if it changed meanwhile.
        Raises AudioError, SourceNotFoundError, and OSError if the disk is full.
        """
        stopped = threading.Event()
        decoding = self._threads.submit(self._decode, job, stopped.is_set)
        decoded = asyncio.wrap_future(decoding)
        # A decoder that was stopped says so to nobody.
        decoded.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.shield(decoded)
        except asyncio.CancelledError:
            stopped.set()
            if not decoding.cancel():
                await unbroken(asyncio.to_thread(wait_for_futures, [decoding]))
            raise

    def _decode(self, job: Job, should_stop: Callable[[], bool]) -> DecodedMix:
        folder = self._folder_of(job.job_id)
        work = folder / WORK_FOLDER
        work.mkdir(parents=True, exist_ok=True)
        target, record = work / "mix.f32", work / "mix.json"
        if record.exists() and target.exists():
            decoded = cast("dict[str, Any]", json.loads(record.read_text()))
            decoded["path"] = target
            return DecodedMix(**decoded)
        uploaded = job.source.kind is SourceKind.UPLOAD
        source = folder / SOURCE_NAME if uploaded else self._resolve(job.source)
        rate = self._sample_rate_of(job.model)
        try:
            before = _state(source)
            known = bool(job.source_sha256) and before == (job.source_bytes, job.source_mtime_ns)
            mix = decode_to_file(
                source,
                target,
                rate,
                CHANNELS,
                should_stop=should_stop,
                max_frames=int(self._max_track_seconds * rate),
                hash_source=not known,
            )
            if _state(source) != before:
                # It changed while it was read: what was decoded is of no content that anyone could name.
                mix = replace(mix, source_sha256="")
        except FileNotFoundError as error:
            raise SourceNotFoundError("the source file is gone; submit the track again") from error
        temporary = record.with_suffix(".tmp")
        temporary.write_text(json.dumps({**asdict(mix), "path": ""}))
        temporary.replace(record)
        return mix

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _state(source: Path) -> tuple[int, int]:
    found = source.stat()
    return found.st_size, found.st_mtime_ns
