"""The analyses of a whole server: their results by gRPC, HTTP and callback, and what a failure costs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from collections.abc import Collection
from pathlib import Path

import httpx2
import numpy as np
import pytest
import soundfile

from mismo.analysis.v1 import job_pb2, stage_pb2
from mismo.analysis.v1 import job_service_pb2 as jobs_pb2
from mismo_grpc.jobs.job import Stage
from mismo_grpc.stages.analysis import Analysis, AnalysisStage
from tests.service.conftest import Server
from tests.service.test_stages import stage_ended, status_of
from tests.support.analyses import crash, crash_once
from tests.support.calls import PATIENCE, SUCCEEDED, names_of, options, refused, stage_states
from tests.support.http import receiver
from tests.support.packages import optional
from tests.support.process import ServerProcess
from tests.support.songs import Song, song
from tests.support.tracks import RATE, write_track

BASIC, CHARACTER, GENRE = (
    stage_pb2.STAGE_BASIC_FEATURES,
    stage_pb2.STAGE_CHARACTERISTICS,
    stage_pb2.STAGE_GENRE,
)
SECTIONS, CHORDS, TRANSITION = stage_pb2.STAGE_SECTIONS, stage_pb2.STAGE_CHORDS, stage_pb2.STAGE_TRANSITION
STEMS = stage_pb2.STAGE_STEMS
ALL = [BASIC, CHARACTER, SECTIONS, CHORDS, TRANSITION]
DOCUMENTS = {
    "annotation.jams",
    *(f"{name}.json" for name in ("basic_features", "characteristics", "sections", "chords", "transition")),
}
SECONDS = 24.0
TEMPO = 120.0

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="session")
def composed() -> Song:
    return song(SECONDS, tempo=TEMPO, key="A minor", seed=3)


@pytest.fixture
def track(composed: Song, music: Path) -> Path:
    soundfile.write(music / "song.wav", composed.audio, composed.sample_rate, subtype="PCM_16")
    return music / "song.wav"


async def test_every_analysis_of_one_track(server: Server, track: Path, composed: Song) -> None:
    client = server.client
    await client.submit(track, job_id="job", wanted=options(stages=ALL))
    events = await client.events("job")
    job = events[-1].terminal.job
    assert job.state == SUCCEEDED
    assert set(stage_states(job).values()) == {"SUCCEEDED"}
    told = {event.stage.stage: event.stage for event in events if event.HasField("stage")}
    for stage in ALL:
        assert told[stage].WhichOneof("result") == stage_pb2.Stage.Name(stage).removeprefix("STAGE_").lower()
        assert told[stage] == status_of(job, stage)
    basic = status_of(job, BASIC).basic_features
    assert basic.duration == pytest.approx(len(composed.audio) / composed.sample_rate, abs=1e-3)
    assert basic.tempo == pytest.approx(TEMPO, rel=0.01)
    assert set(basic.downbeats) <= set(basic.beats)
    sections = status_of(job, SECTIONS).sections.sections
    assert (sections[0].start, sections[-1].end) == (0.0, pytest.approx(basic.duration, abs=1e-3))
    assert (
        status_of(job, CHORDS).chords.source
        == status_of(job, CHARACTER).characteristics.vocal_source
        == "mix"
    )
    assert status_of(job, TRANSITION).transition.energy
    assert set(names_of(job)) == DOCUMENTS
    for artifact in job.artifacts:
        content = await client.artifact("job", artifact.name)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (artifact.total_bytes, artifact.sha256)
    beats = json.loads(await client.artifact("job", "basic_features.json"))["beats"]
    assert beats == list(basic.beats)
    await server.nothing_is_held()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_annotation_is_valid_jams(server: Server, track: Path, tmp_path: Path) -> None:
    await server.client.submit(track, job_id="job", wanted=options(stages=[CHORDS, SECTIONS]))
    await server.client.succeeded("job")
    jams = optional("jams")
    path = tmp_path / "annotation.jams"
    path.write_bytes(await server.client.artifact("job", "annotation.jams"))
    found = await asyncio.to_thread(jams.load, str(path), strict=True)
    assert {each.namespace for each in found.annotations} == {
        "tempo",
        "key_mode",
        "beat",
        "segment_open",
        "chord",
    }


async def test_analyses_alone_load_no_separation_model(
    server: Server, track: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def load(model: str) -> None:
        raise AssertionError(f"{model} was loaded")

    monkeypatch.setattr(server.app.runner._works[Stage.STEMS], "_load", load)
    server.device.close()
    await server.client.submit(track, job_id="job", wanted=options(stages=ALL))
    job = await server.client.succeeded("job")
    assert (job.model, job.HasField("stem_set")) == ("", False)
    assert not server.folder("job").exists()


async def test_genre_without_its_model_says_how_to_install_it_and_nothing_else_suffers(
    server: Server, music: Path
) -> None:
    track = write_track(music / "a.wav", 4.0)
    await server.client.submit(track, job_id="job", wanted=options(stages=[GENRE, BASIC]))
    job = await server.client.succeeded("job")
    failed = status_of(job, GENRE)
    assert (failed.error.reason, failed.attempts) == ("MODEL_UNAVAILABLE", 1)
    for part in ("discogs-effnet-bs64-1.pb", "MISMO_MODEL_DIRS", "CC BY-NC-SA"):
        assert part in failed.error.message
    assert status_of(job, BASIC).HasField("basic_features")
    await server.client.submit(track, job_id="alone", wanted=options(stages=[GENRE]))
    assert (await server.client.ended("alone")).error.reason == "MODEL_UNAVAILABLE"


async def test_with_stems_vocals_and_chords_are_found_on_them(server: Server, music: Path) -> None:
    client = server.client
    server.device.close()
    await client.submit(
        write_track(music / "a.wav", 4.0), job_id="job", wanted=options(stages=[STEMS, CHARACTER, CHORDS])
    )
    await stage_ended(client, "job", BASIC)
    job = await client.get("job")
    for stage in (CHARACTER, CHORDS):
        assert status_of(job, stage).state == stage_pb2.STAGE_STATE_PENDING
    server.device.open()
    job = await client.succeeded("job")
    assert status_of(job, CHORDS).chords.source == "stems"
    assert status_of(job, CHARACTER).characteristics.vocal_source == "stems"
    await server.nothing_is_held()


async def test_one_callback_a_stage_with_the_result(server: Server, track: Path) -> None:
    client = server.client
    async with receiver() as app_server:
        callback = job_pb2.Callback(url=app_server.url)
        await client.submit(track, job_id="job", wanted=options(stages=ALL), callback=callback)
        job = await client.succeeded("job")
        posts = {post.body["stage"]: post for post in await app_server.received(len(ALL))}
    assert set(posts) == {"basic_features", "characteristics", "sections", "chords", "transition"}
    for stage, post in posts.items():
        assert post.headers["x-mismo-stage"] == stage
        assert post.headers["x-mismo-job-id"] == post.body["job_id"] == "job"
        assert (post.body["status"], set(post.body)) == (
            "completed",
            {"job_id", "stage", "status", "timestamp", "data"},
        )
        assert post.body["data"] == json.loads(await client.artifact("job", f"{stage}.json"))
    basic = status_of(job, BASIC).basic_features
    data = posts["basic_features"].body["data"]
    assert (data["bpm"], data["key"]) == (basic.tempo, str(basic.key.tonic))
    assert data["mode"] == ("1" if basic.key.mode == 1 else "0")
    assert data["camelot"] == basic.key.camelot


async def test_options_of_http_are_the_stages_and_the_job_has_their_results(
    server: Server, track: Path
) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.app.http_port}") as http:
        wanted = {"stems": False, "basic_features": True, "characteristics": True}
        body = {"file_path": str(track), "track_hash": "job", "options": wanted}
        assert (await http.post("/jobs", json=body)).status_code == 200
        await server.client.succeeded("job")
        job = (await http.get("/jobs/job")).json()
        assert job["stages_completed"] == ["basic_features", "characteristics"]
        assert job["results"]["basic_features"]["bpm"] == pytest.approx(TEMPO, rel=0.01)
        assert 0 <= job["results"]["characteristics"]["danceability"] <= 1
        annotation = await http.get("/jobs/job/artifacts/annotation.jams")
        assert annotation.headers["content-type"] == "application/json"
        assert annotation.content == await server.client.artifact("job", "annotation.jams")
        (listed,) = (await http.get("/jobs")).json()["jobs"]
        assert "results" not in listed


async def test_an_earlier_analysis_is_used_again_with_its_documents(server: Server, track: Path) -> None:
    client = server.client
    await client.submit(track, job_id="a", wanted=options(stages=[SECTIONS]))
    first = await client.succeeded("a")
    again = await client.submit(track, job_id="b", wanted=options(stages=[SECTIONS]))
    assert again.cache_hit
    assert list(again.job.artifacts) == list(first.artifacts)
    assert await client.artifact("b", "annotation.jams") == await client.artifact("a", "annotation.jams")


async def test_two_analysed_tracks_are_compared(server: Server, track: Path) -> None:
    client = server.client
    await client.submit(track, job_id="a", wanted=options(stages=[TRANSITION]))
    await client.submit(
        write_track(track.with_name("b.wav"), 4.0), job_id="b", wanted=options(stages=[TRANSITION])
    )
    await client.succeeded("a")
    await client.succeeded("b")
    request = jobs_pb2.CompareTracksRequest(outgoing_job_id="a", incoming_job_id="a", max_cue_pairs=2)
    same = (await client.jobs.CompareTracks(request, timeout=PATIENCE)).comparison
    assert (same.tempo_ratio, same.key_relation, len(same.cue_pairs) <= 2) == (1.0, 1, True)
    request.incoming_job_id = "b"
    other = (await client.jobs.CompareTracks(request, timeout=PATIENCE)).comparison
    assert other.score < same.score <= 1
    request.incoming_job_id = "c"
    refusal = await refused(client.jobs.CompareTracks(request))
    assert (refusal.code, refusal.reason, refusal.field) == ("NOT_FOUND", "JOB_NOT_FOUND", "incoming_job_id")


def replace_basic_features(server: Server, analysis: Analysis) -> None:
    server.app.runner._works[Stage.BASIC_FEATURES] = AnalysisStage(
        Stage.BASIC_FEATURES, server.app.analyses, analysis, fixed_seconds=PATIENCE, times_length=0.0
    )


async def test_a_killed_analysis_is_tried_again(server: Server, music: Path) -> None:
    replace_basic_features(server, crash_once)
    await server.client.submit(
        write_track(music / "a.wav", 4.0), job_id="job", wanted=options(stages=[BASIC])
    )
    job = await server.client.ended("job")
    assert status_of(job, BASIC).attempts == 2


async def test_an_analysis_that_fails_for_good_skips_those_that_need_it_and_no_other(
    server: Server, music: Path
) -> None:
    replace_basic_features(server, crash)
    await server.client.submit(write_track(music / "a.wav", 4.0), job_id="job", wanted=options(stages=ALL))
    job = await server.client.succeeded("job")
    assert stage_states(job) == {
        "DECODE": "SUCCEEDED",
        "BASIC_FEATURES": "FAILED",
        "CHARACTERISTICS": "SUCCEEDED",
        "SECTIONS": "SKIPPED",
        "CHORDS": "SKIPPED",
        "TRANSITION": "SKIPPED",
        "ANNOTATION": "SKIPPED",
    }
    for stage in (BASIC, SECTIONS, CHORDS, TRANSITION):
        assert status_of(job, stage).error.reason == "ANALYSIS_CRASHED"
    assert names_of(job) == ["characteristics.json"]
    refusal = await refused(server.client.artifact("job", "annotation.jams"))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "ARTIFACT_NOT_FOUND")


async def test_a_document_is_not_ready_until_its_stage_has_ended(server: Server, music: Path) -> None:
    client = server.client
    server.device.close()
    await client.submit(
        write_track(music / "a.wav", 4.0), job_id="job", wanted=options(stages=[STEMS, CHORDS, GENRE])
    )
    await stage_ended(client, "job", BASIC)
    await stage_ended(client, "job", GENRE)
    assert await client.artifact("job", "basic_features.json")
    for name, reason in (
        ("chords.json", "JOB_NOT_READY"),
        ("annotation.jams", "JOB_NOT_READY"),
        ("genre.json", "ARTIFACT_NOT_FOUND"),
        ("sections.json", "ARTIFACT_NOT_FOUND"),
    ):
        assert (await refused(client.artifact("job", name))).reason == reason
    server.device.open()
    await client.succeeded("job")
    assert await client.artifact("job", "annotation.jams")


async def test_a_result_is_made_anew_once_other_models_are_there(
    server: Server, track: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, stage = server.client, server.app.runner._works[Stage.BASIC_FEATURES]
    await client.submit(track, job_id="a", wanted=options(stages=[SECTIONS]))
    await client.succeeded("a")
    assert (await client.submit(track, job_id="b", wanted=options(stages=[SECTIONS]))).cache_hit
    monkeypatch.setattr(stage, "_find_models", lambda folders: "beat_this-final0.ckpt")
    assert not (await client.submit(track, job_id="c", wanted=options(stages=[SECTIONS]))).cache_hit
    await client.succeeded("c")
    assert (await client.submit(track, job_id="d", wanted=options(stages=[SECTIONS]))).cache_hit


async def test_a_killed_server_goes_on_with_the_missing_analyses(
    process: ServerProcess, composed: Song
) -> None:
    client = await process.start()
    track = process.music / "song.wav"
    soundfile.write(track, composed.audio, composed.sample_rate, subtype="PCM_16")
    await client.submit(track, job_id="job", wanted=options(stages=ALL))
    before = await stage_ended(client, "job", BASIC)
    await client.close()
    process.signal(signal.SIGKILL)
    await process.exited()
    client = await process.start()
    job = await client.succeeded("job")
    assert status_of(job, BASIC) == status_of(before, BASIC)
    await client.submit(track, job_id="again", wanted=options(stages=[*ALL, stage_pb2.STAGE_LOUDNESS]))
    again = await client.succeeded("again")
    for stage in ALL:
        mine, other = status_of(job, stage), status_of(again, stage)
        assert mine.WhichOneof("result") is not None
        assert getattr(mine, mine.WhichOneof("result")) == getattr(other, mine.WhichOneof("result"))
    await client.close()


def silence(frames: int, channels: int) -> np.ndarray:
    return np.zeros((frames, channels), np.float32)


def click(frames: int, channels: int) -> np.ndarray:
    audio = silence(frames, channels)
    audio[frames // 2] = 1.0
    return audio


def noise(frames: int, channels: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.2, (frames, channels)).astype(np.float32)


def not_numbers(frames: int, channels: int) -> np.ndarray:
    audio = noise(frames, channels)
    audio[frames // 4 : frames // 2] = np.nan
    return audio


@pytest.mark.parametrize(
    ("signals", "seconds", "rate", "channels"),
    [
        (noise, 0.5, RATE, 2),
        (silence, 10.0, RATE, 2),
        (click, 10.0, RATE, 2),
        (noise, 10.0, 8_000, 1),
        (not_numbers, 10.0, RATE, 2),
    ],
    ids=["half a second", "silence", "click", "mono of 8 kHz", "NaN"],
)
async def test_no_audio_makes_an_analysis_fail(
    server: Server, music: Path, signals, seconds: float, rate: int, channels: int
) -> None:
    path = music / "a.wav"
    soundfile.write(path, signals(round(seconds * rate), channels), rate, subtype="FLOAT")
    await server.client.submit(path, job_id="job", wanted=options(stages=ALL))
    job = await server.client.succeeded("job")
    assert set(stage_states(job).values()) == {"SUCCEEDED"}
    assert finite(json.loads(await server.client.artifact("job", "basic_features.json")))


def finite(document: object) -> bool:
    """Whether no number in it is NaN or infinite."""
    if isinstance(document, dict):
        return all(map(finite, document.values()))
    if isinstance(document, Collection) and not isinstance(document, str):
        return all(map(finite, document))
    return not isinstance(document, float) or bool(np.isfinite(document))
