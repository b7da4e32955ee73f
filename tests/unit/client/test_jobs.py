"""Calls about jobs and the server, with and without an event loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from mismo.analysis.v1 import job_pb2
from mismo_client import AsyncClient, Client, ClientOptions, MismoRpcError, Priority, UploadedTrack
from tests.unit.client.peer import FRAME_BYTES, JOB_ID, STEM_NAMES, Peer


async def test_listing_goes_through_all_pages(peer: Peer, client: AsyncClient) -> None:
    peer.jobs = [peer.job(f"job-{n}") for n in range(25)]
    peer.jobs[3].state = job_pb2.JOB_STATE_FAILED
    assert [job.job_id async for job in client.list(page_size=10)] == [f"job-{n}" for n in range(25)]
    failed = [job.job_id async for job in client.list(states=[job_pb2.JOB_STATE_FAILED])]
    assert failed == ["job-3"]


async def test_an_upload_is_submitted_by_its_id_and_a_path_absolute(peer: Peer, client: AsyncClient) -> None:
    await client.submit(
        UploadedTrack("upload-1", 10, ""), two_stems="vocals", priority=Priority.PRIORITY_HIGH
    )
    await client.submit("a.wav", labels={"deck": "A"}, result_ttl=60, job_id="mine", shifts=2)
    by_upload, by_path = peer.submits
    assert by_upload.source.upload_id == "upload-1"
    assert (by_upload.options.two_stems, by_upload.priority) == ("vocals", job_pb2.PRIORITY_HIGH)
    assert not by_upload.options.HasField("playhead")
    assert by_path.source.path == str(Path.cwd() / "a.wav")
    assert (dict(by_path.labels), by_path.result_ttl.seconds, by_path.job_id) == ({"deck": "A"}, 60, "mine")
    assert by_path.options.stems
    assert by_path.options.shifts == 2


async def test_a_request_id_of_ones_own_finds_the_earlier_answer(peer: Peer, client: AsyncClient) -> None:
    first = await client.submit("/a.wav", request_id="mine")
    second = await client.submit("/a.wav", request_id="mine")
    assert first.job.job_id == second.job.job_id
    assert (first.deduplicated, second.deduplicated) == (False, True)


async def test_jobs_are_changed_cancelled_and_deleted(peer: Peer, client: AsyncClient) -> None:
    peer.jobs = [peer.job()]
    changed = await client.update(JOB_ID, priority=Priority.PRIORITY_LOW, playhead=1.5)
    assert (changed.priority, changed.options.playhead.ToMilliseconds()) == (job_pb2.PRIORITY_LOW, 1500)
    assert (await client.cancel(JOB_ID)).state == job_pb2.JOB_STATE_CANCELLED
    await client.delete(JOB_ID)
    with pytest.raises(MismoRpcError, match="JOB_NOT_FOUND"):
        await client.get(JOB_ID)


async def test_the_server_tells_what_it_is(peer: Peer, client: AsyncClient) -> None:
    assert (await client.info()).version == "1.2.3"
    assert [model.name for model in await client.models()] == ["peer_model", "far_model"]
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
            player.seek(20_000)
            heard: dict[str, bytes] = dict.fromkeys(STEM_NAMES, b"")
            for chunk in player:
                heard[chunk.stem_name] += chunk.data
        assert heard == {name: samples[20_000 * FRAME_BYTES :] for name, samples in peer.stems.items()}
        with client.read_stem(JOB_ID, "bass", frame_limit=10) as reading:
            assert reading.format().channels == 2
            assert b"".join(chunk.data for chunk in reading) == peer.stems["bass"][: 10 * FRAME_BYTES]
        assert client.artifact(JOB_ID, "stems.zip", tmp_path / "x.zip").read_bytes() == peer.artifact
        with client.watch_resources() as samples:
            assert next(samples).jobs_running == 0
        with pytest.raises(MismoRpcError, match="JOB_NOT_FOUND"):
            client.get("nothing")
        assert client.models()[0].default
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
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Client) - {"close"} == public(AsyncClient) - {"aclose"}
    assert Client.submit.__doc__ == AsyncClient.submit.__doc__
