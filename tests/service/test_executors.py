"""Blocking work of one kind holds up no other: every thread of it stands before a gate meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from mismo.analysis.v1.audio_pb2 import ENCODING_FLAC
from mismo_grpc.app import BLOCKING_THREADS
from mismo_grpc.executors import BULK_THREADS, CHECKSUM_THREADS, MODEL_THREADS, InThread
from tests.service.conftest import Server
from tests.support.calls import PATIENCE
from tests.support.tracks import stem_samples, track_bytes, write_track

FLAC_FRAME = b"\xff\xf8"
"""How its frames begin, of a fixed size each."""


@asynccontextmanager
async def all_busy(threads: InThread, count: int) -> AsyncGenerator[None]:
    """Every thread does something that takes until the end of the block."""
    gate = threading.Event()
    busy = threading.Barrier(count + 1)

    def work() -> None:
        busy.wait(PATIENCE)
        assert gate.wait(PATIENCE)

    works = [asyncio.create_task(threads(work)) for _ in range(count)]
    with ThreadPoolExecutor(1) as own:
        await asyncio.get_running_loop().run_in_executor(own, busy.wait, PATIENCE)
    try:
        yield
    finally:
        gate.set()
        await asyncio.gather(*works)


async def test_a_player_opens_reads_and_encodes_while_all_other_threads_are_busy(
    server: Server, music: Path
) -> None:
    """The files are opened anew, read as they are and as FLAC."""
    client = server.client
    await client.submit(write_track(music / "a.wav", 2.0), job_id="a")
    await client.succeeded("a")
    await server.nothing_is_held()
    executors = server.app.executors
    async with (
        all_busy(executors.bulk, BULK_THREADS),
        all_busy(executors.checksum, CHECKSUM_THREADS),
        all_busy(executors.model, MODEL_THREADS),
        all_busy(asyncio.to_thread, BLOCKING_THREADS),
    ):
        played = await client.play("a")
        for name, streamed in zip(played.info.stem_names, played.stems, strict=True):
            assert streamed == stem_samples(server.stems("a") / f"{name}.wav")
        flac = await client.read_stem("a", "bass", encoding=ENCODING_FLAC)
        assert flac.startswith(FLAC_FRAME)


async def test_uploads_and_archives_wait_for_bulk_threads(server: Server, music: Path) -> None:
    """The other half: what they do is done there, and nowhere else."""
    client = server.client
    await client.submit(write_track(music / "a.wav", 1.0), job_id="a")
    await client.succeeded("a")
    works = {
        "upload": lambda: client.upload(track_bytes(0.5)),
        "archive": lambda: client.artifact("a", "stems.zip"),
    }
    async with all_busy(server.app.executors.bulk, BULK_THREADS):
        waiting = [asyncio.create_task(work()) for work in works.values()]
        await server.heard(client)
        await client.play("a")
        assert not any(task.done() for task in waiting)
    await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE)


async def test_hashes_wait_for_each_other_and_hold_up_nothing_else(server: Server, music: Path) -> None:
    client = server.client
    await client.submit(write_track(music / "a.wav", 1.0), job_id="a")
    await client.succeeded("a")
    async with all_busy(server.app.executors.checksum, CHECKSUM_THREADS):
        submit = asyncio.create_task(client.submit(write_track(music / "b.wav", 1.0, seed=2), job_id="b"))
        finish = asyncio.create_task(client.upload(track_bytes(0.5)))
        await server.heard(client)
        await client.play("a")
        assert await client.artifact("a", "stems.zip")
        assert not submit.done()
        assert not finish.done()
    await asyncio.wait_for(asyncio.gather(submit, finish), PATIENCE)


async def test_everything_but_new_jobs_goes_on_while_models_are_loaded(server: Server, music: Path) -> None:
    client = server.client
    await client.submit(write_track(music / "a.wav", 1.0), job_id="a")
    await client.succeeded("a")
    async with all_busy(server.app.executors.model, MODEL_THREADS):
        await client.submit(write_track(music / "b.wav", 1.0, seed=2), job_id="b")
        assert (await client.play("a")).stems
        assert await client.artifact("a", "stems.zip")
        await client.upload(track_bytes(0.5))
    await client.succeeded("b")
