"""The commands about many jobs, stages and waveforms."""

from __future__ import annotations

import asyncio
import json
import signal
import struct
from pathlib import Path

import grpc
import pytest

from mismo.analysis.v1 import job_pb2, job_service_pb2, stage_pb2
from tests.unit.client.command import finish, mismo, start
from tests.unit.client.peer import Peer
from tests.unit.client.peer_status import fail, rich_error
from tests.unit.client.peer_transfer import JOB_ID, PIXELS


@pytest.fixture
def track(tmp_path: Path) -> Path:
    path = tmp_path / "song.flac"
    path.write_bytes(b"the peer does not look at it")
    return path


async def test_many_jobs_are_watched_until_interrupted(peer: Peer, tmp_path: Path) -> None:
    async def script(request, context):
        yield response(cursor="c1", job=peer.job("a"))
        yield response(cursor="c2", deleted=job_service_pb2.JobDeleted(job_id="b"))
        yield response(cursor="c3", caught_up=job_service_pb2.CaughtUp())
        moved = job_service_pb2.JobProgress(job_id="c", progress=job_pb2.Progress(queue_position=2))
        yield response(cursor="c4", progress=moved)
        await asyncio.Event().wait()

    response = job_service_pb2.WatchJobsResponse
    peer.jobs_script.append(script)
    asked = ["--label", "deck=A", "--state", "running", "--cursor", "c0"]
    process = await start(peer.target, "watch", *asked, cwd=tmp_path)
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(4)]
    process.send_signal(signal.SIGINT)
    assert (await finish(process)).code == 130
    assert [line.split()[1] for line in lines] == ["a", "b", "all", "c"]
    assert "number 2 in the queue" in lines[3]
    (request,) = peer.jobs_watches
    assert (dict(request.labels), list(request.states)) == ({"deck": "A"}, [job_pb2.JOB_STATE_RUNNING])
    assert request.cursor == "c0"


async def test_an_expired_cursor_is_told_and_all_jobs_follow(peer: Peer, tmp_path: Path) -> None:
    async def expired(request, context):
        await fail(context, rich_error(grpc.StatusCode.OUT_OF_RANGE, "CURSOR_EXPIRED", "too old"))
        yield

    peer.jobs = [peer.job("a")]
    peer.jobs_script.append(expired)
    process = await start(peer.target, "watch", "--all", "--cursor", "old", "--json", cwd=tmp_path)
    assert process.stdout is not None
    event = json.loads(await process.stdout.readline())
    assert (event["cursor"], event["job"]["job_id"]) == ("cursor-0", "a")
    process.send_signal(signal.SIGINT)
    assert "all jobs follow anew" in (await finish(process)).err


def with_loudness(job: job_pb2.Job) -> job_pb2.Job:
    result = stage_pb2.LoudnessResult(integrated_lufs=-9.31, loudness_range_lu=4.2, true_peak_dbtp=0.55)
    succeeded = stage_pb2.STAGE_STATE_SUCCEEDED
    job.stages.add(stage=stage_pb2.STAGE_LOUDNESS, state=succeeded, attempts=1, loudness=result)
    error = stage_pb2.JobError(reason="STAGE_FAILED", message="decode failed")
    job.stages.add(stage=stage_pb2.STAGE_GENRE, state=stage_pb2.STAGE_STATE_SKIPPED, error=error)
    return job


LOUDNESS_LINE = "loudness succeeded: -9.3 LUFS, range 4.2 LU, true peak 0.6 dBTP"


async def test_a_submit_prints_the_id_and_goes(peer: Peer, track: Path, tmp_path: Path) -> None:
    options = ["--stage", "stems,waveforms", "--stage", "loudness", "--label", "deck=A", "--job-id", "mine"]
    done = await mismo(peer.target, "submit", track, *options, "--playhead", "1:30", cwd=tmp_path)
    assert (done.code, done.text) == (0, "mine\n"), done.err
    (sent,) = peer.submits
    assert list(sent.options.stages) == [
        stage_pb2.STAGE_STEMS,
        stage_pb2.STAGE_WAVEFORMS,
        stage_pb2.STAGE_LOUDNESS,
    ]
    assert (dict(sent.labels), sent.options.stems.playhead.seconds) == ({"deck": "A"}, 90)
    assert peer.watches == []


async def test_a_submit_waits_on_demand_and_shows_every_stage(
    peer: Peer, track: Path, tmp_path: Path
) -> None:
    async def script(request, context):
        job = with_loudness(peer.job(request.job_id))
        yield peer.event(8, stage=job.stages[2])
        yield peer.event(9, terminal=job_service_pb2.Terminal(job=job))

    peer.watch_script.extend([script, script, script])
    done = await mismo(peer.target, "submit", track, "--stage", "loudness", "--wait", cwd=tmp_path)
    assert (done.code, done.text) == (0, "job-1\n"), done.err
    assert f"stage     {LOUDNESS_LINE}" in done.err
    assert "stage     genre skipped: decode failed (STAGE_FAILED)" in done.err
    found = await mismo(peer.target, "submit", track, "--wait", "--json", cwd=tmp_path)
    assert json.loads(found.out)["stages"][2]["loudness"]["integrated_lufs"] == -9.31
    watched = await mismo(peer.target, "watch", "job-1", cwd=tmp_path)
    assert LOUDNESS_LINE in watched.text

    async def failing(request, context):
        failed = peer.job(request.job_id, job_pb2.JOB_STATE_FAILED)
        yield peer.event(9, terminal=job_service_pb2.Terminal(job=failed))

    peer.watch_script.append(failing)
    assert (await mismo(peer.target, "submit", track, "--wait", cwd=tmp_path)).code == 1


async def test_a_separation_tells_the_loudness_on_demand(peer: Peer, track: Path, tmp_path: Path) -> None:
    async def script(request, context):
        job = with_loudness(peer.job(request.job_id))
        yield peer.event(9, terminal=job_service_pb2.Terminal(job=job))

    peer.watch_script.append(script)
    done = await mismo(peer.target, "separate", track, "--loudness", cwd=tmp_path)
    assert done.code == 0, done.err
    assert LOUDNESS_LINE in done.err.splitlines()
    assert list(peer.submits[0].options.stages) == [stage_pb2.STAGE_STEMS, stage_pb2.STAGE_LOUDNESS]


async def test_a_job_id_in_use_is_told_with_what_to_do(peer: Peer, track: Path, tmp_path: Path) -> None:
    status = rich_error(grpc.StatusCode.ALREADY_EXISTS, "JOB_ID_ACTIVE", "mine is active with another source")
    peer.submit_errors.append(status)
    done = await mismo(peer.target, "submit", track, "--job-id", "mine", cwd=tmp_path)
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(
        "error: mine is active with another source (JOB_ID_ACTIVE); wait"
    )


async def test_stages_are_listed_with_why_not(peer: Peer, tmp_path: Path) -> None:
    listed = (await mismo(peer.target, "stages", cwd=tmp_path)).text
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [
        ["stems", "yes"],
        ["loudness", "yes"],
        ["genre", "no"],
    ]
    assert "install the extra analysis" in listed
    found = json.loads((await mismo(peer.target, "stages", "--json", cwd=tmp_path)).out)
    assert (found[0]["stage"], found[0]["available"]) == ("STAGE_STEMS", True)


async def test_a_waveform_is_drawn_or_given_as_numbers(peer: Peer, tmp_path: Path) -> None:
    peer.jobs = [peer.job()]
    drawn = await mismo(peer.target, "waveform", JOB_ID, "--stems", "bass,vocals", cwd=tmp_path)
    assert drawn.code == 0, drawn.err
    bass, vocals = drawn.text.splitlines()
    assert (bass[:8], vocals[:8]) == ("bass    ", "vocals  ")
    assert len(bass) == 8 + PIXELS
    found = json.loads(
        (await mismo(peer.target, "waveform", JOB_ID, "--json", cwd=tmp_path)).out.splitlines()[0]
    )
    assert found["stem_name"] == "drums"
    assert found["pixels"] == [list(pair) for pair in struct.iter_unpack("<hh", peer.peaks["drums"])]
    # 30,000 frames in at most 72 columns: two times 256 frames each.
    assert [request.frames_per_pixel for request in peer.waveform_reads] == [512, 512]
    assert [request.expected_run_id for request in peer.waveform_reads] == ["run-1", "run-1"]
    peer.jobs[0].ClearField("stem_set")
    early = await mismo(peer.target, "waveform", JOB_ID, cwd=tmp_path)
    assert (early.code, "no stems yet" in early.err) == (1, True)


async def test_jobs_are_changed_and_deleted_by_their_ids(peer: Peer, tmp_path: Path) -> None:
    peer.jobs = [peer.job("a"), peer.job("b")]
    done = await mismo(peer.target, "update", "a", "--priority", "high", "--playhead", "0:02", cwd=tmp_path)
    assert (done.code, done.text) == (0, "a running\n"), done.err
    assert (await mismo(peer.target, "update", "a", "--clear-playhead", cwd=tmp_path)).code == 0
    assert [list(update.update_mask.paths) for update in peer.updates] == [
        ["priority", "playhead"],
        ["playhead"],
    ]
    assert not peer.updates[1].HasField("playhead")
    done = await mismo(peer.target, "delete", "a", "c", cwd=tmp_path)
    assert (done.code, done.text) == (1, "a deleted\n")
    assert "JOB_NOT_FOUND" in done.err
    done = await mismo(peer.target, "delete", "b", "c", "--allow-missing", cwd=tmp_path)
    assert (done.code, done.text) == (0, "b deleted\nc was not there\n")


def dead_letter(peer: Peer, job_id: str) -> job_pb2.Job:
    job = peer.job(job_id, job_pb2.JOB_STATE_FAILED)
    job.source.path = "/music/song.flac"
    job.dead_letter = True
    job.error.CopyFrom(stage_pb2.JobError(reason="BLOB_STORE_UNAVAILABLE", message="it is away"))
    return job


async def test_dead_letters_are_listed_with_their_cause_and_replayed(peer: Peer, tmp_path: Path) -> None:
    peer.jobs = [peer.job("fine"), dead_letter(peer, "dead")]
    listed = await mismo(peer.target, "jobs", "--dead-letters", cwd=tmp_path)
    assert listed.code == 0
    assert "dead" in listed.text
    assert "it is away" in " ".join(listed.text.split())
    assert "fine" not in listed.text
    shown = await mismo(peer.target, "jobs", "dead", cwd=tmp_path)
    assert "mismo replay dead" in shown.text
    replayed = await mismo(peer.target, "replay", "dead", cwd=tmp_path)
    assert (replayed.code, replayed.text) == (0, "dead\n"), replayed.err
    nothing = await mismo(peer.target, "jobs", "--dead-letters", cwd=tmp_path)
    assert (nothing.code, nothing.text) == (0, "")
    assert "no dead letters" in nothing.err


async def test_a_stage_that_waits_for_another_attempt_says_until_when(peer: Peer, tmp_path: Path) -> None:
    job = peer.job("job", job_pb2.JOB_STATE_RUNNING)
    status = job.stages.add(stage=stage_pb2.STAGE_LOUDNESS, state=stage_pb2.STAGE_STATE_PENDING, attempts=2)
    status.error.CopyFrom(stage_pb2.JobError(reason="BLOB_STORE_UNAVAILABLE", message="it is away"))
    status.next_attempt_time.FromJsonString("2026-01-01T10:20:30Z")
    peer.jobs = [job]
    shown = await mismo(peer.target, "jobs", "job", cwd=tmp_path)
    line = next(line for line in shown.text.splitlines() if "loudness" in line)
    assert "pending in 2 attempts" in line
    assert "it is away" in line
    assert "; tried again at " in line
    assert line.endswith(":30")
