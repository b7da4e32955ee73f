"""Calls about jobs and the server, with and without an event loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import cast

import grpc
import pytest

from mismo.analysis.v1 import job_pb2, stage_pb2
from mismo_client import (
    AsyncClient,
    Client,
    ClientOptions,
    EndOfStem,
    JobIdActiveError,
    MismoRpcError,
    Priority,
    RunReplacedError,
    Stage,
    StreamEnd,
    UploadedTrack,
    stage_name,
    stage_of,
)
from tests.unit.client.peer import Peer
from tests.unit.client.peer_status import rich_error
from tests.unit.client.peer_stream import FRAME_BYTES
from tests.unit.client.peer_transfer import JOB_ID, LINK_TIME, STEM_NAMES


async def test_listing_goes_through_all_pages(peer: Peer, client: AsyncClient) -> None:
    peer.jobs = [peer.job(f"job-{n}") for n in range(25)]
    peer.jobs[3].state = job_pb2.JOB_STATE_FAILED
    assert [job.job_id async for job in client.list(page_size=10)] == [f"job-{n}" for n in range(25)]
    failed = [job.job_id async for job in client.list(states=[job_pb2.JOB_STATE_FAILED])]
    assert failed == ["job-3"]


@pytest.mark.parametrize(
    "uri",
    [
        "az://c/a b.wav",
        "s3://bucket/a.wav",
        "https://host/c/a.wav",
        "http://host/c/a.wav",
        "file:///c/a.wav",
        "AZ://c/a",
    ],
)
async def test_a_blob_is_submitted_by_its_uri(peer: Peer, client: AsyncClient, uri: str) -> None:
    await client.submit(uri, blob_prefix="albums/42")
    (sent,) = peer.submits
    assert (sent.source.WhichOneof("location"), sent.source.blob_uri) == ("blob_uri", uri)
    assert sent.options.blob_upload.prefix == "albums/42"


async def test_a_path_object_or_a_name_with_a_colon_is_a_path(peer: Peer, client: AsyncClient) -> None:
    await client.submit(Path("az://c/a.wav"))
    await client.submit("az:a.wav")
    assert [sent.source.path for sent in peer.submits] == [
        str(Path.cwd() / "az:/c/a.wav"),
        str(Path.cwd() / "az:a.wav"),
    ]
    assert not any(sent.options.HasField("blob_upload") for sent in peer.submits)


async def test_a_generation_has_its_options_and_no_source(peer: Peer, client: AsyncClient) -> None:
    asked = await client.generate(
        ["bass", "drums"],
        target_bpm=92.5,
        duration=4.25,
        style="rock",
        chord_progression=["Am", "F"],
        key="A minor",
        prompt="loud",
        temperature=0.5,
        random_seed=2**62,
        generator="synthetic",
        blob_prefix="albums/42",
        priority=Priority.PRIORITY_HIGH,
        job_id="mine",
        callback_url="http://127.0.0.1/done",
    )
    assert asked.job.job_id == "mine"
    (sent,) = peer.submits
    assert sent.source.WhichOneof("location") is None
    assert list(sent.options.stages) == [Stage.STAGE_GENERATION]
    assert not sent.options.HasField("stems")
    wanted = sent.options.generation
    assert (list(wanted.target_stems), wanted.target_bpm) == (["bass", "drums"], 92.5)
    assert (wanted.duration.ToMilliseconds(), wanted.style, wanted.key) == (4250, "rock", "A minor")
    assert list(wanted.chord_progression) == ["Am", "F"]
    assert (wanted.prompt, wanted.temperature, wanted.generator) == ("loud", 0.5, "synthetic")
    assert wanted.random_seed == 2**62
    assert sent.options.blob_upload.prefix == "albums/42"
    assert (sent.priority, sent.callback.url) == (Priority.PRIORITY_HIGH, "http://127.0.0.1/done")


async def test_what_a_generation_leaves_out_is_unset(peer: Peer, client: AsyncClient) -> None:
    await client.generate(["bass"])
    (sent,) = peer.submits
    assert sent.options.generation == stage_pb2.GenerationOptions(target_stems=["bass"])
    assert not sent.options.HasField("blob_upload")


async def test_a_generation_takes_lists_and_seeds_of_64_bits(peer: Peer, client: AsyncClient) -> None:
    with pytest.raises(ValueError, match="target_stems must be a list"):
        await client.generate("bass")
    with pytest.raises(ValueError, match=r"chord_progression must be a list of texts, such as \['Am', 'F'\]"):
        await client.generate(["bass"], chord_progression="Am F")
    with pytest.raises(ValueError, match="range"):
        await client.generate(["bass"], random_seed=2**63)
    assert not peer.submits


async def test_a_link_is_made_again_after_a_break_and_names_the_run(peer: Peer, client: AsyncClient) -> None:
    peer.link_errors.append(rich_error(grpc.StatusCode.UNAVAILABLE, "", "away"))
    link = await client.create_blob_link("job-1", "stems/bass.wav", 90, expected_run_id="run-1")
    assert link.url == "https://blobs.example/stems/bass.wav?sig=1"
    assert link.expire_time.seconds == LINK_TIME + 90
    assert len(peer.link_requests) == 2
    await client.create_blob_link("job-1", "stems/bass.wav")
    assert not peer.link_requests[-1].HasField("ttl"), "the server chooses"
    with pytest.raises(RunReplacedError):
        await client.create_blob_link("job-1", "stems/bass.wav", expected_run_id="run-0")


async def test_an_upload_is_submitted_by_its_id_and_a_path_absolute(peer: Peer, client: AsyncClient) -> None:
    await client.submit(
        UploadedTrack("upload-1", 10, ""), two_stems="vocals", priority=Priority.PRIORITY_HIGH
    )
    await client.submit("a.wav", labels={"deck": "A"}, result_ttl=60, job_id="mine", shifts=2)
    by_upload, by_path = peer.submits
    assert by_upload.source.upload_id == "upload-1"
    assert (by_upload.options.stems.two_stems, by_upload.priority) == ("vocals", job_pb2.PRIORITY_HIGH)
    assert not by_upload.options.stems.HasField("playhead")
    assert by_path.source.path == str(Path.cwd() / "a.wav")
    assert (dict(by_path.labels), by_path.result_ttl.seconds, by_path.job_id) == ({"deck": "A"}, 60, "mine")
    assert not by_path.options.stages, "left to the server, which takes stems"
    assert by_path.options.stems.shifts == 2


async def test_a_request_id_of_ones_own_finds_the_earlier_answer(peer: Peer, client: AsyncClient) -> None:
    first = await client.submit("/a.wav", request_id="mine")
    second = await client.submit("/a.wav", request_id="mine")
    assert first.job.job_id == second.job.job_id
    assert (first.deduplicated, second.deduplicated) == (False, True)


async def test_stages_are_asked_for_by_name_or_value(peer: Peer, client: AsyncClient) -> None:
    await client.submit("/a.wav", stages=["stems", Stage.STAGE_LOUDNESS], callback_url="http://here/")
    (sent,) = peer.submits
    assert list(sent.options.stages) == [Stage.STAGE_STEMS, Stage.STAGE_LOUDNESS]
    assert not sent.options.HasField("stems"), "no option of the stems was given"
    assert sent.callback.url == "http://here/"
    with pytest.raises(ValueError, match=r"'loud' is no stage; the stages are .*loudness"):
        await client.submit("/a.wav", stages=["loud"])
    assert len(peer.submits) == 1


def test_every_stage_has_a_name() -> None:
    assert stage_of("waveforms") == stage_of("WAVEFORMS") == Stage.STAGE_WAVEFORMS
    for number in range(Stage.STAGE_DECODE, Stage.STAGE_GENERATION + 1):
        assert stage_of(stage_name(cast("Stage", number))) == number
    assert stage_name(cast("Stage", 99)) == "stage 99", "a newer server may have more"


async def test_a_job_id_in_use_is_an_error_of_its_own(peer: Peer, client: AsyncClient) -> None:
    status = rich_error(grpc.StatusCode.ALREADY_EXISTS, "JOB_ID_ACTIVE", "mine is active with another source")
    peer.submit_errors.append(status)
    with pytest.raises(JobIdActiveError, match="mine is active"):
        await client.submit("/b.wav", job_id="mine")
    assert len(peer.submits) == 1


async def test_what_is_changed_is_named(peer: Peer, client: AsyncClient) -> None:
    changed = await client.update(JOB_ID, priority=Priority.PRIORITY_LOW, playhead=1.5)
    assert (changed.priority, changed.options.stems.playhead.ToMilliseconds()) == (
        job_pb2.PRIORITY_LOW,
        1500,
    )
    await client.update(JOB_ID, playhead=0.0, expected_run_id="run-1")
    await client.update(JOB_ID, clear_playhead=True)
    paths = [list(update.update_mask.paths) for update in peer.updates]
    assert paths == [["priority", "playhead"], ["playhead"], ["playhead"]]
    assert [update.HasField("playhead") for update in peer.updates] == [True, True, False]
    assert peer.updates[1].expected_run_id == "run-1"
    with pytest.raises(ValueError, match="not both"):
        await client.update(JOB_ID, playhead=1.0, clear_playhead=True)
    with pytest.raises(ValueError, match="nothing to change"):
        await client.update(JOB_ID)
    assert len(peer.updates) == 3


async def test_jobs_are_cancelled_and_deleted(peer: Peer, client: AsyncClient) -> None:
    peer.jobs = [peer.job()]
    assert (await client.cancel(JOB_ID, expected_run_id="run-1")).state == job_pb2.JOB_STATE_CANCELLED
    with pytest.raises(RunReplacedError):
        await client.cancel(JOB_ID, expected_run_id="run-0")
    await client.delete(JOB_ID, expected_run_id="run-1")
    with pytest.raises(MismoRpcError, match="JOB_NOT_FOUND"):
        await client.get(JOB_ID)
    with pytest.raises(MismoRpcError, match="JOB_NOT_FOUND"):
        await client.delete(JOB_ID)
    await client.delete(JOB_ID, allow_missing=True)
    assert [request.expected_run_id for request in peer.deletes] == ["run-1", "", ""]


def dead_letter(peer: Peer, job_id: str = JOB_ID) -> job_pb2.Job:
    job = peer.job(job_id, job_pb2.JOB_STATE_FAILED)
    job.dead_letter = True
    job.error.CopyFrom(stage_pb2.JobError(reason="BLOB_STORE_UNAVAILABLE", message="it is away"))
    return job


async def test_dead_letters_are_listed_alone(peer: Peer, client: AsyncClient) -> None:
    peer.jobs = [peer.job("a"), dead_letter(peer, "b")]
    assert [job.job_id async for job in client.list(dead_letters=True)] == ["b"]
    assert [job.job_id async for job in client.list()] == ["a", "b"]


async def test_a_failed_job_is_replayed_as_a_new_run(peer: Peer, client: AsyncClient) -> None:
    peer.jobs = [dead_letter(peer)]
    job = await client.replay(JOB_ID)
    assert (job.run_id, job.state, job.dead_letter) == ("run-2", job_pb2.JOB_STATE_QUEUED, False)
    with pytest.raises(RunReplacedError):
        await client.replay(JOB_ID, expected_run_id="run-1")
    assert [request.expected_run_id for request in peer.replays] == ["run-1", "run-1"]


async def test_a_replay_whose_answer_was_lost_makes_one_new_run(peer: Peer, client: AsyncClient) -> None:
    peer.jobs = [dead_letter(peer)]
    peer.replay_errors.append(rich_error(grpc.StatusCode.UNAVAILABLE, "", "gone"))
    assert (await client.replay(JOB_ID)).run_id == "run-2"
    assert len(peer.replays) == 2


async def test_the_server_tells_what_it_is(peer: Peer, client: AsyncClient) -> None:
    assert (await client.info()).version == "1.2.3"
    assert [model.name for model in await client.models()] == ["peer_model", "far_model"]
    stages = {stage_name(offer.stage): offer for offer in await client.stages()}
    assert [name for name, offer in stages.items() if offer.available] == ["stems", "loudness"]
    assert "install the extra" in stages["genre"].reason
    samples = client.watch_resources(interval=1)
    assert [(await anext(samples)).jobs_running for _ in range(3)] == [0, 1, 2]
    await samples.aclose()


def without_a_loop(peer: Peer, options: ClientOptions, tmp_path: Path) -> None:
    with Client(peer.target, options=options) as client:
        assert client.submit("/a.wav", playhead=1.0).job.job_id == "job-1"
        assert [event.WhichOneof("event") for event in client.watch(JOB_ID)] == ["snapshot", "terminal"]
        with client.stream_stems(JOB_ID, chunk_bytes=8192) as player:
            assert player.format().stem_names == STEM_NAMES
            next(player)
            assert player.seek(20_000) == 1
            heard: dict[str, bytes] = dict.fromkeys(STEM_NAMES, b"")
            for chunk in player:
                heard[chunk.stem_name] += chunk.data
        assert heard == {name: samples[20_000 * FRAME_BYTES :] for name, samples in peer.stems.items()}
        with client.stem(JOB_ID, "bass", buffer_frames=10_000) as one, one.events() as events:
            assert [type(event) for event in events][-2:] == [EndOfStem, StreamEnd]
        with client.read_stem(JOB_ID, "bass", frame_limit=10) as reading:
            assert reading.frames() == (0, 10)
            assert reading.format().channels == 2
            assert b"".join(chunk.data for chunk in reading) == peer.stems["bass"][: 10 * FRAME_BYTES]
        assert client.artifact(JOB_ID, "stems.zip", tmp_path / "x.zip").read_bytes() == peer.artifact
        with client.watch_resources() as samples:
            assert next(samples).jobs_running == 0
        with pytest.raises(MismoRpcError, match="JOB_NOT_FOUND"):
            client.get("nothing")
        assert client.models()[0].is_default
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.info()


async def test_the_plain_client_does_the_same_without_a_loop(
    peer: Peer, quick: ClientOptions, tmp_path: Path
) -> None:
    before = threading.active_count()
    await asyncio.to_thread(without_a_loop, peer, quick, tmp_path)
    names = [thread.name for thread in threading.enumerate()]
    assert "mismo-client" not in names, f"{before} threads before, now {names}"


def test_the_plain_client_has_every_method_of_the_other() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(Client) - {"close"} == public(AsyncClient) - {"aclose"}
    assert Client.submit.__doc__ == AsyncClient.submit.__doc__
