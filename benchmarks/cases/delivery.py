"""The cost of delivering four finished stems: base64 callback against streams, over loopback and a limited link."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import soundfile

from benchmarks.case import EMBEDDED_MODEL, Bench, Case
from benchmarks.cases.memory import Peak
from benchmarks.network import Link, missing_for_a_link, shaped_link
from benchmarks.playing import finished, playing
from benchmarks.process_memory import rss_anon
from benchmarks.server import Server
from benchmarks.table import Row, failed
from mismo.analysis.v1.audio_pb2 import ENCODING_FLAC, ENCODING_PCM_S16LE, Encoding

NAME = "delivery"
REACH_OF_BASE64 = 0.45
REACH_MEMORY_MB = 32
MEGABITS = 100
PATIENCE_SECONDS = 120.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Delivered:
    """One delivery of four stems: `payload` bytes in `seconds`; `sizes` has the decoded size of each stem."""

    payload: int
    seconds: float
    sizes: Mapping[str, int]


async def run(bench: Bench) -> list[Row]:
    """Delivers a finished track of 180 s three times in each way."""
    track = bench.tracks.wav(bench.few(180, 30))
    rows: list[Row] = []
    async with bench.server(f"{NAME}-loopback", model=EMBEDDED_MODEL) as server:
        rows += await _measure(bench, server, track, "loopback", "127.0.0.1", None)
        rows.append(await _first_audio(server, bench.tracks.wav(60)))
    reason = missing_for_a_link()
    if reason:
        return [*rows, failed(NAME, f"the same over {MEGABITS} Mbit/s", reason)]
    async with (
        shaped_link(MEGABITS) as link,
        bench.server(f"{NAME}-cable", model=EMBEDDED_MODEL, link=link) as server,
    ):
        rows += await _measure(bench, server, track, f"{MEGABITS} Mbit/s", link.near_address, link)
    return rows


async def _measure(
    bench: Bench, server: Server, track: Path, where: str, here: str, link: Link | None
) -> list[Row]:
    await finished(server.client, track)
    found: dict[str, list[Delivered]] = {}
    wire: dict[str, int] = {}
    more: dict[str, float] = {}
    async with _receiver(here) as receiver:

        async def by_callback() -> Delivered:
            return await _by_callback(server, track, receiver)

        ways: dict[str, Callable[[], Awaitable[Delivered]]] = {
            "base64 callback": by_callback,
            "StreamStems PCM16": lambda: _by_stream(server, track, ENCODING_PCM_S16LE),
            "StreamStems FLAC": lambda: _by_stream(server, track, ENCODING_FLAC),
        }
        before = rss_anon(Path(f"/proc/{server.pid}/status"))
        watched = Peak(server.pid)
        sampling = asyncio.create_task(watched.sample())
        try:
            for name, way in ways.items():
                for _ in range(bench.few(3, 1)):
                    count = link.received_bytes() if link else 0
                    found.setdefault(name, []).append(await way())
                    wire[name] = link.received_bytes() - count if link else found[name][-1].payload
                bench.say(f"{where}, {name}: {found[name][-1].seconds:.2f} s")
                more[name] = (watched.bytes - before) / 1e6
        finally:
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
    sizes = {name: runs[0].sizes for name, runs in found.items()}
    assert len({tuple(sorted(each.items())) for each in sizes.values()}) == 1, sizes
    base = wire["base64 callback"]
    rows = [
        _row(where, name, runs, wire[name], base, on_the_wire=link is not None)
        for name, runs in found.items()
    ]
    return [*rows, _memory_row(where, more["base64 callback"], base)]


def _row(where: str, name: str, runs: list[Delivered], wire: int, base: int, *, on_the_wire: bool) -> Row:
    seconds = statistics.median(run.seconds for run in runs)
    flac = name.endswith("FLAC")
    unit = "on the wire" if on_the_wire else "of payload"
    return Row(
        NAME,
        f"{name}, {where}: from stems done to four stems decoded in the client's memory; bytes",
        f"< {REACH_OF_BASE64} × the bytes of base64" if flac else "",
        f"{seconds:.2f} s; {wire / 1e6:.1f} MB {unit}, {wire / base:.2f} × base64",
        met=wire < REACH_OF_BASE64 * base if flac else None,
        figures={"seconds": [run.seconds for run in runs], "bytes": wire},
    )


def _memory_row(where: str, more: float, base: int) -> Row:
    return Row(
        NAME,
        f"server's memory (RssAnon) while callbacks of {base / 1e6:.0f} MB go out, {where}",
        f"at most {REACH_MEMORY_MB} MB more",
        f"{more:+.0f} MB",
        met=more <= REACH_MEMORY_MB,
        figures={"more_megabytes": more},
    )


async def _first_audio(server: Server, track: Path) -> Row:
    await server.client.delete((await finished(server.client, track)).job_id)
    async with playing(server, track, 30 * 44_100) as heard:
        seconds = heard.seconds
    return Row(
        NAME,
        f"StreamStems: from submit to the first audio of four stems at a playhead ({EMBEDDED_MODEL})",
        "callbacks have none before the end",
        f"{seconds:.2f} s",
        met=None,
        figures={"seconds": seconds},
    )


async def _by_stream(server: Server, track: Path, encoding: Encoding) -> Delivered:
    job = (await server.client.submit(track)).job
    try:
        begin = time.perf_counter()
        content: dict[str, bytearray] = {}
        player = server.client.stream_stems(
            job.job_id, encoding=encoding, chunk_bytes=256 << 10, credit_bytes=4 << 20
        )
        async with player:
            form = await player.format()
            async for chunk in player:
                content.setdefault(chunk.stem_name, bytearray(form.codec_header)).extend(chunk.data)
        payload = sum(map(len, content.values()))
        sizes = {
            name: await asyncio.to_thread(_frames, bytes(data), form.is_pcm) for name, data in content.items()
        }
        return Delivered(payload, time.perf_counter() - begin, sizes)
    finally:
        await server.client.delete(job.job_id)


def _frames(data: bytes, pcm: bool) -> int:
    """Returns the number of frames of a stem in bytes: raw samples, or a file with a header."""
    if pcm:
        return len(data) // 4
    samples, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    return len(samples)


async def _by_callback(server: Server, track: Path, receiver: _Receiver) -> Delivered:
    """Measures a callback; the result exists already, so the job ends as soon as it is submitted."""
    receiver.came = asyncio.get_running_loop().create_future()
    async with httpx2.AsyncClient(base_url=server.http, timeout=PATIENCE_SECONDS) as http:
        job_id = f"callback-{time.monotonic_ns()}"
        asked = {
            "file_path": str(track),
            "track_hash": job_id,
            "callback_url": receiver.url,
            "stem_delivery_mode": "callback",
        }
        (await http.post("/jobs", json=asked)).raise_for_status()
        begin = time.perf_counter()
        async with asyncio.timeout(PATIENCE_SECONDS):
            body = await receiver.came
        sizes = await asyncio.to_thread(_decoded, body)
        seconds = time.perf_counter() - begin
        (await http.delete(f"/jobs/{job_id}")).raise_for_status()
    return Delivered(len(body), seconds, sizes)


def _decoded(body: bytes) -> dict[str, int]:
    stems = json.loads(body)["data"]["stems"]
    return {name: _frames(base64.b64decode(text), pcm=False) for name, text in stems.items()}


@dataclass
class _Receiver:
    url: str = ""
    came: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        writer.write(HEAD)
        await writer.drain()
        writer.close()
        self.came.set_result(body)


@asynccontextmanager
async def _receiver(host: str) -> AsyncGenerator[_Receiver]:
    receiver = _Receiver()
    server = await asyncio.start_server(receiver.serve, host, 0, limit=4 << 20)
    receiver.url = f"http://{host}:{server.sockets[0].getsockname()[1]}/callback"
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()


CASE = Case(
    NAME, "four stems by callback and by stream, on loopback and over 100 Mbit/s", run, limit_seconds=900.0
)
