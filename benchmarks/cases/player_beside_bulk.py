"""Measures the delay of a player's chunks while the server hashes uploads and serves archives."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import grpc
import numpy as np

from benchmarks.case import EMBEDDED_MODEL, ROOT, Bench, Case
from benchmarks.commands import CommandError, child, last_lines
from benchmarks.playing import finished
from benchmarks.server import Server
from benchmarks.table import Row
from mismo.analysis.v1 import transfer_service_pb2_grpc
from mismo.analysis.v1.transfer_service_pb2 import StreamCredit, StreamOpen, StreamStemsRequest

NAME = "player_beside_bulk"
UPLOADS, MEGABYTES = 10, 200
REACH = 3.0
CHUNK_BYTES = 1 << 16
PAUSE_SECONDS = 0.002
PATIENCE_SECONDS = 300.0


class Player:
    """Grants the bytes of one chunk at a time over StreamStems and records how long each takes to arrive (seconds)."""

    def __init__(self, target: str, job_id: str) -> None:
        self._target = target
        self._job_id = job_id

    async def play(self, until: asyncio.Future[Any]) -> list[float]:
        """Plays the track from its beginning repeatedly until a future is done; returns the delays."""
        took: list[float] = []
        async with grpc.aio.insecure_channel(self._target) as channel:
            stub = transfer_service_pb2_grpc.TransferServiceStub(channel)
            while not until.done():
                call: Any = stub.StreamStems()
                opening = StreamOpen(job_id=self._job_id, chunk_bytes=CHUNK_BYTES)
                await call.write(StreamStemsRequest(open=opening))
                while not until.done() and (seconds := await self._chunk(call)) is not None:
                    took.append(seconds)
                    await asyncio.sleep(PAUSE_SECONDS)
                call.cancel()
        return took

    async def _chunk(self, call: Any) -> float | None:
        """Until the whole grant has come: the first chunks of a stream are smaller than it."""
        begin = time.perf_counter()
        missing = CHUNK_BYTES
        await call.write(StreamStemsRequest(credit=StreamCredit(bytes=missing)))
        while True:
            message = await call.read()
            kind = message.WhichOneof("message")
            if kind == "chunk":
                missing -= len(message.chunk.data)
                if missing <= 0:
                    return time.perf_counter() - begin
            if kind in ("end_of_stem", "end"):
                return None


async def run(bench: Bench) -> list[Row]:
    """Plays alone, then beside ten uploads, then (after a restart) beside their hashing and archives."""
    seconds, megabytes = bench.few(10, 3), bench.few(MEGABYTES, 40)
    async with bench.server(NAME, model=EMBEDDED_MODEL) as server:
        job = await finished(server.client, bench.tracks.wav(bench.few(120, 30)))
        player = Player(server.target, job.job_id)
        idle = await player.play(asyncio.ensure_future(asyncio.sleep(seconds)))
        sending = asyncio.create_task(_bulk(bench, server, "send", str(UPLOADS), str(megabytes)))
        beside_uploads = await player.play(sending)
        ids = json.loads(await sending)
    # The server hashes the received bytes of an upload again when it is resumed after a restart.
    async with bench.server(NAME, model=EMBEDDED_MODEL) as server:
        player = Player(server.target, job.job_id)
        alone = await player.play(asyncio.ensure_future(asyncio.sleep(seconds)))
        url = f"{server.http}/jobs/{job.job_id}/stems.zip"
        finishing = asyncio.create_task(_bulk(bench, server, "finish", str(megabytes), url, *ids))
        beside_hashing = await player.play(finishing)
        archives = int(await finishing)
    what = f"a player's chunk (64 KiB over StreamStems) while {UPLOADS} uploads of {megabytes} MB"
    return [
        _row(f"{what} arrive, against the same player alone", idle, beside_uploads, promised=False),
        _row(
            f"{what} are hashed and archives are read ({archives} meanwhile), against the same player alone",
            alone,
            beside_hashing,
            promised=True,
        ),
    ]


async def _bulk(bench: Bench, server: Server, *arguments: str) -> bytes:
    """Runs the bulk process at a low CPU priority; returns its output."""
    log = bench.folder / "bulk.log"
    command = ["nice", sys.executable, "-m", "benchmarks.cases.bulk_process", server.target, *arguments]
    async with child(command, log, bench.environment, cwd=ROOT, piped=True) as process:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            report = await process.stdout.read()
            if await process.wait() != 0:
                raise CommandError(f"the bulk process failed{last_lines(log)}")
    return report


def _row(what: str, alone: list[float], beside: list[float], *, promised: bool) -> Row:
    before, after = (float(np.percentile(np.array(took) * 1000, 99)) for took in (alone, beside))
    return Row(
        NAME,
        f"p99 of {what}",
        f"≤ {REACH:g} × alone" if promised else "",
        f"{after / before:.1f} ×: {after:.1f} ms against {before:.1f} ms, of {len(beside)} and {len(alone)} chunks",
        met=after <= REACH * before if promised else None,
        figures={
            "alone_p99_ms": before,
            "beside_p99_ms": after,
            "ratio": after / before,
            "chunks": len(beside),
        },
    )


CASE = Case(NAME, "a player's chunks beside uploads, hashing and archives", run)
