"""Measures jobs from and to a blob container in Azurite beside the same jobs from and to the disk."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc

from benchmarks.case import EMBEDDED_MODEL, Bench, Case
from benchmarks.cases.memory import Peak
from benchmarks.playing import measure_forward
from benchmarks.table import Row
from mismo.analysis.v1.job_pb2 import JOB_STATE_SUCCEEDED, Source
from mismo.analysis.v1.job_service_pb2 import SubmitJobRequest
from mismo.analysis.v1.job_service_pb2_grpc import JobServiceStub
from mismo_grpc.storage.blobs.azure_account import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY
from mismo_grpc.storage.blobs.containers import ContainerOpener
from mismo_grpc.storage.blobs.sending import file_sha256
from tests.support.blob_servers import AZURITE, Azurite

NAME = "blobs"
JOBS, SECONDS = 20, 180
TIME_RATIO = 1.2
MEMORY_MB = 64
LIMIT_SECONDS = 1200.0
CONTAINER = "audio-files"


@dataclass(frozen=True)
class _Measured:
    seconds: float
    peak_bytes: int


async def run(bench: Bench) -> list[Row]:
    """Runs the same jobs twice, each time on a new server: from and to the disk, from and to the container."""
    if not AZURITE.exists():
        raise FileNotFoundError("this case needs Azurite: `make azurite` installs it")
    count, seconds = bench.few(JOBS, 4), bench.few(SECONDS, 30)
    # Tracks of different lengths, because the result of the same content would be used again.
    tracks = [await asyncio.to_thread(bench.tracks.wav, seconds + number / 20) for number in range(count)]
    folder = bench.folder / "azurite"
    folder.mkdir()
    azurite = await asyncio.to_thread(Azurite, folder)
    try:
        sources, settings = await _uploaded(azurite, tracks)
        disk = await _measure(bench, "disk", [Source(path=str(track)) for track in tracks], {})
        blobs = await _measure(bench, "azurite", sources, settings)
    finally:
        await asyncio.to_thread(azurite.stop)
        shutil.rmtree(folder)
    ratio, more = blobs.seconds / disk.seconds, (blobs.peak_bytes - disk.peak_bytes) / 1e6
    what = f"{count} jobs of {seconds} s ({EMBEDDED_MODEL}) from and to Azurite against from and to the disk"
    return [
        Row(
            NAME,
            f"{what}: time until all have ended",
            f"≤ {TIME_RATIO:g} ×",
            f"{ratio:.2f} ×: {blobs.seconds:.1f} against {disk.seconds:.1f} s",
            met=ratio <= TIME_RATIO,
            figures={"blob_seconds": blobs.seconds, "disk_seconds": disk.seconds},
        ),
        Row(
            NAME,
            f"{what}: peak anonymous memory (RssAnon) of the server",
            f"at most {MEMORY_MB} MB more",
            f"{more:+.0f} MB: {blobs.peak_bytes / 1e6:.0f} against {disk.peak_bytes / 1e6:.0f} MB",
            met=more <= MEMORY_MB,
            figures={"blob_bytes": blobs.peak_bytes, "disk_bytes": disk.peak_bytes},
        ),
    ]


async def _uploaded(azurite: Azurite, tracks: Sequence[Path]) -> tuple[list[Source], dict[str, str]]:
    """Stores the tracks in a new container; returns them as sources, and the settings of a server that uses it."""
    await asyncio.to_thread(azurite.create, CONTAINER)
    store = ContainerOpener(azure=azurite.account()).open(f"az://{CONTAINER}", NAME)
    for track in tracks:
        sha256 = await asyncio.to_thread(file_sha256, track)
        await store.upload(track, f"in/{track.name}", sha256=sha256)
    endpoint = f"http://{azurite.address}/{DEVELOPMENT_ACCOUNT}"
    return [Source(blob_uri=store.uri_of(f"in/{track.name}")) for track in tracks], {
        "BLOB_CONTAINER_NAME": CONTAINER,
        "AZURE_STORAGE_CONNECTION_STRING": f"AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};"
        f"BlobEndpoint={endpoint};",
    }


async def _measure(
    bench: Bench, place: str, sources: Sequence[Source], settings: Mapping[str, str]
) -> _Measured:
    """Submits all sources at once, and waits until all jobs have succeeded."""
    name = f"{NAME}-{place}"
    try:
        async with (
            bench.server(name, model=EMBEDDED_MODEL, settings=settings) as server,
            grpc.aio.insecure_channel(server.target) as channel,
        ):
            await measure_forward(server, bench.tracks.wav(3))
            # The stub's types do not know the channel of asyncio.
            stub: Any = JobServiceStub(cast("Any", channel))
            peak = Peak(server.pid)
            sampling = asyncio.create_task(peak.sample())
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    begin = time.perf_counter()
                    for number, source in enumerate(sources):
                        await stub.SubmitJob(SubmitJobRequest(job_id=f"job-{number}", source=source))
                    jobs = [await server.client.wait(f"job-{number}") for number in range(len(sources))]
                    seconds = time.perf_counter() - begin
            finally:
                sampling.cancel()
                await asyncio.gather(sampling, return_exceptions=True)
            assert all(job.state == JOB_STATE_SUCCEEDED for job in jobs)
            assert all(bool(job.blobs) == bool(settings) for job in jobs)
    finally:
        shutil.rmtree(bench.folder / name, ignore_errors=True)
    bench.say(f"{place}: {seconds:.1f} s, {peak.bytes / 1e6:.0f} MB at most")
    return _Measured(seconds, peak.bytes)


CASE = Case(NAME, "jobs from and to a blob container beside the disk", run, limit_seconds=2 * LIMIT_SECONDS)
