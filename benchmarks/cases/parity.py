"""Checks that the stems equal those of offline demucs, and that their bytes do not depend on order or interruptions."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.case import ROOT, Bench, Case
from benchmarks.commands import timed
from benchmarks.playing import wait_segments
from benchmarks.server import Server
from benchmarks.table import Row
from mismo.analysis.v1.audio_pb2 import ENCODING_PCM_F32LE
from mismo_client import AsyncClient

NAME = "parity"
FP32_DB, DEFAULT_DB = 80.0, 40.0
LIMIT_SECONDS = 300.0
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """A job's stems, {name: [frames, channels]}, and their digest."""

    stems: dict[str, Samples]
    sha256: str


async def run(bench: Bench) -> list[Row]:
    """Separates a track with apply_model and with the server: normally, from a playhead, and across a kill -9."""
    seconds = bench.few(30, 15)
    track = bench.tracks.wav(seconds)
    reference = await _reference(bench, track)
    bench.say("reference made by apply_model")
    async with bench.server(f"{NAME}-fp32", precision="fp32") as server:
        plain = await _separate(server, track)
        bench.say("fp32, from the start")
        middle = await _separate(server, track, playhead=seconds / 2)
        bench.say("fp32, from the middle")
        killed = await server.client.submit(track, encoding=ENCODING_PCM_F32LE)
        await wait_segments(server.client, killed.job.job_id, 2)
        await server.kill()
    async with bench.server(f"{NAME}-fp32", precision="fp32") as server:
        interrupted = await _result(server.client, killed.job.job_id)
        bench.say("fp32, over a kill -9")
    async with bench.server(f"{NAME}-default") as server:
        default = await _separate(server, track)
        default_middle = await _separate(server, track, playhead=seconds / 2)
        precision = (await server.client.info()).devices[0].precision
        bench.say(f"{precision}, from the start and from the middle")
    exact, frames = _compare(reference, plain.stems)
    usual, _ = _compare(reference, default.stems)
    digests = {plain.sha256, middle.sha256, interrupted.sha256}
    same = len(digests) == 1 and default.sha256 == default_middle.sha256
    return [
        Row(
            NAME,
            f"parity with `demucs.apply.apply_model(shifts=0, overlap=0.25)` on {seconds} s of music, fp32",
            f"≥ {FP32_DB:.0f} dB SNR, equal length",
            f"{exact:.1f} dB in the worst stem, {frames}",
            met=exact >= FP32_DB and frames == "equal length",
            figures={"snr_db": exact},
        ),
        Row(
            NAME,
            "the same track from a playhead in its middle, and over a kill -9 after two segments",
            "the same bytes (on the CPU)",
            "the same bytes in fp32" + (f" and {precision}" if precision != "fp32" else "")
            if same
            else f"{len(digests)} different results in fp32, "
            f"{len({default.sha256, default_middle.sha256})} in {precision}",
            met=same,
        ),
        Row(
            NAME,
            f"parity in the default precision ({precision} here)",
            f"≥ {DEFAULT_DB:.0f} dB SNR",
            f"{usual:.1f} dB in the worst stem",
            met=usual >= DEFAULT_DB,
            figures={"snr_db": usual},
        ),
    ]


async def _reference(bench: Bench, track: Path) -> dict[str, Samples]:
    target = bench.folder / "reference.npz"
    repository = await asyncio.to_thread(lambda: bench.demucs_repository)
    command = [
        sys.executable,
        "-m",
        "benchmarks.reference",
        str(repository),
        bench.model,
        str(track),
        str(target),
    ]
    await timed(command, bench.folder / "reference.log", bench.environment, LIMIT_SECONDS, cwd=ROOT)
    with np.load(target) as arrays:
        return {name: arrays[name] for name in arrays.files}


async def _separate(server: Server, track: Path, playhead: float | None = None) -> Result:
    submitted = await server.client.submit(track, encoding=ENCODING_PCM_F32LE, playhead=playhead)
    assert not submitted.cache_hit, "an earlier result was reused: nothing was measured"
    return await _result(server.client, submitted.job.job_id)


async def _result(client: AsyncClient, job_id: str) -> Result:
    """Waits for the job, reads all stems as stored, and deletes it, so that the next one is computed again."""
    async with asyncio.timeout(LIMIT_SECONDS):
        job = await client.wait(job_id)
    digest = hashlib.sha256()
    stems: dict[str, Samples] = {}
    for name in job.stem_set.stem_names:
        data = bytearray()
        async with client.read_stem(job_id, name, encoding=ENCODING_PCM_F32LE) as chunks:
            async for chunk in chunks:
                data += chunk.data
        digest.update(data)
        stems[name] = np.frombuffer(bytes(data), dtype="<f4").reshape(-1, job.stem_set.channels)
    await client.delete(job_id)
    return Result(stems, digest.hexdigest())


def _compare(reference: dict[str, Samples], stems: dict[str, Samples]) -> tuple[float, str]:
    """Returns (SNR of the worst stem in dB, a note on the lengths)."""
    if reference.keys() != stems.keys() or any(reference[n].shape != stems[n].shape for n in stems):
        return float("-inf"), "other stems or another length"
    return min(snr_db(reference[name], stems[name]) for name in stems), "equal length"


def snr_db(reference: Samples, estimate: Samples) -> float:
    """Returns the signal-to-noise ratio in dB, with the reference as the signal."""
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    noise = float(np.sum(np.square(reference.astype(np.float64) - estimate)))
    return float("inf") if noise == 0.0 else 10 * float(np.log10(signal / noise))


CASE = Case(NAME, "the same samples as demucs offline, the same bytes in any order", run)
