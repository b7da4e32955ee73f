"""Real stem files with noise in them, whose ready frames a test moves on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mismo_grpc.audio.encode import Encoding, convert_pcm
from mismo_grpc.errors import MismoError, check_run
from mismo_grpc.jobs.job import (
    Job,
    JobFailure,
    JobOptions,
    JobState,
    Priority,
    Source,
    SourceKind,
)
from mismo_grpc.orchestration.stem_readers import ended_without
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.streaming.messages import NotReadyReason
from mismo_grpc.streaming.reader import RunningJob, SourceRun, StemReader
from tests.support.counted_broadcast import CountedBroadcast

T = TypeVar("T")

STEMS = ("drums", "bass", "other")


class WatchedReader(StemReader):
    """Remembers how much was read at once, and of how many stems the last time."""

    largest_read = 0
    stems_read = 0
    hold_from: int | None = None
    """The first read that ends behind this frame waits for `release`."""
    held = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.release = asyncio.Event()
        self.holding = asyncio.Event()
        """Set when a read begins to wait for `release`."""

    async def read(
        self,
        stem_indexes: Sequence[int],
        start_frame: int,
        frame_count: int,
        prepare: Callable[[Sequence[bytes]], T],
    ) -> T:
        assert self.ready_end(start_frame) >= start_frame + frame_count, "frames were read that are not ready"
        size = frame_count * self.layout.frame_bytes * len(stem_indexes)
        self.largest_read = max(self.largest_read, size)
        self.stems_read = len(stem_indexes)
        if self.hold_from is not None and start_frame + frame_count > self.hold_from and not self.held:
            self.held = True
            self.holding.set()
            await self.release.wait()
        return await super().read(stem_indexes, start_frame, frame_count, prepare)


class GrowingStems:
    """One job's stems; `readers` counts who holds them, `players` is what the scheduler was told."""

    def __init__(
        self,
        folder: Path,
        frames: int = 20_000,
        *,
        stems: Sequence[str] = STEMS,
        encoding: Encoding = Encoding.PCM_S16LE,
        sample_rate: int = 8_000,
        ready: Sequence[tuple[int, int]] | None = None,
        ends_itself: bool = True,
        peak: float = 0.9,
    ) -> None:
        self.layout = StemLayout(tuple(stems), sample_rate, 2, frames, encoding)
        self.stems = StemSet(folder / "stems", self.layout, folder / "peaks")
        noise = np.random.default_rng(frames).uniform(-peak, peak, (len(stems), frames, 2))
        self.stems.write(0, noise.astype(np.float32))
        self.changed = CountedBroadcast()
        self.job = Job(
            "track",
            "run",
            1,
            JobState.RUNNING,
            Priority.NORMAL,
            Source(SourceKind.PATH, "/music/track.wav"),
            JobOptions(),
            {},
            "mismo_lite",
            0.0,
            layout=self.layout,
        )
        self.sha256s: tuple[str, ...] = ()
        self.followed: list[int] = []
        self.players: set[object] = set()
        self.readers = 0
        self.reason = NotReadyReason.WAITING_FOR_DEVICE
        self.expected_seconds: float | None = None
        self.reader = WatchedReader(
            SourceRun("track", "run", "mismo_lite", 48_000),
            self.stems,
            self.changed,
            lambda: self.job.state.ended,
            lambda: ended_without(self.job),
            lambda: self.sha256s,
            RunningJob(
                self._follow,
                self.players.discard,
                lambda: True,
                lambda _: self.reason,
                lambda _: self.expected_seconds,
            ),
        )
        self._ends_itself = ends_itself
        for start, end in [(0, frames)] if ready is None else ready:
            self.grow(start, end)

    def _follow(self, player: object, frame: int) -> None:
        self.players.add(player)
        self.followed.append(frame)

    def grow(self, start: int, end: int) -> None:
        """Makes frames ready."""
        self.stems.publish([(start, end)])
        if self._ends_itself and self.stems.ready.covers(0, self.layout.total_frames):
            self.job = replace(self.job, state=JobState.SUCCEEDED)
        self.changed.notify()

    def end(self, state: JobState, error: MismoError | None = None) -> None:
        """Ends the job."""
        self.job = replace(self.job, state=state, error=None if error is None else JobFailure.of(error))
        self.changed.notify()

    def wait_for(self, reason: NotReadyReason) -> None:
        """Changes why audio is missing."""
        self.reason = reason
        self.changed.notify()

    @asynccontextmanager
    async def open(
        self, job_id: str, expected_run_id: str, on_waiting: Callable[[NotReadyReason], None]
    ) -> AsyncGenerator[StemReader, None]:
        """As `Jobs.open_stems`."""
        check_run(job_id, expected_run_id, self.job.run_id)
        self.readers += 1
        try:
            yield self.reader
        finally:
            self.readers -= 1

    def pcm(
        self, stem: str, encoding: Encoding | None = None, start: int = 0, end: int | None = None
    ) -> bytes:
        """A stem's samples."""
        stop = self.layout.total_frames if end is None else end
        stored = self.stems.read(self.layout.stem_names.index(stem), start, stop - start)
        return convert_pcm(stored, self.layout.encoding, encoding or self.layout.encoding, 2)
