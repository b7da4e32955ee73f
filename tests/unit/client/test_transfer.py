"""Uploads, single stems and files arrive whole over broken calls."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from mismo_client import (
    AsyncClient,
    ChecksumError,
    MismoRpcError,
    RunReplacedError,
    StreamCorruptError,
    TrackChangedError,
)
from mismo_client.transfer.upload import CHUNK_BYTES, Upload, read_track
from tests.unit.client.peer import Peer
from tests.unit.client.peer_status import fail, rich_error
from tests.unit.client.peer_stream import FRAME_BYTES, StreamFault
from tests.unit.client.peer_transfer import JOB_ID


@pytest.fixture
def track(tmp_path: Path) -> Path:
    path = tmp_path / "track.wav"
    path.write_bytes(random.Random(7).randbytes(5 * CHUNK_BYTES + 123))
    return path


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_an_upload_arrives_whole_and_tells_its_progress(
    peer: Peer, client: AsyncClient, track: Path
) -> None:
    told: list[tuple[int, int]] = []
    uploaded = await client.upload(track, on_progress=lambda done, total: told.append((done, total)))
    assert bytes(peer.uploads[uploaded.upload_id]) == track.read_bytes()
    assert (uploaded.total_bytes, uploaded.sha256) == (track.stat().st_size, sha256_of(track))
    assert told[0] == (0, uploaded.total_bytes)
    assert told[-1] == (uploaded.total_bytes, uploaded.total_bytes)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert peer.upload_headers[0].filename == "track.wav"
    assert (await client.get_upload(uploaded.upload_id)).complete


@pytest.mark.parametrize(
    "fault", [StreamFault(break_after=1), StreamFault(break_after=6), StreamFault(corrupt=2)]
)
async def test_a_broken_upload_goes_on_at_what_was_committed(
    peer: Peer, client: AsyncClient, track: Path, fault: StreamFault
) -> None:
    # The peer takes no byte twice, so going back further than needed would fail.
    peer.upload_faults.append(fault)
    uploaded = await client.upload(track)
    assert bytes(peer.uploads[uploaded.upload_id]) == track.read_bytes()
    assert [header.upload_id for header in peer.upload_headers] == ["", uploaded.upload_id]


async def test_an_upload_survives_a_restart_of_the_server(
    peer: Peer, client: AsyncClient, track: Path
) -> None:
    restarts = []

    async def restart_once() -> None:
        await peer.restart()

    def on_progress(done: int, total: int) -> None:
        if done and not restarts:
            restarts.append(asyncio.ensure_future(restart_once()))

    uploaded = await client.upload(track, on_progress=on_progress)
    await restarts[0]
    assert bytes(peer.uploads[uploaded.upload_id]) == track.read_bytes()


async def test_a_content_that_the_server_knows_is_not_sent(
    peer: Peer, client: AsyncClient, track: Path
) -> None:
    peer.known_sha256.add(sha256_of(track))
    uploaded = await client.upload(track)
    assert peer.uploads[uploaded.upload_id] == b""
    assert uploaded.sha256 == sha256_of(track)


async def test_an_upload_that_expired_meanwhile_begins_anew(
    peer: Peer, client: AsyncClient, track: Path
) -> None:
    peer.upload_faults.append(StreamFault(break_after=2))

    def forget(done: int, total: int) -> None:
        if done == 2 * CHUNK_BYTES and len(peer.upload_headers) == 1:
            peer.uploads.clear()

    peer.upload_faults[0].break_after = 3
    uploaded = await client.upload(track, on_progress=forget)
    assert bytes(peer.uploads[uploaded.upload_id]) == track.read_bytes()
    assert [bool(header.upload_id) for header in peer.upload_headers] == [False, True, False]


async def test_a_file_that_changes_while_it_is_sent_is_refused(
    peer: Peer, client: AsyncClient, track: Path
) -> None:
    content = bytearray(track.read_bytes())
    content[-1] ^= 1

    def change(done: int, total: int) -> None:
        if done == 0:
            track.write_bytes(content)

    with pytest.raises(TrackChangedError, match=r"track\.wav changed"):
        await client.upload(track, on_progress=change)


async def test_a_file_that_is_cut_short_while_it_is_sent_is_refused(
    peer: Peer, client: AsyncClient, track: Path
) -> None:
    def cut(done: int, total: int) -> None:
        track.write_bytes(b"short")

    with pytest.raises(TrackChangedError):
        await client.upload(track, on_progress=cut)


async def test_an_upload_that_is_too_large_is_not_tried_again(
    peer: Peer, client: AsyncClient, track: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(request_iterator, context):
        peer.upload_headers.append((await anext(request_iterator)).header)
        status = rich_error(grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_TOO_LARGE", "at most 1 byte")
        await fail(context, status)
        yield

    await peer.stop()
    peer.UploadAudio = refuse
    await peer.start()
    with pytest.raises(MismoRpcError, match="UPLOAD_TOO_LARGE"):
        await client.upload(track)
    assert len(peer.upload_headers) == 1


def test_a_track_is_known_by_its_bytes(track: Path) -> None:
    known = read_track(track)
    assert (known.filename, known.total_bytes, known.sha256) == (
        "track.wav",
        track.stat().st_size,
        sha256_of(track),
    )
    assert Upload.__init__.__defaults__ == (None, CHUNK_BYTES)


async def test_a_stem_is_read_from_a_frame_to_a_limit(peer: Peer, client: AsyncClient) -> None:
    async with client.read_stem(
        JOB_ID, "bass", start_frame=100, frame_limit=5_000, chunk_bytes=4096
    ) as reading:
        assert (await reading.format()).sample_rate == 44_100
        samples = b"".join([chunk.data async for chunk in reading])
    assert samples == peer.stems["bass"][100 * FRAME_BYTES : 5_100 * FRAME_BYTES]


READ_BREAKS = {
    "broken off": StreamFault(break_after=2),
    "ended early": StreamFault(end_early_after=3),
    "garbled": StreamFault(corrupt=1),
    "left out": StreamFault(leave_out=1),
}


@pytest.mark.parametrize("fault", READ_BREAKS.values(), ids=READ_BREAKS)
async def test_a_reading_goes_on_where_it_broke(peer: Peer, client: AsyncClient, fault: StreamFault) -> None:
    peer.read_faults.append(fault)
    async with client.read_stem(
        JOB_ID, "bass", start_frame=10, frame_limit=20_000, chunk_bytes=8192
    ) as reading:
        samples = b"".join([chunk.data async for chunk in reading])
    assert samples == peer.stems["bass"][10 * FRAME_BYTES : 20_010 * FRAME_BYTES]
    first, second = peer.reads
    assert second.start_frame > first.start_frame
    assert second.start_frame + second.frame_limit == first.start_frame + first.frame_limit


async def test_a_reading_by_time_needs_no_sample_rate_and_goes_on_by_frames(
    peer: Peer, client: AsyncClient
) -> None:
    peer.read_faults.append(StreamFault(break_after=2))
    async with client.read_stem(JOB_ID, "bass", start_time=0.1, time_limit=0.25, chunk_bytes=8192) as reading:
        assert await reading.frames() == (4_410, 4_410 + 11_025)
        samples = b"".join([chunk.data async for chunk in reading])
        assert reading.run_id == "run-1"
    assert samples == peer.stems["bass"][4_410 * FRAME_BYTES : 15_435 * FRAME_BYTES]
    first, second = peer.reads
    assert first.start_time.ToMilliseconds() == 100
    assert first.time_limit.ToMilliseconds() == 250
    assert second.WhichOneof("start") == "start_frame"
    assert second.start_frame + second.frame_limit == 15_435
    assert (first.expected_run_id, second.expected_run_id) == ("", "run-1")


async def test_a_limit_that_was_reached_before_the_break_is_not_exceeded(
    peer: Peer, client: AsyncClient
) -> None:
    peer.read_faults.append(StreamFault(break_after=1))
    async with client.read_stem(JOB_ID, "bass", frame_limit=1_000) as reading:
        samples = b"".join([chunk.data async for chunk in reading])
    assert samples == peer.stems["bass"][: 1_000 * FRAME_BYTES]
    assert len(peer.reads) == 1


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_reading_never_goes_on_in_another_run(peer: Peer, client: AsyncClient, refuses: bool) -> None:
    peer.refuses_other_runs = refuses
    peer.read_faults.append(StreamFault(break_after=2))
    async with client.read_stem(JOB_ID, "bass", chunk_bytes=8192) as reading:
        first = await anext(reading)
        assert first.data == peer.stems["bass"][:8192]
        peer.run_again()
        await anext(reading)
        with pytest.raises(RunReplacedError):
            await anext(reading)


@pytest.mark.parametrize(
    "wrong",
    [
        {"start_frame": 1, "start_time": 1.0},
        {"frame_limit": 1, "time_limit": 1.0},
        {"start_frame": -1},
        {"time_limit": -0.5},
    ],
)
def test_contradictions_are_refused_before_anything_is_sent(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not both|0 or greater"):
        # Refused before the client is looked at.
        AsyncClient.read_stem(cast("AsyncClient", object()), JOB_ID, "bass", **wrong)


async def test_a_reading_past_what_is_separated_says_so(peer: Peer, client: AsyncClient) -> None:
    peer.ready_frames = 4_096
    async with client.read_stem(JOB_ID, "bass", chunk_bytes=8192) as reading:
        got = [await anext(reading), await anext(reading)]
        with pytest.raises(MismoRpcError, match="JOB_NOT_READY"):
            await anext(reading)
    assert b"".join(chunk.data for chunk in got) == peer.stems["bass"][: 4_096 * FRAME_BYTES]


async def test_an_empty_reading_still_tells_its_form(peer: Peer, client: AsyncClient) -> None:
    async with client.read_stem(JOB_ID, "bass", start_frame=peer.total_frames) as reading:
        assert (await reading.format()).total_frames == peer.total_frames
        assert [chunk async for chunk in reading] == []


ARTIFACT_BREAKS = {
    "none": StreamFault(),
    "broken off": StreamFault(break_after=2),
    "ended early": StreamFault(end_early_after=3),
    "garbled": StreamFault(corrupt=1),
}


@pytest.mark.parametrize("fault", ARTIFACT_BREAKS.values(), ids=ARTIFACT_BREAKS)
async def test_an_artifact_arrives_whole(
    peer: Peer, client: AsyncClient, tmp_path: Path, fault: StreamFault
) -> None:
    peer.artifact_faults.append(fault)
    told: list[tuple[int, int]] = []
    target = tmp_path / "stems.zip"
    assert await client.artifact(JOB_ID, "stems.zip", target, on_progress=lambda *p: told.append(p)) == target
    assert target.read_bytes() == peer.artifact
    assert list(tmp_path.iterdir()) == [target], "nothing is left beside it"
    assert told[-1] == (len(peer.artifact), len(peer.artifact))
    first, *others = peer.artifact_requests
    assert (first.offset, first.expected_run_id) == (0, "")
    assert all(other.offset > 0 for other in others), "it goes on, it does not begin again"
    assert all(other.expected_run_id == "run-1" for other in others)


async def test_an_artifact_that_cannot_be_had_leaves_nothing_and_keeps_what_was_there(
    peer: Peer, client: AsyncClient, tmp_path: Path
) -> None:
    target = tmp_path / "stems.zip"
    target.write_bytes(b"the earlier one")
    with pytest.raises(MismoRpcError, match="ARTIFACT_NOT_FOUND"):
        await client.artifact(JOB_ID, "nothing.zip", target)
    peer.artifact_faults.extend(StreamFault(corrupt=0) for _ in range(20))
    with pytest.raises(StreamCorruptError):
        await client.artifact(JOB_ID, "stems.zip", target)
    assert target.read_bytes() == b"the earlier one"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("refuses", [True, False])
async def test_an_artifact_of_another_run_is_not_patched_together(
    peer: Peer, client: AsyncClient, tmp_path: Path, refuses: bool
) -> None:
    peer.artifact_faults.append(StreamFault(break_after=2))
    # Also a server that answers with another run is not believed.
    peer.refuses_other_runs = refuses

    def replace(done: int, total: int) -> None:
        if done == 100_000:
            peer.run_again()

    with pytest.raises(RunReplacedError, match="begin again with its newest run"):
        await client.artifact(JOB_ID, "stems.zip", tmp_path / "stems.zip", on_progress=replace)
    assert list(tmp_path.iterdir()) == []


async def test_an_artifact_that_is_not_what_the_server_made_is_refused(
    peer: Peer, client: AsyncClient, tmp_path: Path
) -> None:
    peer.artifact_sha256 = "0" * 64
    artifact = peer.job().artifacts[0]
    with pytest.raises(ChecksumError, match=r"stems\.zip of job job-1") as caught:
        await client.artifact(JOB_ID, artifact, tmp_path / "stems.zip")
    assert caught.value.received == hashlib.sha256(peer.artifact).hexdigest()
    assert len(peer.artifact_requests) == 1, "the server would send the same again"
    assert list(tmp_path.iterdir()) == []


async def test_an_archive_without_a_checksum_is_taken_as_it_comes(
    peer: Peer, client: AsyncClient, tmp_path: Path
) -> None:
    peer.artifact_sha256 = ""
    target = await client.artifact(JOB_ID, "stems.zip", tmp_path / "stems.zip", expected_run_id="run-1")
    assert target.read_bytes() == peer.artifact
    with pytest.raises(RunReplacedError):
        await client.artifact(JOB_ID, "stems.zip", target, expected_run_id="run-0")
