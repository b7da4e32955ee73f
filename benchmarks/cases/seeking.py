"""Seeks into the part that is not separated yet, and in a finished job; measures the time to new audio, and the stale
audio before it."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from benchmarks.case import Bench, Case
from benchmarks.limits import SLACK_SECONDS, ForwardLimit, Trial
from benchmarks.playing import PATIENCE_SECONDS, finished, measure_forward, wait_for_audio, wait_segments
from benchmarks.server import Server
from benchmarks.table import Row
from mismo.analysis.v1.audio_pb2 import ENCODING_FLAC, ENCODING_PCM_S16LE

NAME = "seeking"
SEGMENTS = 2
CREDIT_BYTES = 256 << 10
FINISHED_SEEKS = 40
CHUNK_SIZES = (8 << 10, 64 << 10)
ENCODINGS = {"PCM_S16LE": ENCODING_PCM_S16LE, "FLAC": ENCODING_FLAC}
FINISHED_LIMIT_SECONDS = 0.05


async def run(bench: Bench) -> list[Row]:
    """Seeks at different moments of the running segment, with all credit granted."""
    trials = bench.few(6, 2)
    seconds = bench.few(300, 900)
    track = bench.tracks.wav(seconds)
    short = bench.tracks.wav(3)
    heard_after: list[Trial] = []
    stale: list[int] = []
    async with bench.server(NAME) as server:
        segment_frames = (await server.model_info()).segment_frames
        stride = segment_frames * 3 // 4
        forward = await measure_forward(server, short)
        job = (await server.client.submit(track)).job
        try:
            player = server.client.stream_stems(job.job_id, follow=True, credit_bytes=CREDIT_BYTES)
            async with player:
                await wait_for_audio(player)
                for trial in range(trials):
                    done = (await server.client.get(job.job_id)).progress.segments_done
                    await wait_segments(server.client, job.job_id, done + 1)
                    await asyncio.sleep(forward * trial / trials)
                    # A place far ahead that needs one segment: the seek waits for the running segment and this one.
                    place = (trial + 1) * (seconds * 44_100 // stride) // (trials + 1)
                    old = player.stale_bytes
                    begin = time.perf_counter()
                    await player.seek(place * stride + segment_frames // 2)
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await wait_for_audio(player)
                    seconds_heard = time.perf_counter() - begin
                    forward = await server.forward_seconds()
                    heard_after.append(Trial(seconds_heard, forward))
                    stale.append(player.stale_bytes - old)
                    bench.say(f"seek {trial + 1}: {seconds_heard:.2f} s, {stale[-1]} stale bytes")
        finally:
            await server.client.delete(job.job_id)
        finished_seeks = await _in_a_finished_job(bench, server)
    limit = ForwardLimit(SEGMENTS, heard_after)
    return [
        Row(
            NAME,
            "seek into the unseparated part → first new audio of all stems",
            f"≤ {SEGMENTS} segments' time + {SLACK_SECONDS} s",
            limit.measured,
            met=limit.met,
            figures=limit.figures,
        ),
        Row(
            NAME,
            "stale bytes after the seek",
            f"≤ the granted credit ({CREDIT_BYTES} bytes here)",
            f"{max(stale)} bytes at most",
            met=max(stale) <= CREDIT_BYTES and max(stale) > 0,
            figures={"stale_bytes": stale, "credit_bytes": CREDIT_BYTES},
        ),
        *finished_seeks,
    ]


async def _in_a_finished_job(bench: Bench, server: Server) -> list[Row]:
    """Seeks all over a finished track, by encoding and size of a chunk, with the whole credit on its way."""
    seconds = 60
    job = await finished(server.client, bench.tracks.wav(seconds))
    rows: list[Row] = []
    for name, encoding in ENCODINGS.items():
        for chunk_bytes in CHUNK_SIZES:
            took: list[float] = []
            player = server.client.stream_stems(
                job.job_id, encoding=encoding, credit_bytes=CREDIT_BYTES, chunk_bytes=chunk_bytes
            )
            async with player:
                await wait_for_audio(player)
                for number in range(bench.few(FINISHED_SEEKS, 8)):
                    begin = time.perf_counter()
                    await player.seek((number * 17 % (seconds - 5)) * 44_100)
                    await wait_for_audio(player)
                    took.append(time.perf_counter() - begin)
            p50, p95 = (float(np.percentile(took, percent)) for percent in (50, 95))
            rows.append(
                Row(
                    NAME,
                    f"seek in a finished job → first new audio of all stems, {name}, chunks of {chunk_bytes >> 10} KiB",
                    f"p50 ≤ {FINISHED_LIMIT_SECONDS * 1000:g} ms",
                    f"p50 {p50 * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms",
                    met=p50 <= FINISHED_LIMIT_SECONDS,
                    figures={"seconds": took},
                )
            )
    return rows


CASE = Case(NAME, "seeks into the part that is not separated yet, and in a finished job", run)
