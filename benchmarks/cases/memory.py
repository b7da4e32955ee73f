"""Measures whether a server's memory grows with the length of the track."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from benchmarks.case import EMBEDDED_MODEL, Bench, Case
from benchmarks.playing import measure_forward
from benchmarks.process_memory import rss_anon
from benchmarks.table import Row
from mismo.analysis.v1.job_pb2 import JOB_STATE_SUCCEEDED

NAME = "memory"
REACH_MB = 300
SAMPLE_SECONDS = 0.05
LIMIT_SECONDS = 900.0
# The track, its decoded form in float32, and four stems of 16 bits.
BYTES_A_SECOND = 44_100 * (4 + 8 + 4 * 4)


async def run(bench: Bench) -> list[Row]:
    """Separates a short and a long track, each on a new server, each streamed to its end meanwhile."""
    short, long = bench.few(240, 60), bench.few(3600, 300)
    need = int(long * BYTES_A_SECOND * 1.2)
    if shutil.disk_usage(bench.folder).free < need:
        raise OSError(f"{bench.folder} needs {need / 1e9:.1f} GB for a track of {long // 60} minutes")
    small = await _peak(bench, short)
    large = await _peak(bench, long)
    more = (large - small) / 1e6
    return [
        Row(
            NAME,
            f"{long // 60}-minute track against a {short // 60}-minute one ({EMBEDDED_MODEL}): peak anonymous memory "
            "(RssAnon) of the server",
            f"at most {REACH_MB} MB more",
            f"{more:+.0f} MB: {large / 1e6:.0f} against {small / 1e6:.0f} MB",
            met=more <= REACH_MB,
            figures={"short_bytes": small, "long_bytes": large},
        )
    ]


async def _peak(bench: Bench, seconds: int) -> int:
    """Returns the server's largest memory from its start to the end of the job (bytes)."""
    track = await asyncio.to_thread(bench.tracks.wav, seconds)
    name = f"{NAME}-{seconds}"
    try:
        async with bench.server(name, model=EMBEDDED_MODEL) as server:
            await measure_forward(server, bench.tracks.wav(3))
            watched = Peak(server.pid)
            sampling = asyncio.create_task(watched.sample())
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    job = (await server.client.submit(track)).job
                    # 256 KiB chunks keep the client's own load small; the client stores nothing.
                    player = server.client.stream_stems(job.job_id, follow=True, chunk_bytes=256 << 10)
                    async with player:
                        async for _ in player:
                            pass
                    job = await server.client.wait(job.job_id)
            finally:
                sampling.cancel()
                await asyncio.gather(sampling, return_exceptions=True)
            assert job.state == JOB_STATE_SUCCEEDED
    finally:
        shutil.rmtree(bench.folder / name, ignore_errors=True)
        track.unlink()
    bench.say(f"{seconds // 60} minutes: {watched.bytes / 1e6:.0f} MB at most")
    return watched.bytes


class Peak:
    """Samples the RssAnon of a process; `bytes` is the largest value."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self.bytes = 0

    async def sample(self) -> None:
        """Samples until it is cancelled."""
        while True:
            self.bytes = max(self.bytes, rss_anon(self._status))
            await asyncio.sleep(SAMPLE_SECONDS)


CASE = Case(NAME, "peak memory of an hour against four minutes", run, limit_seconds=1800.0)
