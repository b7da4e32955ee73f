"""The commands analyze and compare, and analyses beside the stems."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mismo.analysis.v1 import job_pb2, job_service_pb2, results_pb2, stage_pb2
from mismo_client.command.analysis.results_table import result_rows
from tests.unit.client.analysed import ANALYSES, analysed
from tests.unit.client.command import finish, mismo, start
from tests.unit.client.peer import Peer


@pytest.fixture
def track(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    time = np.arange(3 * 8000) / 8000
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 110 * time), 8000)
    return path


@pytest.fixture
def analyst(peer: Peer) -> Peer:
    """A peer that offers all analyses but genre, and whose jobs end with results."""
    peer.offered = [stage_pb2.STAGE_STEMS, *ANALYSES]

    def ending(job_id: str) -> job_pb2.Job:
        return with_annotation(analysed(peer.job(job_id)), peer)

    async def script(request, context):
        running = peer.job(request.job_id, job_pb2.JOB_STATE_RUNNING)
        running.ClearField("stages")
        yield peer.event(1, snapshot=running)
        for stage in ending(request.job_id).stages:
            yield peer.event(2, stage=stage)
        yield peer.event(9, terminal=job_service_pb2.Terminal(job=ending(request.job_id)))

    peer.watch_script.extend([script, script])
    return peer


def with_annotation(job: job_pb2.Job, peer: Peer) -> job_pb2.Job:
    job.artifacts.append(job_pb2.Artifact(name="annotation.jams", total_bytes=len(peer.artifact)))
    return job


async def test_a_track_is_analysed_with_all_that_is_offered(
    analyst: Peer, track: Path, tmp_path: Path
) -> None:
    done = await mismo(analyst.target, "analyze", track, cwd=tmp_path)
    assert done.code == 0, done.err
    (sent,) = analyst.submits
    assert list(sent.options.stages) == ANALYSES
    assert sent.source.path == str(track)
    assert not sent.options.HasField("stems")
    notes = done.err.splitlines()
    assert "without genre: essentia is missing; install the extra analysis" in notes
    assert [line for line in notes if line.startswith("sections after")] == ["sections after 0.0 s"]
    rows = [" ".join(line.split()) for line in done.text.splitlines()]
    for row in (
        "length 1:36",
        "tempo 120.0 BPM confidence 0.90, stability 0.95, 192 beats by pulse",
        "metre 4/4 confidence 0.70, 48 bars",
        "key F# minor (11A) confidence 0.80",
        "tuning A4 = 441.5 Hz",
        "danceability █████████░░░ 0.75",
        "mood [happy] ███████░░░░░ 0.60",
        "sections 0:00 - 0:32 A intro energy ██████░░░░░░",
        "0:32 - 1:04 B drop energy ██████░░░░░░",
        "chords F#m 67%, Dmaj7 33% found on the mix",
        "mix in 0:00 4 bars score 0.90, energy 0.30",
        "mix out 1:28 4 bars score 0.80, energy 0.40",
        "phrases 8 bars 6 of them",
        "genre no result put the model into a folder (MODEL_UNAVAILABLE)",
    ):
        assert row in rows


async def test_chosen_analyses_are_asked_for_with_stems_before_them(
    analyst: Peer, track: Path, tmp_path: Path
) -> None:
    chosen = ["--stage", "sections,genre", "--stems", "--upload"]
    done = await mismo(analyst.target, "analyze", track, *chosen, cwd=tmp_path)
    assert done.code == 0, done.err
    (sent,) = analyst.submits
    stages = [stage_pb2.STAGE_STEMS, stage_pb2.STAGE_SECTIONS, stage_pb2.STAGE_GENRE]
    assert list(sent.options.stages) == stages
    assert sent.source.upload_id == "upload-1"


async def test_a_server_without_analyses_says_so(peer: Peer, track: Path, tmp_path: Path) -> None:
    done = await mismo(peer.target, "analyze", track, cwd=tmp_path)
    assert done.code == 1
    assert done.err.splitlines() == ["error: the server offers no analysis; `mismo stages` tells why"]
    assert peer.submits == []


async def test_results_go_into_files_that_are_whole(analyst: Peer, track: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "song.jams").write_text("an older one")
    options = ["--plot", "song.png", "--jams", "song.jams", "--json", "song.json"]
    done = await mismo(analyst.target, "analyze", track, *options, cwd=folder)
    assert done.code == 0, done.err
    assert "wrote song.png" in done.err
    assert {path.name for path in folder.iterdir()} == {"song.png", "song.jams", "song.json"}
    picture = (folder / "song.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (2400, 900)
    assert (folder / "song.jams").read_bytes() == analyst.artifact
    job = json.loads((folder / "song.json").read_text())
    (found,) = [stage["basic_features"] for stage in job["stages"] if "basic_features" in stage]
    assert found["tempo"] == 120


async def test_json_on_standard_output_replaces_the_table(analyst: Peer, track: Path, tmp_path: Path) -> None:
    done = await mismo(analyst.target, "analyze", track, "--json", "-", cwd=tmp_path)
    (line,) = done.text.splitlines()
    assert json.loads(line)["state"] == "JOB_STATE_SUCCEEDED"


async def test_an_annotation_that_is_not_there_is_an_error_behind_the_table(
    peer: Peer, track: Path, tmp_path: Path
) -> None:
    done = await mismo(peer.target, "analyze", track, "--stage", "sections", "--jams", "a.jams", cwd=tmp_path)
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: there is no annotation.jams: ")
    assert not (tmp_path / "a.jams").exists()


async def test_a_file_that_fails_keeps_no_other_from_being_written(analyst: Peer, tmp_path: Path) -> None:
    unreadable = tmp_path / "song.flac"
    unreadable.write_bytes(b"the peer does not look at it")
    options = ["--plot", "song.png", "--jams", "song.jams"]
    done = await mismo(analyst.target, "analyze", unreadable, *options, cwd=tmp_path)
    assert done.code == 1
    assert "song.flac cannot be decoded here" in done.err.splitlines()[-1]
    assert {path.name for path in tmp_path.iterdir()} == {"song.flac", "song.jams"}


async def test_a_closed_pipe_keeps_no_file_from_being_written(
    analyst: Peer, track: Path, tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    options = ["--json", "-", "--jams", "song.jams"]
    process = await start(analyst.target, "analyze", track, *options, cwd=tmp_path, stdout=writer)
    os.close(writer)
    done = await finish(process)
    assert done.code == 1
    assert (tmp_path / "song.jams").read_bytes() == analyst.artifact


async def test_a_picture_without_its_library_is_refused_before_the_work(
    analyst: Peer, track: Path, tmp_path: Path
) -> None:
    # The working directory is the first place that Python looks for modules.
    (tmp_path / "matplotlib.py").write_text("raise ImportError('missing')")
    done = await mismo(analyst.target, "analyze", track, "--plot", "song.png", cwd=tmp_path)
    assert done.code == 1
    assert "pip install 'mismo-grpc[plot]'" in done.err
    assert analyst.submits == []


async def test_a_missing_folder_is_wrong_usage(analyst: Peer, track: Path, tmp_path: Path) -> None:
    done = await mismo(analyst.target, "analyze", track, "--jams", "nowhere/song.jams", cwd=tmp_path)
    assert done.code == 2
    assert "there is no folder nowhere" in done.err
    assert analyst.submits == []


async def test_an_interrupt_cancels_the_analysis(peer: Peer, track: Path, tmp_path: Path) -> None:
    watched = asyncio.Event()

    async def script(request, context):
        watched.set()
        yield peer.event(1, snapshot=peer.job(request.job_id, job_pb2.JOB_STATE_RUNNING))
        await asyncio.Event().wait()

    peer.watch_script.append(script)
    process = await start(peer.target, "analyze", track, "--stage", "chords", cwd=tmp_path)
    await watched.wait()
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert (done.code, done.text) == (130, "")
    assert peer.cancelled == ["job-1"]


COMPARISON = results_pb2.TrackComparison(
    tempo_ratio=1.025,
    incoming_speed=1 / 1.025,
    key_relation=results_pb2.KEY_RELATION_RELATIVE,
    camelot_distance=1,
    key_shift=-1,
    loudness_difference_lu=1.5,
    cue_pairs=[results_pb2.CuePair(mix_out=88, mix_in=16, bars=8, score=0.75)],
    score=0.5,
    tempo_score=0.9,
    key_score=1,
)


async def test_jobs_are_compared_in_words(peer: Peer, tmp_path: Path) -> None:
    first, second = analysed(peer.job("first")), analysed(peer.job("second"))
    first.source.path, second.source.path = "/music/one.flac", "/music/two.flac"
    found = second.stages[1].basic_features
    found.tempo = 123
    found.key.CopyFrom(
        results_pb2.Key(tonic=9, mode=results_pb2.KEY_MODE_MAJOR, name="A major", camelot="11B")
    )
    peer.jobs, peer.comparison = [first, second], COMPARISON
    done = await mismo(peer.target, "compare", "first", "second", "--cues", "3", cwd=tmp_path)
    assert done.code == 0, done.err
    (asked,) = peer.compares
    assert (asked.outgoing_job_id, asked.incoming_job_id, asked.max_cue_pairs) == ("first", "second", 3)
    assert [" ".join(line.split()) for line in done.text.splitlines()] == [
        "tracks one.flac -> two.flac",
        "tempo 120.0 BPM -> 123.0 BPM ratio 1.025, play the incoming track at −2.4 %",
        "key F# minor (11A) -> A major (11B) relative keys, the same notes, 1 step on the Camelot wheel",
        "key shift −1 semitone of the incoming track, to fit",
        "loudness +1.5 LU the incoming track is louder",
        "cue points out 1:28 -> in 0:16 8 bars score 0.75",
        "score ██████░░░░░░ 0.50",
        "tempo ███████████░ 0.90",
        "key ████████████ 1.00",
        "energy ░░░░░░░░░░░░ 0.00",
        "cue points ░░░░░░░░░░░░ 0.00",
    ]


async def test_files_are_analysed_before_they_are_compared(
    analyst: Peer, track: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(track.read_bytes())
    analyst.comparison = COMPARISON
    done = await mismo(analyst.target, "compare", track, other, "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    assert json.loads(done.out)["key_relation"] == "KEY_RELATION_RELATIVE"
    jobs = {submit.source.path: f"job-{number}" for number, submit in enumerate(analyst.submits, 1)}
    assert all(stage_pb2.STAGE_TRANSITION in submit.options.stages for submit in analyst.submits)
    (asked,) = analyst.compares
    assert (asked.outgoing_job_id, asked.incoming_job_id) == (jobs[str(track)], jobs[str(other)])


async def test_a_job_that_still_runs_is_waited_for(analyst: Peer, tmp_path: Path) -> None:
    analyst.jobs = [
        analyst.job("first", job_pb2.JOB_STATE_RUNNING),
        analysed(analyst.job("second")),
    ]
    done = await mismo(analyst.target, "compare", "first", "second", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "waiting for job first" in done.err
    assert len(analyst.compares) == 1


async def test_results_are_printed_by_the_other_commands(analyst: Peer, track: Path, tmp_path: Path) -> None:
    done = await mismo(analyst.target, "submit", track, "--stage", "basic_features", "--wait", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (
        "stage     basic_features succeeded: 120.0 BPM, F# minor (11A), 4/4, -9.2 LUFS"
        in done.err.splitlines()
    )


def test_a_moving_tempo_and_missing_values_have_rows() -> None:
    job = analysed(job_pb2.Job())
    found = job.stages[1].basic_features
    for place in range(41):
        found.tempo_curve.add(time=2 * place, tempo=120 + place / 2)
    rows = result_rows(job)
    assert ("", "moves", "0:00 120.0, 0:16 124.0, 0:32 128.0, 0:48 132.0, 1:04 136.0, 1:20 140.0") in rows
    found.CopyFrom(results_pb2.BasicFeaturesResult(duration=3))
    rows = result_rows(job)
    assert ("tempo", "no beat found", "") in rows
    assert ("key", "no pitched sound", "") in rows
    assert ("loudness", "nothing to measure", "") in rows
    assert not {"metre", "tuning", "dynamics"} & {name for name, _, _ in rows}


async def test_a_job_without_cue_points_is_named_with_the_remedy(peer: Peer, tmp_path: Path) -> None:
    peer.jobs = [analysed(peer.job("first")), peer.job("second")]
    done = await mismo(peer.target, "compare", "first", "second", cwd=tmp_path)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("error: job second has no cue points")
    assert "mismo analyze" in line
    assert peer.compares == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--stage", "sections", "--loudness"], [stage_pb2.STAGE_LOUDNESS, stage_pb2.STAGE_SECTIONS]),
        (["--analyze"], ANALYSES),
    ],
    ids=["chosen", "all that are offered"],
)
async def test_results_are_printed_beside_the_stems(
    analyst: Peer, track: Path, tmp_path: Path, options: list[str], expected: list[int]
) -> None:
    done = await mismo(analyst.target, "separate", track, "-o", "out", *options, cwd=tmp_path)
    assert done.code == 0, done.err
    assert list(analyst.submits[0].options.stages) == [stage_pb2.STAGE_STEMS, *expected]
    lines = done.err.splitlines()
    assert "basic_features succeeded: 120.0 BPM, F# minor (11A), 4/4, -9.2 LUFS" in lines
    assert "sections succeeded: 0:00 A intro, 0:32 B drop, 1:04 A" in lines
    assert "chords succeeded: mostly F#m, Dmaj7" in lines
    assert "transition succeeded: mix in at 0:00, mix out at 1:28, phrases of 8 bars" in lines
    assert "genre failed: put the model into a folder (MODEL_UNAVAILABLE)" in lines
