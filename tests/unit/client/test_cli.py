"""The command does what its help says, and says what went wrong in one line."""

from __future__ import annotations

import json
import signal
import struct
from pathlib import Path

import grpc
import pytest
import soundfile

from mismo.analysis.v1 import job_pb2, job_service_pb2, stage_pb2
from mismo_client import wav_header
from mismo_client.transfer.stem_format import StemFormat
from tests.unit.client.command import finish, mismo, start
from tests.unit.client.peer import Peer
from tests.unit.client.peer_status import rich_error
from tests.unit.client.peer_stream import FRAME_BYTES, SAMPLE_RATE, StreamFault
from tests.unit.client.peer_transfer import JOB_ID, STEM_NAMES


@pytest.fixture
def track(tmp_path: Path) -> Path:
    path = tmp_path / "song.flac"
    path.write_bytes(b"the peer does not look at it")
    return path


def header(peer: Peer, frames: int | None = None) -> bytes:
    form = StemFormat.of(peer.info(STEM_NAMES))
    return wav_header(form, peer.total_frames if frames is None else frames)


def assert_whole(peer: Peer, folder: Path) -> None:
    for name, samples in peer.stems.items():
        assert (folder / f"{name}.wav").read_bytes() == header(peer) + samples, name
    assert len(list(folder.iterdir())) == len(peer.stems), "nothing else is left"


async def test_separating_writes_the_very_stems(peer: Peer, track: Path, tmp_path: Path) -> None:
    done = await mismo(peer.target, "separate", track, "-o", "out", "--two-stems", "vocals", cwd=tmp_path)
    assert done.code == 0, done.err
    assert_whole(peer, tmp_path / "out" / "song")
    assert done.text.splitlines() == [f"out/song/{name}.wav" for name in STEM_NAMES]
    assert "first audio after" in done.err
    assert "job job-1, model peer_model" in done.err
    sent = peer.submits[0]
    assert (sent.source.path, sent.options.stems.two_stems) == (str(track), "vocals")
    opened = peer.streams[0].opened
    assert (opened.job_id, opened.expected_run_id, opened.follow) == ("job-1", "run-1", True)
    assert opened.start_time.ToMilliseconds() == 0
    assert list(sent.options.stages) == [stage_pb2.STAGE_STEMS]
    assert peer.cancelled == []


async def test_with_a_playhead_the_stream_begins_there_and_the_files_are_whole(
    peer: Peer, track: Path, tmp_path: Path
) -> None:
    options = [
        "--playhead",
        "0:00.25",
        "--priority",
        "high",
        "--model",
        "peer_model",
        "--stems",
        "drums, bass",
    ]
    done = await mismo(peer.target, "separate", track, "-o", "out", *options, cwd=tmp_path)
    assert done.code == 0, done.err
    assert_whole(peer, tmp_path / "out" / "song")
    sent = peer.submits[0]
    assert sent.options.stems.playhead.ToMilliseconds() == 250
    assert (sent.priority, list(sent.options.stems.stem_names)) == (job_pb2.PRIORITY_HIGH, ["drums", "bass"])
    stream = peer.streams[0]
    assert stream.opened.start_time.ToMilliseconds() == 250, "the sample rate is not known yet"
    assert [(seek.generation, seek.start_frame) for seek in stream.seeks] == [(1, 0)], (
        "then the front is fetched"
    )


async def test_breaks_and_restarts_on_the_way_do_not_show_in_the_files(
    peer: Peer, track: Path, tmp_path: Path
) -> None:
    peer.stream_faults.extend(
        [StreamFault(break_after=1), StreamFault(restart_after=1), StreamFault(corrupt=0)]
    )
    done = await mismo(peer.target, "separate", track, "--playhead", "0.2", cwd=tmp_path)
    assert done.code == 0, done.err
    assert_whole(peer, tmp_path / "song")
    lines = done.err.splitlines()
    assert [line.split()[0] for line in lines] == ["job", "first", "done"], "and nothing else is said"


async def test_flac_is_written_whole(peer: Peer, track: Path, tmp_path: Path) -> None:
    done = await mismo(
        peer.target, "separate", track, "-o", tmp_path / "out", "--format", "flac", cwd=tmp_path
    )
    assert done.code == 0, done.err
    for name, samples in peer.stems.items():
        content, rate = soundfile.read(tmp_path / "out" / "song" / f"{name}.flac", dtype="int16")
        assert (content.tobytes(), rate) == (samples, SAMPLE_RATE)
    assert len(list((tmp_path / "out" / "song").iterdir())) == len(STEM_NAMES)


@pytest.mark.parametrize("reason", ["SOURCE_PATH_FORBIDDEN", "SOURCE_NOT_FOUND"])
async def test_a_path_that_the_server_does_not_read_is_uploaded_with_a_word(
    peer: Peer, track: Path, tmp_path: Path, reason: str
) -> None:
    peer.submit_errors.append(rich_error(grpc.StatusCode.PERMISSION_DENIED, reason, "no"))
    done = await mismo(peer.target, "separate", track, "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "uploading it" in done.err
    assert peer.submits[1].source.upload_id == "upload-1"
    assert bytes(peer.uploads["upload-1"]) == track.read_bytes()
    assert_whole(peer, tmp_path / "out" / "song")


async def test_an_upload_is_made_at_once_when_asked_for(peer: Peer, track: Path, tmp_path: Path) -> None:
    done = await mismo(peer.target, "separate", track, "--upload", cwd=tmp_path)
    assert done.code == 0, done.err
    assert [submit.source.upload_id for submit in peer.submits] == ["upload-1"]


@pytest.mark.parametrize("goodbye", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_cancels_the_job_and_leaves_nothing(
    peer: Peer, track: Path, tmp_path: Path, goodbye: signal.Signals
) -> None:
    peer.ready_frames = 10_000
    process = await start(peer.target, "separate", track, "-o", "out", cwd=tmp_path)
    await peer.held_up.wait()
    process.send_signal(goodbye)
    await peer.cancels.wait()
    done = await finish(process)
    assert done.code == 130
    assert "cancelled job job-1" in done.err
    assert peer.cancelled == ["job-1"]
    assert not (tmp_path / "out" / "song").exists()


async def test_the_failure_of_the_job_is_told_not_that_of_the_stream(
    peer: Peer, track: Path, tmp_path: Path
) -> None:
    failed = peer.job("job-1", job_pb2.JOB_STATE_FAILED)
    failed.error.CopyFrom(
        stage_pb2.JobError(code=3, reason="PLAYHEAD_BEYOND_END", message="99 s is past the end")
    )

    async def script(request, context):
        yield peer.event(9, terminal=job_service_pb2.Terminal(job=failed))

    peer.watch_script.append(script)
    status = rich_error(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "open.start_frame must be less")
    peer.stream_faults.append(StreamFault(status=status))
    done = await mismo(peer.target, "separate", track, "--playhead", "99", cwd=tmp_path)
    assert done.code == 1
    assert done.err.splitlines()[-1] == "error: 99 s is past the end (PLAYHEAD_BEYOND_END)"
    assert not (tmp_path / "song").exists()


async def test_a_folder_that_cannot_be_written_cancels_the_job_and_is_named(
    peer: Peer, track: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file is in the way")
    done = await mismo(peer.target, "separate", track, "-o", "out", cwd=tmp_path)
    assert done.code == 1
    assert "out" in done.err.splitlines()[-1]
    assert peer.cancelled == ["job-1"]


WRONG_USAGE = {
    "no such file": (["separate", "nothing.wav"], "nothing.wav"),
    "a folder": (["separate", "."], "is a folder"),
    "no time": (["separate", "song.flac", "--playhead", "1:99"], "less than 60"),
    "a time before the track": (["update", "a", "--playhead=-5"], "Invalid value for --playhead: '-5' is no"),
    "no start": (["read", "a", "bass", "--start", "soon"], "Invalid value for --start: 'soon' is no time"),
    "both choices of stems": (["separate", "song.flac", "--stems", "bass", "--two-stems", "bass"], "exclude"),
    "a format nobody knows": (["separate", "song.flac", "--format", "aac"], "aac"),
    "too many shifts": (["separate", "song.flac", "--shifts", "21"], "20"),
    "no port": (["info", "--server", "somewhere"], "HOST:PORT"),
    "neither a job nor many": (["watch"], "--all"),
    "a job and many": (["watch", "a", "--all"], "--all"),
    "a cursor of one job": (["watch", "a", "--cursor", "c"], "--cursor goes with"),
    "no label": (["watch", "--label", "deck"], "for --label: 'deck' is no KEY=VALUE"),
    "a label twice": (["jobs", "--label", "deck=A", "--label", "deck=B"], "twice"),
    "no stage": (
        ["submit", "song.flac", "--stage", "loud"],
        "for --stage: 'loud' is no stage; the stages are",
    ),
    "nothing to change": (["update", "a"], "--clear-playhead"),
    "a playhead and none": (["update", "a", "--playhead", "1", "--clear-playhead"], "exclude"),
    "no command of ours": (["play"], "play"),
}


@pytest.mark.parametrize(("arguments", "hint"), WRONG_USAGE.values(), ids=WRONG_USAGE)
async def test_wrong_usage_is_told_with_exit_code_2(
    peer: Peer, track: Path, tmp_path: Path, arguments: list[str], hint: str
) -> None:
    done = await mismo(peer.target, *arguments, cwd=tmp_path)
    assert done.code == 2
    assert done.err.startswith("Usage: mismo ")
    assert hint in done.err
    assert peer.submits == []


async def test_a_server_that_is_not_there_is_told_in_one_line_with_what_to_do(tmp_path: Path) -> None:
    done = await mismo("127.0.0.1:1", "info", cwd=tmp_path)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("error: no server answers at 127.0.0.1:1; start one")
    assert "MISMO_SERVER" in line


async def test_an_error_of_the_server_is_one_line_with_its_reason(peer: Peer, tmp_path: Path) -> None:
    done = await mismo(peer.target, "jobs", "nothing", cwd=tmp_path)
    assert done.code == 1
    assert done.err.splitlines() == [
        "error: job_id: there is no such job (JOB_NOT_FOUND); `mismo jobs` lists the jobs"
    ]


async def test_answers_are_json_for_programs(peer: Peer, tmp_path: Path) -> None:
    peer.jobs = [peer.job("job-1"), peer.job("job-2", job_pb2.JOB_STATE_FAILED), peer.job("job-3")]
    info = json.loads((await mismo(peer.target, "info", "--json", cwd=tmp_path)).out)
    assert (info["version"], info["devices"][0]["name"], info["draining"]) == ("1.2.3", "cpu", False)
    models = json.loads((await mismo(peer.target, "models", "--json", cwd=tmp_path)).out)
    assert [model["name"] for model in models] == ["peer_model", "far_model"]
    jobs = json.loads((await mismo(peer.target, "jobs", "--json", "--limit", "2", cwd=tmp_path)).out)
    assert [job["job_id"] for job in jobs] == ["job-1", "job-2"]
    failed = json.loads((await mismo(peer.target, "jobs", "--json", "--state", "failed", cwd=tmp_path)).out)
    assert [(job["job_id"], job["state"]) for job in failed] == [("job-2", "JOB_STATE_FAILED")]
    one = json.loads((await mismo(peer.target, "jobs", "job-3", "--json", cwd=tmp_path)).out)
    assert one["stem_set"]["sample_rate"] == SAMPLE_RATE
    events = (await mismo(peer.target, "watch", "job-1", "--json", cwd=tmp_path)).text.splitlines()
    assert [list(json.loads(event))[-1] for event in events] == ["snapshot", "terminal"]


async def test_answers_are_readable_for_people(peer: Peer, tmp_path: Path) -> None:
    job = peer.job("a-job-with-a-rather-long-name-that-must-stay-whole-to-be-copied")
    job.source.path = "/music/somewhere/deep/song.flac"
    peer.jobs = [job]
    listed = (await mismo(peer.target, "jobs", cwd=tmp_path)).text
    assert job.job_id in listed
    assert "song.flac" in listed
    shown = (await mismo(peer.target, "jobs", job.job_id, cwd=tmp_path)).text
    assert "drums, bass, other, vocals" in shown
    assert "stage     stems succeeded" in shown
    assert "files     stems.zip" in shown
    assert "0:01, 30000 frames at 44100 Hz" in shown
    models = (await mismo(peer.target, "models", cwd=tmp_path)).text
    assert "5.2× realtime" in models
    assert "no weights" in (await mismo(peer.target, "models", "far_model", cwd=tmp_path)).text
    assert (await mismo(peer.target, "models", "nothing", cwd=tmp_path)).code == 1
    assert "version   1.2.3" in (await mismo(peer.target, "info", cwd=tmp_path)).text


async def test_watching_ends_with_the_fate_of_the_job(peer: Peer, tmp_path: Path) -> None:
    done = await mismo(peer.target, "watch", JOB_ID, cwd=tmp_path)
    assert (done.code, done.text.splitlines()[-1].split()[-1]) == (0, "succeeded")

    async def script(request, context):
        yield peer.event(
            9, terminal=job_service_pb2.Terminal(job=peer.job(state=job_pb2.JOB_STATE_CANCELLED))
        )

    peer.watch_script.append(script)
    assert (await mismo(peer.target, "watch", JOB_ID, cwd=tmp_path)).code == 1


async def test_jobs_are_cancelled_by_their_ids(peer: Peer, tmp_path: Path) -> None:
    done = await mismo(peer.target, "cancel", "a", "b", cwd=tmp_path)
    assert (done.code, done.text.splitlines()) == (0, ["a cancelled", "b cancelled"])
    assert peer.cancelled == ["a", "b"]


async def test_a_stem_is_read_into_a_file_or_a_pipe(peer: Peer, tmp_path: Path) -> None:
    done = await mismo(peer.target, "read", JOB_ID, "bass", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "bass.wav").read_bytes() == header(peer) + peer.stems["bass"]
    piped = await mismo(peer.target, "read", JOB_ID, "bass", "-o", "-", cwd=tmp_path)
    assert piped.out == header(peer) + peer.stems["bass"]
    raw = await mismo(peer.target, "read", JOB_ID, "bass", "--format", "raw", "-o", "-", cwd=tmp_path)
    assert raw.out == peer.stems["bass"]


async def test_a_part_of_a_stem_has_the_header_of_that_part(peer: Peer, tmp_path: Path) -> None:
    part = ["--start", "0.1", "--duration", "0:00.2", "-o", "-"]
    done = await mismo(peer.target, "read", JOB_ID, "vocals", *part, cwd=tmp_path)
    frames, start = SAMPLE_RATE // 5, SAMPLE_RATE // 10
    samples = peer.stems["vocals"][start * FRAME_BYTES : (start + frames) * FRAME_BYTES]
    assert done.out == header(peer, frames) + samples
    assert struct.unpack("<I", done.out[40:44]) == (frames * FRAME_BYTES,)
    (asked,) = peer.reads
    assert (asked.start_time.ToMilliseconds(), asked.time_limit.ToMilliseconds()) == (100, 200)


async def test_a_stem_that_cannot_be_read_leaves_no_file(peer: Peer, tmp_path: Path) -> None:
    peer.ready_frames = 0
    done = await mismo(peer.target, "read", JOB_ID, "bass", cwd=tmp_path)
    assert done.code == 1
    assert "JOB_NOT_READY" in done.err
    assert list(tmp_path.iterdir()) == []


COMMANDS = [
    *(
        "separate",
        "analyze",
        "compare",
        "submit",
        "jobs",
        "watch",
        "update",
        "replay",
        "cancel",
        "delete",
        "read",
        "waveform",
    ),
    *("info", "models", "stages"),
]


@pytest.mark.parametrize("command", COMMANDS)
async def test_help_teaches_with_an_example(tmp_path: Path, command: str) -> None:
    done = await mismo("127.0.0.1:1", command, "--help", cwd=tmp_path)
    assert done.code == 0
    assert f"mismo {command}" in done.text
    assert "Example" in done.text
    assert "MISMO_SERVER" in done.text
