"""Jobs that generate stems: heard while they are made, the same bytes again, stopped midway."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from mismo.analysis.v1 import job_pb2, stage_pb2
from mismo.analysis.v1 import job_service_pb2 as jobs_pb2
from mismo_grpc.jobs.job import Stage
from mismo_grpc.slots import Slots
from mismo_grpc.stages.generation import GenerationStage
from tests.service.conftest import Server, StartServer
from tests.support.calls import (
    CANCELLED,
    PATIENCE,
    SUCCEEDED,
    names_of,
    refused,
    seconds,
    stage_states,
    until,
)
from tests.support.http import receiver

RATE = 44_100


def generation(stems: tuple[str, ...] = ("bass", "drums"), length: float = 4.0, **fields: Any) -> Any:
    """The options of a job that generates stems."""
    wanted = stage_pb2.GenerationOptions(target_stems=stems, duration=seconds(length), **fields)
    return job_pb2.JobOptions(stages=[stage_pb2.STAGE_GENERATION], generation=wanted)


async def generate(server: Server, job_id: str, wanted: job_pb2.JobOptions, **fields: Any) -> job_pb2.Job:
    request = jobs_pb2.SubmitJobRequest(job_id=job_id, options=wanted, **fields)
    return (await server.client.jobs.SubmitJob(request, timeout=PATIENCE)).job


def turns_of(server: Server) -> Slots:
    """Who renders the next block of the synthetic generator."""
    work = server.app.runner._works[Stage.GENERATION]
    assert isinstance(work, GenerationStage)
    return work.turns["synthetic"]


@asynccontextmanager
async def paused(server: Server) -> AsyncGenerator[asyncio.Future[None]]:
    """Nothing is rendered until the block ends, or its future is cancelled; another waits for its turn."""
    turns = turns_of(server)
    await turns.acquire()
    held = asyncio.get_running_loop().create_future()
    held.add_done_callback(lambda _: turns.release())
    try:
        yield held
    finally:
        held.cancel()


async def waiting(server: Server, count: int = 1) -> None:
    """Until so many wait for their turn."""
    await until(lambda: len(turns_of(server)._waiters) == count)


async def test_generated_stems_are_those_that_were_asked_for(server: Server) -> None:
    job = await generate(server, "job", generation(("guitar", "vocals"), 2.5, target_bpm=100))
    assert (job.model, job.HasField("source")) == ("synthetic", False)
    job = await server.client.succeeded("job")
    assert stage_states(job) == {"GENERATION": "SUCCEEDED", "WAVEFORMS": "SUCCEEDED"}
    assert (list(job.stem_set.stem_names), job.stem_set.sample_rate) == (["guitar", "vocals"], RATE)
    assert job.stem_set.total_frames == 2.5 * RATE
    assert job.progress.fraction == 1.0
    assert {"stems.json", "stems.zip", "waveform-guitar.dat"} <= set(names_of(job))
    assert job.options.generation.target_bpm == 100
    for name, sha256 in zip(job.stem_set.stem_names, job.stem_set.sha256, strict=True):
        pcm = await server.client.read_stem("job", name)
        assert hashlib.sha256(pcm).hexdigest() == sha256
        assert len(pcm) == job.stem_set.total_frames * 4
        assert any(pcm)


async def test_a_player_hears_them_while_they_are_made(server: Server) -> None:
    async with paused(server) as before_the_first:
        await generate(server, "job", generation(("bass",), 8.0))
        async with server.client.stream("job", follow=True) as session:
            info = await session.next_of("info")
            assert (list(info.stem_names), info.total_frames) == (["bass"], 8 * RATE)
            await waiting(server)
            # It gets its turn after the first block, when no other job waits.
            after_the_first = asyncio.ensure_future(turns_of(server).acquire())
            await waiting(server, 2)
            before_the_first.cancel()
            chunk = await session.next_of("chunk")
            assert (chunk.start_frame, any(chunk.data)) == (0, True)
            # A chunk is sent before what became ready is stored.
            await until(lambda: bool(server.app.repository.active["job"].ready))
            running = await server.client.get("job")
            assert running.state == job_pb2.JOB_STATE_RUNNING
            assert 0 < running.progress.fraction < 1
            assert running.HasField("time_to_first_audio")
            await after_the_first
            turns_of(server).release()
    whole = await server.client.play("job")
    job = await server.client.succeeded("job")
    assert hashlib.sha256(whole.stems[0]).hexdigest() == job.stem_set.sha256[0] == whole.sha256[0]


async def test_the_same_request_gives_the_same_bytes_also_without_the_earlier_result(
    server: Server,
) -> None:
    first = await generate(server, "first", generation(random_seed=7))
    first = await server.client.succeeded("first")
    again = await generate(server, "again", generation(random_seed=7))
    assert (again.state, list(again.stem_set.sha256)) == (SUCCEEDED, list(first.stem_set.sha256))
    other = await generate(server, "other", generation(random_seed=8))
    assert list((await server.client.succeeded("other")).stem_set.sha256) != list(first.stem_set.sha256)
    for job_id in ("first", "again", other.job_id):
        await server.client.delete(job_id)
    await generate(server, "anew", generation(random_seed=7))
    assert list((await server.client.succeeded("anew")).stem_set.sha256) == list(first.stem_set.sha256)


async def test_a_cancelled_generation_stops_and_leaves_nothing(server: Server) -> None:
    await generate(server, "job", generation(length=600.0))
    async for event in server.client.watch("job"):
        if event.HasField("segment_ready"):
            break
    assert (await server.client.cancel("job")).state == CANCELLED
    await server.nothing_is_held()
    await server.app.runs.removed()
    assert not server.folder("job").exists()
    assert list(server.app.runs.root.iterdir()) == []


async def test_an_urgent_one_overtakes_between_two_blocks(server: Server) -> None:
    async with paused(server):
        await generate(server, "long", generation(("drums",), 60.0))
        await waiting(server)
        await generate(server, "urgent", generation(("drums",), 3.0), priority=job_pb2.PRIORITY_HIGH)
        await waiting(server, 2)
    await server.client.succeeded("urgent")
    assert (await server.client.get("long")).state == job_pb2.JOB_STATE_RUNNING
    await server.client.succeeded("long")


async def test_wrong_options_name_their_field_and_start_nothing(server: Server) -> None:
    for wanted, field in (
        (generation(("banjo",)), "options.generation.target_stems"),
        (generation(()), "options.generation.target_stems"),
        (generation(target_bpm=1000), "options.generation.target_bpm"),
        (generation(length=1e6), "options.generation.duration"),
        (generation(chord_progression=["H"]), "options.generation.chord_progression"),
        (generation(key="A whatever"), "options.generation.key"),
        (generation(temperature=3), "options.generation.temperature"),
        (generation(random_seed=-1), "options.generation.random_seed"),
        (generation(generator="orchestra"), "options.generation.generator"),
    ):
        refusal = await refused(generate(server, "job", wanted))
        assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", field), wanted
    with_stems = generation()
    with_stems.stages.append(stage_pb2.STAGE_STEMS)
    assert (await refused(generate(server, "job", with_stems))).field == "options.stages"
    assert (await server.client.list()).jobs == []


async def test_musicgen_without_weights_says_how_to_get_them(server: Server) -> None:
    refusal = await refused(generate(server, "job", generation(generator="musicgen")))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "MODEL_UNAVAILABLE")
    assert refusal.field == "options.generation.generator"


async def test_a_callback_reports_the_generated_stems(start: StartServer) -> None:
    server = await start()
    async with receiver() as received:
        callback = job_pb2.Callback(url=received.url)
        await generate(server, "job", generation(), callback=callback)
        (post,) = await received.received()
    assert (post.body["stage"], post.body["status"]) == ("generation", "completed")
    assert post.body["data"]["stems"]["bass"] == "/jobs/job/stems/bass.wav"
    layout = (await server.client.succeeded("job")).stem_set
    whole = (server.stems("job") / "bass.wav").read_bytes()
    assert whole[:4] == b"RIFF"
    assert len(whole) >= layout.total_frames * 4
