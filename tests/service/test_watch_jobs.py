"""WatchJobs: all jobs over one stream, from a cursor that outlasts connections and servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mismo.analysis.v1 import job_pb2
from mismo.analysis.v1 import job_service_pb2 as jobs_pb2
from mismo.analysis.v1.job_service_pb2_grpc import JobServiceStub
from mismo_grpc.jobs.store.change_records import REMOVED_JOBS_KEPT_SECONDS
from tests.service.conftest import Server, StartServer
from tests.support.calls import (
    CANCELLED,
    HIGH,
    LOW,
    PATIENCE,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    Client,
    refusal_of,
    refused,
    seconds,
    until,
)
from tests.support.process import ServerProcess
from tests.support.tracks import write_track

Message = jobs_pb2.WatchJobsResponse


class Watching:
    """A client that keeps what a watch tells, as an app server would."""

    def __init__(self, **asked: Any) -> None:
        self.asked = asked
        self.cursor = ""
        self.jobs: dict[str, job_pb2.Job] = {}
        self.deleted: list[str] = []
        self.messages: list[Message] = []
        self._call: Any = None

    async def open(self, client: Client) -> Watching:
        request = jobs_pb2.WatchJobsRequest(cursor=self.cursor, **self.asked)
        self._call = client.jobs.WatchJobs(request, timeout=2 * PATIENCE)
        return self

    async def next(self) -> Message:
        message: Any = await asyncio.wait_for(self._call.read(), PATIENCE)
        assert message is not grpc.aio.EOF, "the stream ended"
        assert message.cursor
        kind = message.WhichOneof("event")
        if kind == "job":
            self.jobs[message.job.job_id] = message.job
        elif kind == "deleted":
            self.deleted.append(message.deleted.job_id)
            self.jobs.pop(message.deleted.job_id, None)
        self.messages.append(message)
        self.cursor = message.cursor
        return message

    async def until(self, kind: str, job_id: str = "", **fields: Any) -> Message:
        """Reads on to a message of a kind (of a job, with fields)."""
        while True:
            message = await self.next()
            if message.WhichOneof("event") != kind:
                continue
            event = getattr(message, kind)
            if (not job_id or event.job_id == job_id) and all(
                getattr(event, name) == value for name, value in fields.items()
            ):
                return message

    async def caught_up(self) -> None:
        await self.until("caught_up")

    def close(self) -> None:
        self._call.cancel()


@pytest.fixture
async def watching(server: Server) -> AsyncIterator[Watching]:
    """A watch of all jobs that has begun."""
    watch = await Watching().open(server.client)
    await watch.caught_up()
    yield watch
    watch.close()


async def finished(client: Client, music: Path, job_id: str, **fields: Any) -> job_pb2.Job:
    track = music / f"{job_id}.wav"
    await client.submit(write_track(track, 1.0, seed=len(job_id)), job_id=job_id, **fields)
    return await client.succeeded(job_id)


def kinds(messages: list[Message]) -> list[str | None]:
    return [message.WhichOneof("event") for message in messages]


async def test_the_jobs_that_are_there_come_first_oldest_change_first(server: Server, music: Path) -> None:
    for name in ("one", "two", "three"):
        await finished(server.client, music, name)
    await server.idle()
    watch = await Watching().open(server.client)
    await watch.caught_up()
    assert kinds(watch.messages) == ["job", "job", "job", "caught_up"]
    assert list(watch.jobs) == ["one", "two", "three"]
    assert list(watch.jobs.values()) == [await server.client.get(job_id) for job_id in watch.jobs]
    watch.close()


async def test_a_job_is_told_from_its_submit_to_its_end_and_its_deletion(
    server: Server, watching: Watching, music: Path
) -> None:
    server.device.close()
    await server.client.submit(write_track(music / "a.wav", 3.0), job_id="a", labels={"deck": "left"})
    await watching.until("job", "a", state=RUNNING)
    await server.device.someone_waits()
    await server.client.update("a", priority=HIGH)
    await watching.until("job", "a", priority=HIGH)
    server.device.open()
    await watching.until("job", "a", state=SUCCEEDED)
    assert watching.jobs["a"] == await server.client.get("a")
    assert (server.jobs_dir / "a").is_symlink(), "told once its files are where they belong"
    run_id = watching.jobs["a"].run_id
    await server.client.delete("a")
    deleted = (await watching.until("deleted")).deleted
    assert deleted == jobs_pb2.JobDeleted(job_id="a", run_id=run_id)


async def test_progress_comes_as_progress_and_the_whole_job_only_when_more_changes(
    server: Server, music: Path
) -> None:
    watch = await Watching(min_progress_interval=seconds(0.1)).open(server.client)
    await watch.caught_up()
    server.device.close()
    await server.client.submit(write_track(music / "a.wav", 4.0), job_id="a")
    await server.device.someone_waits()
    for done in range(1, 4):
        server.device.allow(1)
        # What the work before the first segment counted may be told first.
        told = 0
        while told < done:
            progress = (await watch.until("progress", "a")).progress
            assert progress.run_id == watch.jobs["a"].run_id
            assert progress.progress.segments_done >= told
            told = progress.progress.segments_done
    server.device.open()
    job = (await watch.until("job", "a", state=SUCCEEDED)).job
    # Each stage as it begins and ends, the submit and the end; more segments were done than that.
    revisions = [m.job.revision for m in watch.messages if m.HasField("job")]
    assert revisions == sorted(set(revisions))
    assert job.progress.segments_total > 3
    stems_running = [m for m in watch.messages if m.HasField("job") and m.job.progress.segments_done > 0]
    # The stems have ended, the waveforms have begun and ended, the job has ended.
    assert len(stems_running) <= 4
    watch.close()


async def test_what_happened_before_is_no_progress(server: Server, music: Path) -> None:
    server.device.close()
    await server.client.submit(write_track(music / "a.wav", 4.0), job_id="a")
    server.device.allow(2)
    await until(lambda: server.app.repository.active["a"].job.segments_done >= 2)
    await server.device.someone_waits()
    watch = await Watching(heartbeat_interval=seconds(1), min_progress_interval=seconds(0.1)).open(
        server.client
    )
    await watch.until("heartbeat")
    assert kinds(watch.messages) == ["job", "caught_up", "heartbeat"]
    assert watch.cursor == watch.messages[0].cursor
    server.device.open()
    watch.close()


async def test_labels_and_states_narrow_what_is_told(server: Server, music: Path) -> None:
    left = await Watching(labels={"deck": "left"}).open(server.client)
    ended = await Watching(states=[SUCCEEDED, CANCELLED]).open(server.client)
    await left.caught_up()
    await ended.caught_up()
    await finished(server.client, music, "aa", labels={"deck": "right"})
    await finished(server.client, music, "b", labels={"deck": "left", "more": "x"})
    await left.until("job", "b", state=SUCCEEDED)
    await ended.until("job", "b")
    assert set(left.jobs) == {"b"}
    assert {m.job.state for m in ended.messages if m.HasField("job")} == {SUCCEEDED}
    assert "progress" not in kinds(ended.messages)
    await server.client.delete("aa")
    await server.client.delete("b")
    await left.until("deleted", "b")
    assert left.deleted == ["b"]
    await ended.until("deleted", "b")
    assert ended.deleted == ["aa", "b"]
    left.close()
    ended.close()


async def test_a_client_that_comes_back_gets_each_job_once_and_what_was_deleted(
    server: Server, watching: Watching, music: Path
) -> None:
    await finished(server.client, music, "gone")
    await finished(server.client, music, "stays")
    await watching.until("job", "stays", state=SUCCEEDED)
    watching.close()
    await server.client.delete("gone")
    await finished(server.client, music, "fresh")
    await server.idle()
    again = Watching()
    again.cursor = watching.cursor
    await again.open(server.client)
    await again.caught_up()
    assert kinds(again.messages) == ["deleted", "job", "caught_up"]
    assert again.deleted == ["gone"]
    assert again.jobs["fresh"].state == SUCCEEDED
    again.close()


async def test_a_new_run_with_other_labels_is_gone_for_who_watches_the_old_ones(
    server: Server, music: Path
) -> None:
    await finished(server.client, music, "a", labels={"deck": "left"})
    watch = await Watching(labels={"deck": "left"}).open(server.client)
    await watch.caught_up()
    await finished(server.client, music, "a", labels={"deck": "right"})
    deleted = (await watch.until("deleted", "a")).deleted
    assert deleted.run_id == watch.messages[0].job.run_id
    assert not watch.jobs
    watch.close()


async def test_a_result_that_was_there_already_is_told_once_its_link_is_made(
    server: Server, watching: Watching, music: Path
) -> None:
    await finished(server.client, music, "a")
    again = await server.client.submit(music / "a.wav", job_id="again")
    assert again.cache_hit
    await watching.until("job", "again", state=SUCCEEDED)
    assert (server.jobs_dir / "again").is_symlink()
    assert [m.job.state for m in watching.messages if m.HasField("job") and m.job.job_id == "again"] == [
        SUCCEEDED
    ]


async def test_a_slow_reader_gets_the_newest_and_holds_nobody_up(server: Server, music: Path) -> None:
    """Its connection takes a few messages; what changes meanwhile is told once."""
    labels = {f"label{number}": "x" * 250 for number in range(60)}
    narrow = Client(f"127.0.0.1:{server.app.grpc_port}")
    await narrow.channel.close()
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 16)]
    narrow.channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.app.grpc_port}", options)
    narrow.jobs = JobServiceStub(narrow.channel)
    slow = await Watching().open(narrow)
    await slow.caught_up()
    server.device.close()
    track = write_track(music / "a.wav", 3.0)
    await server.client.submit(track, job_id="a", labels=labels)
    await server.device.someone_waits()
    quick = await Watching().open(server.client)
    await quick.caught_up()
    # Each message has 16 KB: a hundred are more than its connection takes while it does not read.
    last = await server.client.get("a")
    for priority in (LOW, HIGH) * 50:
        last = await server.client.update("a", priority=priority)
        await quick.until("job", "a", revision=last.revision)
    before = len(slow.messages)
    await slow.until("job", "a", revision=last.revision)
    revisions = [m.job.revision for m in slow.messages if m.HasField("job")]
    assert revisions == sorted(revisions)
    assert len(slow.messages) - before < 50
    server.device.open()
    slow.close()
    quick.close()
    await narrow.close()


@pytest.mark.parametrize(
    "cursor", ["garbage", "1.", "1.0123456789abcdef.-1", "1.0123456789abcdef.1 ", "\0", "x" * 10_000]
)
async def test_a_cursor_that_no_server_made_is_refused(server: Server, cursor: str) -> None:
    watch = Watching()
    watch.cursor = cursor
    await watch.open(server.client)
    refusal = await refused(watch.next())
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "INVALID_FIELD", "cursor")


@pytest.mark.parametrize("cursor", ["1.0123456789abcdef.1", "2.0123456789abcdef.1"])
async def test_a_cursor_of_another_store_has_expired(server: Server, cursor: str) -> None:
    watch = Watching()
    watch.cursor = cursor
    await watch.open(server.client)
    refusal = await refused(watch.next())
    assert (refusal.code, refusal.reason) == ("OUT_OF_RANGE", "CURSOR_EXPIRED")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("heartbeat_interval", seconds(0.9)),
        ("heartbeat_interval", seconds(61)),
        ("min_progress_interval", seconds(0.05)),
        ("min_progress_interval", seconds(61)),
        ("states", [job_pb2.JOB_STATE_UNSPECIFIED]),
        ("labels", {f"{number}": "" for number in range(65)}),
    ],
)
async def test_what_is_asked_has_bounds(server: Server, field: str, value: Any) -> None:
    watch = await Watching(**{field: value}).open(server.client)
    refusal = await refused(watch.next())
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", field)


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_a_cursor_from_before_what_was_forgotten_has_expired(start: StartServer, music: Path) -> None:
    clock = Clock()
    server = await start(app={"now": clock}, job_retention_hours=1e5)
    old = await Watching().open(server.client)
    await old.caught_up()
    await finished(server.client, music, "a")
    await server.client.delete("a")
    await old.until("deleted", "a")
    old.close()
    kept, lost = old.cursor, old.messages[0].cursor
    clock.now += REMOVED_JOBS_KEPT_SECONDS + 1
    await server.app.sweeper.sweep()
    old.cursor = lost
    await old.open(server.client)
    refusal = await refused(old.next())
    assert (refusal.code, refusal.reason) == ("OUT_OF_RANGE", "CURSOR_EXPIRED")
    old.cursor = kept
    await old.open(server.client)
    await old.caught_up()
    old.close()


async def test_an_expired_job_is_told_as_deleted(start: StartServer, music: Path) -> None:
    clock = Clock()
    server = await start(app={"now": clock})
    watch = await Watching().open(server.client)
    await watch.caught_up()
    await finished(server.client, music, "a", result_ttl=seconds(60))
    clock.now += 61
    assert await server.app.sweeper.sweep() == ["a"]
    await watch.until("deleted", "a")
    watch.close()


async def test_it_counts_as_an_open_stream_and_ends_with_the_server(start: StartServer) -> None:
    server = await start(max_streams=1)
    watch = await Watching().open(server.client)
    await watch.caught_up()
    assert server.app.server.streams.count == 1
    refusal = await refused((await Watching().open(server.client)).next())
    assert refusal.reason == "TOO_MANY_STREAMS"
    stopping = asyncio.create_task(server.app.stop())
    refusal = await refused(watch.next())
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "SERVER_DRAINING")
    await stopping


async def test_a_client_that_leaves_lets_go_of_everything(server: Server, watching: Watching) -> None:
    watching.close()
    await until(lambda: server.app.server.streams.count == 0)
    assert server.app.repository.change_feed._watchers == 0
    assert not server.app.repository.change_feed._recent


# kill -9


async def test_a_cursor_outlasts_servers_that_are_killed(process: ServerProcess) -> None:
    """A client that applies every message ends with what ListJobs says, wherever servers and streams were cut."""
    process.settings = {"max_concurrent_jobs": 2}
    track = write_track(process.music / "a.wav", 4.0)
    short = write_track(process.music / "b.wav", 1.0)
    watch = Watching(min_progress_interval=seconds(0.1))
    client = await process.start()
    await watch.open(client)
    await client.submit(short, job_id="short")
    await watch.until("job", "short", state=SUCCEEDED)
    await client.submit(track, job_id="long")
    await watch.until("progress", "long")
    process.kill()
    await client.close()

    client = await process.start()
    await watch.open(client)
    await watch.caught_up()
    await client.submit(track, job_id="more", wanted=job_pb2.JobOptions())
    await client.delete("short")
    await client.get("more")
    # Cut before the watch has read any of it.
    process.kill()
    await client.close()

    client = await process.start()
    await watch.open(client)
    await watch.caught_up()
    assert watch.deleted == ["short"]
    for job_id in ("long", "more"):
        if watch.jobs[job_id].state in (QUEUED, RUNNING):
            await watch.until("job", job_id, state=SUCCEEDED)
    there = {job.job_id: job for job in (await client.list()).jobs}
    assert watch.jobs == there
    assert [message.cursor for message in watch.messages if not message.cursor] == []
    watch.close()
    await client.close()


async def test_a_lost_store_is_found_out(process: ServerProcess) -> None:
    watch = Watching()
    client = await process.start()
    await watch.open(client)
    await watch.caught_up()
    await client.submit(write_track(process.music / "a.wav", 1.0), job_id="a")
    await watch.until("job", "a", state=SUCCEEDED)
    process.kill()
    await client.close()
    for file in (process.jobs_dir / ".mismo").glob("jobs.sqlite3*"):
        file.unlink()
    client = await process.start()
    await watch.open(client)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watch.next()
    assert refusal_of(caught.value).reason == "CURSOR_EXPIRED"
    await client.close()
