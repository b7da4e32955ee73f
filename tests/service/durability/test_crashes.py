"""kill -9 at any moment: nothing that was accepted is lost, nothing is half-written, little is done again."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Iterator
from pathlib import Path

import grpc
import pytest

from mismo.analysis.v1 import job_pb2
from tests.support.calls import (
    PCM_F32LE,
    SUCCEEDED,
    Client,
    chunks_of,
    new_id,
    options,
    until,
    upload_chunk,
    upload_finish,
    upload_header,
)
from tests.support.process import ServerProcess
from tests.support.tracks import RATE, RESULT_FILES, track_bytes, write_track

SEGMENTS_LOST_AT_MOST = 2
"""For each kill and job: what was computed and not yet written."""

Stems = dict[str, bytes]

WANTED = options(encoding=PCM_F32LE, overlap=0.5)


def stems_of(folder: Path) -> Stems:
    return {path.name: path.read_bytes() for path in (folder / "stems").iterdir()}


class Undisturbed:
    """What the jobs look like on a server that nobody kills."""

    def __init__(self, folder: Path, models: Path) -> None:
        folder.mkdir()
        self.process = ServerProcess(folder, models)
        self.stems: dict[str, Stems] = {}

    async def separate(self, tracks: dict[str, bytes]) -> None:
        client = await self.process.start()
        for name, content in tracks.items():
            path = self.process.music / f"{name}.wav"
            path.write_bytes(content)
            await client.submit(path, job_id=name, wanted=WANTED)
        for name in tracks:
            await client.succeeded(name)
            self.stems[name] = stems_of(self.process.jobs_dir / name)
        await client.close()
        self.process.signal()
        assert await self.process.exited() == 0


TRACKS = {
    "long": track_bytes(10.0, seed=1),
    "short": track_bytes(2.0, seed=2),
    "sent": track_bytes(3.0, seed=3),
}


@pytest.fixture(scope="module")
def undisturbed(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stems]]:
    expected = Undisturbed(tmp_path_factory.mktemp("undisturbed") / "server", models)
    asyncio.run(expected.separate(TRACKS))
    yield expected.stems
    expected.process.close()


class Life:
    """Jobs that go on over the deaths of their server."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.process.settings = {"max_concurrent_jobs": 2}
        self.requests = {name: new_id() for name in TRACKS}
        self.kills = 0
        for name, content in TRACKS.items():
            (process.music / f"{name}.wav").write_bytes(content)

    def source(self, name: str) -> job_pb2.Source:
        return job_pb2.Source(path=str(self.process.music / f"{name}.wav"))

    async def submit(self, client: Client, name: str, source: job_pb2.Source | None = None) -> None:
        """Idempotent: after a kill nobody knows whether the last one arrived, so it is sent again."""
        answer = await client.submit(
            source or self.source(name),
            job_id=name,
            request_id=self.requests[name],
            wanted=WANTED,
        )
        assert answer.job.job_id == name

    async def kill_when(self, happens: Awaitable[object]) -> None:
        """kill -9 as soon as something has happened."""
        try:
            await happens
        finally:
            self.process.kill()
            self.kills += 1

    async def ends_well(self, client: Client, expected: dict[str, Stems], *names: str) -> None:
        """All jobs end, whole, and hardly anything was computed twice."""
        for name in names:
            job = await client.ended(name)
            assert job.state == SUCCEEDED, (job, self.process.log())
            assert stems_of(self.process.jobs_dir / name) == expected[name]
            forwards = self.process.forwards(name)
            assert len(forwards) == job.progress.segments_total
            again = forwards.total() - len(forwards)
            assert again <= SEGMENTS_LOST_AT_MOST * self.kills, (forwards, self.kills)
            for stem in job.stem_set.stem_names:
                streamed = await client.read_stem(name, stem, encoding=PCM_F32LE)
                assert expected[name][f"{stem}.wav"].endswith(streamed)
        await until(lambda: self.leftovers() == set())

    def leftovers(self) -> set[Path]:
        """What lies in the jobs folder and belongs to no result."""
        jobs_dir = self.process.jobs_dir
        found = {path for path in jobs_dir.iterdir() if path.name not in {*TRACKS, ".mismo"}}
        for name in TRACKS:
            folder = jobs_dir / name
            found |= {
                path
                for path in (folder.iterdir() if folder.exists() else [])
                if path.name not in RESULT_FILES
            }
        for name in ("staging", "trash"):
            folder = jobs_dir / ".mismo" / name
            found |= set(folder.iterdir() if folder.exists() else [])
        return found


@pytest.fixture
def life(process: ServerProcess) -> Life:
    return Life(process)


async def segments(client: Client, name: str, count: int) -> None:
    """Until that many segment_ready events of a job, or its end."""
    seen = 0
    async for event in client.watch(name):
        seen += event.HasField("segment_ready")
        if seen >= count or event.HasField("terminal"):
            return


async def all_frames(client: Client, name: str, total: int) -> None:
    """Until every frame of a job is ready."""
    ready = 0
    async for event in client.watch(name):
        ranges = event.snapshot.stem_set.ready if event.HasField("snapshot") else event.segment_ready.ranges
        ready += sum(r.end_frame - r.start_frame for r in ranges)
        if ready == total:
            return


async def test_a_kill_in_the_queue_and_in_the_middle_of_segments(
    life: Life, undisturbed: dict[str, Stems]
) -> None:
    life.process.settings["max_concurrent_jobs"] = 1
    client = await life.process.start()
    await life.submit(client, "long")
    await life.submit(client, "short")
    call = client.watch("long")
    seen = await call.read()
    await life.kill_when(segments(client, "long", 5))
    assert (await client.close()) is None

    client = await life.process.start()
    # The watch goes on: a snapshot of what is there, then the rest.
    events = await client.events("long", after_revision=seen.revision, server_epoch=seen.server_epoch)
    assert events[0].HasField("snapshot")
    assert events[0].revision > seen.revision
    assert events[-1].terminal.job.state == SUCCEEDED
    await life.submit(client, "long")
    await life.ends_well(client, undisturbed, "long", "short")
    await client.close()


async def test_a_kill_during_an_upload_and_during_the_finish(
    life: Life, undisturbed: dict[str, Stems]
) -> None:
    content = TRACKS["sent"]
    client = await life.process.start()
    await life.submit(client, "short")
    call = client.transfer.UploadAudio()
    await call.write(upload_header(len(content), sha256=hashlib.sha256(content).hexdigest()))
    upload_id = (await call.read()).upload_id
    half = len(content) // 2
    for message in chunks_of(content[:half]):
        await call.write(message)
    acknowledged = 0
    while acknowledged < half:
        acknowledged = (await call.read()).committed_bytes
    # All segments of the other job are there; what is left is to finish it.
    await life.kill_when(all_frames(client, "short", 2 * RATE))
    await client.close()

    client = await life.process.start()
    known = await client.get_upload(upload_id)
    assert known.committed_bytes >= acknowledged
    rest = [
        upload_header(len(content), upload_id=upload_id),
        *chunks_of(content, offset=known.committed_bytes),
        upload_finish(),
    ]
    assert (await client.upload_messages(rest))[-1].complete
    await life.submit(client, "sent", job_pb2.Source(upload_id=upload_id))
    await life.kill_when(segments(client, "sent", 1))
    await client.close()

    client = await life.process.start()
    await life.ends_well(client, undisturbed, "short", "sent")
    await client.close()


async def upload_and_submit(life: Life, client: Client, upload: dict[str, str]) -> None:
    """Goes on with the upload wherever it stands, then submits it."""
    content = TRACKS["sent"]
    call = client.transfer.UploadAudio()
    await call.write(upload_header(len(content), upload_id=upload.get("id", "")))
    answer = await call.read()
    upload["id"] = answer.upload_id
    place = answer.committed_bytes
    while place < len(content):
        await call.write(upload_chunk(place, content[place : place + 20_000]))
        place += 20_000
    await call.write(upload_finish())
    await call.done_writing()
    while await call.read() is not grpc.aio.EOF:
        pass
    await life.submit(client, "sent", job_pb2.Source(upload_id=upload["id"]))


async def random_lives(life: Life, expected: dict[str, Stems], seed: int, kills: int) -> None:
    """Kills at moments that nobody chose, then lets everything end."""
    draw = random.Random(seed)
    upload: dict[str, str] = {}
    for _ in range(kills):
        client = await life.process.start()

        async def work(client: Client = client) -> None:
            for name in ("long", "short"):
                await life.submit(client, name)
            await upload_and_submit(life, client, upload)
            for name in TRACKS:
                await client.ended(name)

        async def moment(working: asyncio.Task[None], early: bool, delay: float) -> None:
            if not early:
                await life.process.logged("model warm")
            await asyncio.wait([working], timeout=delay)

        working = asyncio.create_task(work())
        # From before the model is loaded to after the last job, but mostly in the middle of it all.
        await life.kill_when(moment(working, draw.random() < 0.25, draw.uniform(0.0, 0.7)))
        working.cancel()
        await asyncio.wait([working])
        if not working.cancelled():
            assert not isinstance(working.exception(), AssertionError)
        await client.close()
    client = await life.process.start()
    for name in ("long", "short"):
        await life.submit(client, name)
    await upload_and_submit(life, client, upload)
    await life.ends_well(client, expected, *TRACKS)
    await client.close()


async def test_kills_at_random_moments(life: Life, undisturbed: dict[str, Stems]) -> None:
    await random_lives(life, undisturbed, seed=1, kills=3)


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 103))
async def test_many_kills_at_random_moments(life: Life, undisturbed: dict[str, Stems], seed: int) -> None:
    await random_lives(life, undisturbed, seed, kills=8)


async def test_a_kill_while_jobs_are_submitted_loses_none_that_was_answered(
    process: ServerProcess,
) -> None:
    client = await process.start()
    tracks = [write_track(process.music / f"{n}.wav", 0.3, seed=n) for n in range(30)]
    requests = [new_id() for _ in tracks]
    answered: set[str] = set()

    async def submit(index: int) -> None:
        answer = await client.submit(tracks[index], job_id=f"job-{index}", request_id=requests[index])
        answered.add(answer.job.job_id)

    submits = [asyncio.create_task(submit(index)) for index in range(len(tracks))]
    await until(lambda: len(answered) >= 7)
    process.kill()
    await asyncio.wait(submits)
    for task in submits:
        task.exception()
    await client.close()

    client = await process.start()
    there = {job.job_id for job in (await client.list(page_size=100)).jobs}
    assert answered <= there
    for index in range(len(tracks)):
        answer = await client.submit(tracks[index], job_id=f"job-{index}", request_id=requests[index])
        assert answer.deduplicated == (f"job-{index}" in there)
    for index in range(len(tracks)):
        assert (await client.ended(f"job-{index}")).state == SUCCEEDED
    await client.close()


async def test_a_deleted_job_stays_deleted(process: ServerProcess) -> None:
    client = await process.start()
    await client.submit(write_track(process.music / "a.wav", 4.0), job_id="job")
    await segments(client, "job", 1)
    await client.delete("job")
    process.kill()
    await client.close()
    client = await process.start()
    assert not (await client.list()).jobs
    assert {path.name for path in process.jobs_dir.iterdir()} == {".mismo"}
    await client.close()
