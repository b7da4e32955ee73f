"""The calls of an app server: upload, analyse, callback, read; generate, callback, read. All with a real container."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile

from mismo_grpc.generation.composer import Brief, compose
from mismo_grpc.generation.synthetic import render
from tests.service.conftest import Server, StartServer
from tests.service.workers.conftest import AudioFiles, client_of
from tests.support.calls import until
from tests.support.http import Receiver
from tests.support.tracks import track_bytes

RATE = 44_100
STEMS = ("bass", "drums", "other", "vocals")


def a_song(path: Path) -> bytes:
    """Eight bars at 120 beats a minute in A minor."""
    stems = render(compose(Brief(16.0, 120.0, "A minor"), seed=3), sample_rate=RATE, seed=3)
    soundfile.write(path, np.sum(list(stems.values()), axis=0), RATE)
    return path.read_bytes()


async def test_the_documented_calls_from_upload_to_generated_stems(
    http: httpx2.AsyncClient, audio_files: AudioFiles, api: Receiver, tmp_path: Path
) -> None:
    store = audio_files.store
    await store.write("test-123.wav", a_song(tmp_path / "a.wav"))
    analyze = {
        "audio_file_id": "test-123",
        "blob_uri": audio_files.url("test-123.wav"),
        "callback_url": f"{api.url}",
    }
    answer = await http.post("/analyze", json=analyze)
    assert (answer.status_code, answer.json()["job_id"]) == (202, "test-123")

    (post,) = await api.received()
    assert (post.headers["x-mismo-job-id"], post.headers["x-mismo-stage"]) == ("test-123", "analysis")
    told = post.body
    assert (told["audio_file_id"], told["status"], told["error"]) == ("test-123", "completed", None)
    assert told["analysis"]["bpm"] == pytest.approx(120.0, rel=0.01)
    assert told["analysis"]["duration_seconds"] == pytest.approx(16.0, abs=0.01)
    assert len(told["analysis"]["beats"]) > 20
    assert told["analysis"]["sections"][0]["start"] == 0.0
    assert told["analysis"]["chords"]
    assert told["jams_uri"] == audio_files.url("test-123/analysis/annotation.jams")
    annotation = json.loads(store.read_now("test-123/analysis/annotation.jams", 0, 1 << 20))
    namespaces = {each["namespace"] for each in annotation["annotations"]}
    assert {"tempo", "key_mode", "beat", "segment_open", "chord"} <= namespaces
    assert {stem["stem_type"] for stem in told["stems"]} == set(STEMS)
    for stem in told["stems"]:
        path = f"test-123/stems/{stem['stem_type']}.wav"
        assert stem["blob_uri"] == audio_files.url(path)
        await is_the_stem(store.read_now(path, 0, 1 << 24), stem, 16.0)
    # A client may take every blob of the folder for a stem.
    assert [name for name in await audio_files.names() if "/stems/" in name] == [
        f"test-123/stems/{stem}.wav" for stem in STEMS
    ]

    generate = {
        "generation_request_id": "gen-123",
        "audio_file_id": "test-123",
        "target_stems": ["guitar", "bass", "drums"],
        "parameters": {"target_bpm": 120.0, "duration_seconds": 10.0, "style": "rock"},
        "callback_url": f"{api.url}",
    }
    answer = await http.post("/generate", json=generate)
    assert (answer.status_code, answer.json()["generation_request_id"]) == (202, "gen-123")
    told = (await api.received(2))[1].body
    assert (told["generation_request_id"], told["audio_file_id"]) == ("gen-123", "test-123")
    assert (told["status"], told["parameters"]["target_bpm"]) == ("completed", 120.0)
    assert [stem["stem_type"] for stem in told["stems"]] == ["guitar", "bass", "drums"]
    for stem in told["stems"]:
        path = f"test-123/generated/gen-123/{stem['stem_type']}.wav"
        assert stem["blob_uri"] == audio_files.url(path)
        await is_the_stem(store.read_now(path, 0, 1 << 24), stem, 10.0)


async def is_the_stem(content: bytes, told: dict[str, Any], seconds: float) -> None:
    assert (len(content), hashlib.sha256(content).hexdigest()) == (told["size_bytes"], told["sha256"])
    assert told["duration_seconds"] == pytest.approx(seconds, abs=0.01)


NULLS = {
    "target_bpm": None,
    "duration_seconds": 1.0,
    "style": None,
    "chord_progression": None,
    "prompt": None,
    "temperature": None,
    "random_seed": None,
}


def generate_body(**changes: Any) -> dict[str, Any]:
    body = {
        "generation_request_id": "gen",
        "audio_file_id": "song",
        "target_stems": ["bass"],
        "parameters": NULLS,
        "callback_url": None,
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


def analyze_body(**changes: Any) -> dict[str, Any]:
    body = {"audio_file_id": "song", "blob_uri": "az://audio/a.wav", "callback_url": None, **changes}
    return {name: value for name, value in body.items() if value is not ...}


async def test_null_stands_for_a_field_that_is_left_out(
    http: httpx2.AsyncClient, worker: Server, audio_files: AudioFiles
) -> None:
    answer = await http.post("/generate", json=generate_body())
    assert (answer.status_code, answer.json()["callback_url"]) == (202, None)
    job = await worker.client.succeeded("gen")
    assert job.options.generation.target_bpm == 120.0
    assert [blob.name for blob in job.blobs if blob.name.endswith(".wav")] == ["generated/gen/bass.wav"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/analyze", analyze_body(audio_file_id=...), "audio_file_id"),
        ("/analyze", analyze_body(audio_file_id="a/b"), "audio_file_id"),
        ("/analyze", analyze_body(audio_file_id=".a"), "audio_file_id"),
        ("/analyze", analyze_body(blob_uri=None), "blob_uri"),
        ("/analyze", analyze_body(blob_uri=7), "blob_uri"),
        ("/analyze", analyze_body(blob_uri="http://169.254.169.254/latest/meta-data"), "blob_uri"),
        ("/analyze", analyze_body(blob_uri="file:///etc/passwd"), "blob_uri"),
        ("/analyze", analyze_body(blob_uri="az://other/a.wav"), "blob_uri"),
        ("/analyze", analyze_body(callback_url="ftp://api/"), "callback_url"),
        ("/analyze", analyze_body(loud=True), "loud"),
        ("/generate", generate_body(generation_request_id=""), "generation_request_id"),
        ("/generate", generate_body(audio_file_id="../x"), "audio_file_id"),
        ("/generate", generate_body(target_stems=[]), "target_stems"),
        ("/generate", generate_body(target_stems="bass"), "target_stems"),
        ("/generate", generate_body(target_stems=["bass", "banjo"]), "target_stems"),
        ("/generate", generate_body(parameters=[]), "parameters"),
        ("/generate", generate_body(parameters={"tempo": 1}), "parameters.tempo"),
        ("/generate", generate_body(parameters={"target_bpm": "fast"}), "parameters.target_bpm"),
        ("/generate", generate_body(parameters={"target_bpm": 1e9}), "parameters.target_bpm"),
        ("/generate", generate_body(parameters={"duration_seconds": 0}), "parameters.duration_seconds"),
        ("/generate", generate_body(parameters={"style": 3}), "parameters.style"),
        ("/generate", generate_body(parameters={"style": "x" * 65}), "parameters.style"),
        (
            "/generate",
            generate_body(parameters={"chord_progression": "Am - H"}),
            "parameters.chord_progression",
        ),
        ("/generate", generate_body(parameters={"chord_progression": [1]}), "parameters.chord_progression"),
        ("/generate", generate_body(parameters={"prompt": "x" * 2001}), "parameters.prompt"),
        ("/generate", generate_body(parameters={"temperature": 2.1}), "parameters.temperature"),
        ("/generate", generate_body(parameters={"random_seed": 1.5}), "parameters.random_seed"),
        ("/generate", generate_body(parameters={"random_seed": -1}), "parameters.random_seed"),
        ("/generate", generate_body(parameters={"random_seed": 10**30}), "parameters.random_seed"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_starts(
    http: httpx2.AsyncClient, worker: Server, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await http.post(path, json=body)
    error = answer.json()["error"]
    assert 400 <= answer.status_code < 500, error
    assert error["field"] == field
    assert field in error["message"]
    assert (await worker.client.list()).jobs == []


async def test_a_body_that_is_no_json_is_refused(http: httpx2.AsyncClient) -> None:
    for path in ("/analyze", "/generate"):
        headers = {"Content-Type": "application/json"}
        assert (await http.post(path, content=b"{", headers=headers)).status_code == 400
        assert (await http.post(path, content=b"[]", headers=headers)).status_code == 400
        assert (await http.post(path, data={"audio_file_id": "a"})).status_code == 415
        assert (await http.post(path, content=b" " * (300 << 10), headers=headers)).status_code == 413


async def test_a_blob_that_is_missing_empty_or_no_audio(
    http: httpx2.AsyncClient, worker: Server, audio_files: AudioFiles, api: Receiver
) -> None:
    answer = await http.post("/analyze", json=analyze_body(blob_uri=audio_files.url("nothing.wav")))
    assert (answer.status_code, answer.json()["error"]["field"]) == (404, "blob_uri")
    assert answer.json()["error"]["code"] == "BLOB_NOT_FOUND"
    await audio_files.store.write("empty.wav", b"")
    answer = await http.post("/analyze", json=analyze_body(blob_uri=audio_files.url("empty.wav")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "EMPTY_AUDIO")
    await audio_files.store.write("text.wav", b"this is no audio" * 1000)
    body = analyze_body(blob_uri=audio_files.url("text.wav"), callback_url=api.url)
    assert (await http.post("/analyze", json=body)).status_code == 202
    told = (await api.received())[0].body
    assert (told["status"], told["error"]["code"]) == ("failed", "UNSUPPORTED_AUDIO")
    assert (told["analysis"], told["jams_uri"], told["stems"]) == (None, None, [])
    assert not [name for name in await audio_files.names() if name.startswith("song/")]


async def test_a_blob_over_the_limit_is_refused(start: StartServer, audio_files: AudioFiles) -> None:
    server = await start(**audio_files.settings(), max_upload_bytes=1000)
    await audio_files.store.write("a.wav", track_bytes(1.0))
    async with client_of(server) as http:
        answer = await http.post("/analyze", json=analyze_body(blob_uri=audio_files.url("a.wav")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "UPLOAD_TOO_LARGE")


async def test_a_repeated_request_changes_nothing_and_is_told_again(
    http: httpx2.AsyncClient, worker: Server, audio_files: AudioFiles, api: Receiver
) -> None:
    body = generate_body(callback_url=api.url)
    await http.post("/generate", json=body)
    first = (await api.received())[0].body
    versions = {blob.path: blob.version for blob in await audio_files.store.list()}
    assert (await http.post("/generate", json=body)).status_code == 202
    again = (await api.received(2))[1].body
    assert again["stems"] == first["stems"]
    # What was there already was not sent again.
    assert {blob.path: blob.version for blob in await audio_files.store.list()} == versions
    other = await http.post("/generate", json=generate_body(target_stems=["drums"]))
    assert (other.status_code, other.json()["error"]["code"]) == (422, "REQUEST_ID_REUSED")
    assert other.json()["error"]["field"] == "generation_request_id"


async def test_without_a_container_the_workers_say_what_to_set(start: StartServer) -> None:
    server = await start()
    async with client_of(server) as http:
        for path, body in (("/analyze", analyze_body()), ("/generate", generate_body())):
            answer = await http.post(path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (501, "NOT_SUPPORTED_YET")
            assert "BLOB_CONTAINER_NAME" in answer.json()["error"]["message"]


async def test_a_cancelled_generation_is_told_as_failed(
    http: httpx2.AsyncClient, worker: Server, api: Receiver, audio_files: AudioFiles
) -> None:
    await http.post(
        "/generate", json=generate_body(parameters={"duration_seconds": 600}, callback_url=api.url)
    )
    await until(lambda: bool(worker.app.repository.active["gen"].ready))
    await worker.client.cancel("gen")
    told = (await api.received())[0].body
    assert (told["status"], told["error"]["code"], told["stems"]) == ("failed", "CANCELLED", [])
    assert await audio_files.names() == []
    await until(lambda: worker.app.outbox.sending_count == 0)
    await worker.nothing_is_held()
