"""Measures how fast a Python client on the same machine receives a finished job's stems."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from benchmarks.case import EMBEDDED_MODEL, Bench, Case
from benchmarks.playing import finished
from benchmarks.table import Row
from mismo.analysis.v1.job_pb2 import Job
from mismo_client import AsyncClient, StemChunk

NAME = "throughput"
REACH_MB_A_SECOND = 300


async def run(bench: Bench) -> list[Row]:
    """Reads all four stems over StreamStems, then one after the other over ReadStem, as PCM16, and discards them."""
    track = bench.tracks.wav(bench.few(240, 60))
    async with bench.server(NAME, model=EMBEDDED_MODEL) as server:
        job = await finished(server.client, track)
        client = server.client

        async def stream(chunk_bytes: int, credit_bytes: int) -> int:
            player = client.stream_stems(job.job_id, chunk_bytes=chunk_bytes, credit_bytes=credit_bytes)
            async with player:
                return await _drain(player)

        async def stream_as_player() -> int:
            return await stream(0, 1 << 20)

        async def stream_as_download() -> int:
            return await stream(256 << 10, 4 << 20)

        async def read() -> int:
            return await _read_all(client, job)

        ways: list[tuple[str, Callable[[], Awaitable[int]]]] = [
            ("StreamStems, as a player asks (64 KiB chunks, 1 MiB credit)", stream_as_player),
            ("StreamStems, as `mismo separate` asks (256 KiB chunks, 4 MiB credit)", stream_as_download),
            ("ReadStem (256 KiB chunks)", read),
        ]
        rows: list[Row] = []
        for what, way in ways:
            rates = await _rates(way, _expected_bytes(job), bench.few(7, 3))
            rows.append(_row(what, rates))
            bench.say(f"{what}: {statistics.median(rates):.0f} MB/s")
        return rows


async def _drain(chunks: AsyncIterator[StemChunk]) -> int:
    total = 0
    async for chunk in chunks:
        total += len(chunk.data)
    return total


async def _read_all(client: AsyncClient, job: Job) -> int:
    total = 0
    for name in job.stem_set.stem_names:
        async with client.read_stem(job.job_id, name) as chunks:
            total += await _drain(chunks)
    return total


def _expected_bytes(job: Job) -> int:
    stems = job.stem_set
    return len(stems.stem_names) * stems.total_frames * stems.channels * 2


async def _rates(way: Callable[[], Awaitable[int]], expected: int, rounds: int) -> list[float]:
    """Returns the MB/s of each round, without the first one, whose caches are cold."""
    rates: list[float] = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        got = await way()
        rates.append(got / 1e6 / (time.perf_counter() - begin))
        if got != expected:
            raise ValueError(f"received {got} bytes instead of {expected}")
    return rates[1:]


def _row(what: str, rates: Sequence[float]) -> Row:
    median = statistics.median(rates)
    return Row(
        NAME,
        f"finished job over {what}, PCM16, loopback, Python client",
        f"≥ {REACH_MB_A_SECOND} MB/s",
        f"{median:.0f} MB/s, {min(rates):.0f} to {max(rates):.0f} in {len(rates)} rounds",
        met=median >= REACH_MB_A_SECOND,
        figures={"megabytes_a_second": list(rates)},
    )


CASE = Case(NAME, "stems of a finished job over StreamStems and ReadStem", run)
