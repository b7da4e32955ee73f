"""Bodies of callbacks: the JSON that clients have always got, without ever being whole in memory."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
import tracemalloc
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from mismo_grpc.delivery.body import Bodies, timestamp
from mismo_grpc.delivery.json_body import READ_BYTES, Body
from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.jobs.job import DeliveryMode, Job, JobFailure, JobState
from mismo_grpc.results.runs import Runs
from mismo_grpc.storage.run_files import RunFiles
from tests.unit.delivery.finished_jobs import FOUR, a_job, waveforms, write_stems

AT = 1761741296.789


@pytest.fixture
def bodies(tmp_path: Path) -> Bodies:
    return Bodies(Runs(tmp_path), waveforms)


async def text_of(body: Body) -> bytes:
    with body:
        text = b"".join([piece async for piece in body])
        assert len(text) == body.length
    return text


def open_files() -> set[str]:
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return {os.readlink(link) for link in links if link.is_symlink()}


def naive(job: Job, stems: Mapping[str, object], mode: str, **more: object) -> bytes:
    data = {
        "delivery_mode": mode,
        "stems": dict(sorted(stems.items())),
        "waveforms": waveforms(RunFiles(Path()), job.layout.stem_names if job.layout else ()),
        "processing_time": 45.3,
        "model": "htdemucs",
    } | more
    whole = {
        "job_id": job.job_id,
        "stage": "stems",
        "status": "completed",
        "timestamp": "2025-10-29T12:34:56.789Z",
        "data": data,
    }
    return json.dumps(whole, separators=(",", ":")).encode()


@pytest.mark.parametrize("frames", [0, 1, 1000, READ_BYTES // 4, READ_BYTES // 2 + 7])
async def test_stems_in_the_body_are_their_files_in_base64(
    bodies: Bodies, tmp_path: Path, frames: int
) -> None:
    job = a_job()
    files = write_stems(tmp_path, job, frames)
    text = await text_of(await bodies.callback(job, "stems", AT))
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    assert text == naive(job, encoded, "callback", format="wav", encoding="base64")


async def test_a_body_can_be_read_again_and_handed_over_piece_by_piece(
    bodies: Bodies, tmp_path: Path
) -> None:
    job = a_job()
    write_stems(tmp_path, job, READ_BYTES)
    with await bodies.callback(job, "stems", AT) as body:
        once = b"".join([piece async for piece in body])
        again = bytearray()
        await body.read_into(again.extend)
    assert once == again


async def test_co_located_clients_get_paths(bodies: Bodies, tmp_path: Path) -> None:
    job = a_job(mode=DeliveryMode.PATH)
    write_stems(tmp_path, job)
    paths: dict[str, object] = {name: str(tmp_path / "track" / "stems" / f"{name}.wav") for name in FOUR}
    assert await text_of(await bodies.callback(job, "stems", AT)) == naive(job, paths, "path")


async def test_polling_clients_get_links(bodies: Bodies, tmp_path: Path) -> None:
    job = a_job(mode=DeliveryMode.POLL)
    write_stems(tmp_path, job)
    links: dict[str, object] = {name: f"/jobs/track/stems/{name}.wav" for name in FOUR}
    assert await text_of(await bodies.callback(job, "stems", AT)) == naive(job, links, "poll")


@pytest.mark.parametrize("mode", [mode for mode in DeliveryMode if mode is not DeliveryMode.BLOB])
@pytest.mark.parametrize("names", [("vocals",), ("vocals", "no_vocals"), (*FOUR, "guitar", "piano")])
async def test_a_stem_that_was_not_asked_for_is_null(
    bodies: Bodies, tmp_path: Path, mode: DeliveryMode, names: tuple[str, ...]
) -> None:
    job = a_job(mode=mode, stem_names=names)
    write_stems(tmp_path, job)
    stems = json.loads(await text_of(await bodies.callback(job, "stems", AT)))["data"]["stems"]
    assert {name for name, value in stems.items() if value is not None} == set(names)
    assert set(FOUR) <= set(stems)


async def test_a_model_that_was_fallen_back_to_is_told(bodies: Bodies, tmp_path: Path) -> None:
    job = a_job(mode=DeliveryMode.PATH, model="mismo_lite", fallback_from="htdemucs")
    write_stems(tmp_path, job)
    data = json.loads(await text_of(await bodies.stems(job)))
    assert (data["model"], data["fallback_from"]) == ("mismo_lite", "htdemucs")


@pytest.mark.parametrize(
    ("state", "error", "told"),
    [
        (
            JobState.FAILED,
            JobFailure("INVALID_ARGUMENT", "CORRUPT_AUDIO", 'the decoder gets "nothing"'),
            {"code": "CORRUPT_AUDIO", "message": 'the decoder gets "nothing"'},
        ),
        (JobState.CANCELLED, None, {"code": "CANCELLED", "message": "the job was cancelled"}),
    ],
)
async def test_a_job_without_a_result_is_told_with_its_error(
    bodies: Bodies, state: JobState, error: JobFailure | None, told: dict[str, str]
) -> None:
    job = a_job(state=state, error=error, layout=None)
    assert json.loads(await text_of(await bodies.callback(job, "stems", AT))) == {
        "job_id": "track",
        "stage": "stems",
        "status": "failed",
        "timestamp": "2025-10-29T12:34:56.789Z",
        "error": told,
    }


async def test_the_data_can_be_had_alone_and_in_another_mode(bodies: Bodies, tmp_path: Path) -> None:
    job = a_job(mode=DeliveryMode.CALLBACK)
    write_stems(tmp_path, job)
    whole = json.loads(await text_of(await bodies.callback(job, "stems", AT)))
    assert json.loads(await text_of(await bodies.stems(job))) == whole["data"]
    links = json.loads(await text_of(await bodies.stems(job, DeliveryMode.POLL)))["stems"]
    assert links["vocals"] == "/jobs/track/stems/vocals.wav"


async def test_a_result_that_was_there_already_took_no_time(bodies: Bodies, tmp_path: Path) -> None:
    job = a_job(started_at=None, mode=DeliveryMode.POLL)
    write_stems(tmp_path, job)
    assert json.loads(await text_of(await bodies.stems(job)))["processing_time"] == 0.0


@pytest.mark.parametrize("mode", [mode for mode in DeliveryMode if mode is not DeliveryMode.BLOB])
async def test_stems_that_are_gone_are_named_and_nothing_stays_open(
    bodies: Bodies, tmp_path: Path, mode: DeliveryMode
) -> None:
    job = a_job(mode=mode)
    write_stems(tmp_path, job)
    Runs(tmp_path).files("track-1").stem("vocals").unlink()
    with pytest.raises(ArtifactNotFoundError, match="submit the track again"):
        await bodies.callback(job, "stems", AT)
    assert not [path for path in open_files() if path.startswith(str(tmp_path))]


async def test_a_body_outlives_its_files_names(bodies: Bodies, tmp_path: Path) -> None:
    job = a_job()
    files = write_stems(tmp_path, job)
    body = await bodies.callback(job, "stems", AT)
    for name in FOUR:
        Runs(tmp_path).files("track-1").stem(name).unlink()
        Runs(tmp_path).files("track-1").stem(name).write_bytes(b"of the next run")
    stems = json.loads(await text_of(body))["data"]["stems"]
    assert {name: base64.b64decode(text) for name, text in stems.items()} == files
    assert not [path for path in open_files() if path.startswith(str(tmp_path))]


async def test_a_file_that_is_cut_off_ends_the_body_with_an_error(bodies: Bodies, tmp_path: Path) -> None:
    job = a_job()
    write_stems(tmp_path, job)
    with await bodies.callback(job, "stems", AT) as body:
        os.truncate(Runs(tmp_path).files("track-1").stem("vocals"), 100)
        with pytest.raises(OSError, match="became shorter"):
            _ = [piece async for piece in body]


async def test_a_body_whose_maker_was_cancelled_is_closed(tmp_path: Path) -> None:
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    go_on = asyncio.Event()

    def slow_waveforms(files: RunFiles, stem_names: Sequence[str]) -> list[dict[str, object]]:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return []

    job = a_job()
    write_stems(tmp_path, job)
    making = asyncio.ensure_future(Bodies(Runs(tmp_path), slow_waveforms).callback(job, "stems", AT))
    await begun.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    go_on.set()
    # Its thread comes to its end all the same, and what it opened is closed when the loop hears of that.
    await loop.shutdown_default_executor()
    await asyncio.sleep(0)
    assert not [path for path in open_files() if path.startswith(str(tmp_path))]


async def test_a_file_stays_open_until_the_thread_that_reads_it_is_done(
    bodies: Bodies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, read = threading.Event(), threading.Event(), os.pread

    def slow_pread(descriptor: int, count: int, place: int) -> bytes:
        begun.set()
        assert go_on.wait(30)
        return read(descriptor, count, place)

    job = a_job()
    write_stems(tmp_path, job)
    monkeypatch.setattr(os, "pread", slow_pread)
    body = await bodies.callback(job, "stems", AT)
    pieces = aiter(body)
    await anext(pieces)
    assert await asyncio.to_thread(begun.wait, 30)
    body.close()
    assert [path for path in open_files() if path.startswith(str(tmp_path))]
    go_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not [path for path in open_files() if path.startswith(str(tmp_path))]
    await cast("AsyncGenerator[bytes]", pieces).aclose()


async def test_the_loop_is_free_while_a_body_is_read(bodies: Bodies, tmp_path: Path) -> None:
    job = a_job()
    write_stems(tmp_path, job, READ_BYTES)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    pieces = 0
    with await bodies.callback(job, "stems", AT) as body:
        async for _ in body:
            pieces += 1
    counting.cancel()
    assert turns > pieces


async def test_fifty_megabytes_of_stems_cost_a_few_pieces_of_memory(bodies: Bodies, tmp_path: Path) -> None:
    job = a_job()
    files = write_stems(tmp_path, job, 13 * (1 << 20) // 4)
    expected = sum(-(-len(content) // 3) * 4 for content in files.values())
    del files
    tracemalloc.start()
    try:
        with await bodies.callback(job, "stems", AT) as body:
            assert body.length > expected > 65_000_000
            sent = 0
            async for piece in body:
                sent += len(piece)
        assert sent == body.length
        assert tracemalloc.get_traced_memory()[1] < 8 * READ_BYTES
    finally:
        tracemalloc.stop()


def test_times_are_utc_with_milliseconds() -> None:
    assert timestamp(0.0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(AT) == "2025-10-29T12:34:56.789Z"


async def test_another_job_id_makes_another_body(bodies: Bodies, tmp_path: Path) -> None:
    job = replace(a_job(mode=DeliveryMode.POLL), job_id="a.b-c_D")
    write_stems(tmp_path, job)
    whole = json.loads(await text_of(await bodies.callback(job, "stems", AT)))
    assert whole["data"]["stems"]["bass"] == "/jobs/a.b-c_D/stems/bass.wav"
