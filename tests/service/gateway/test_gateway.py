"""Older clients, written against their documents: submit, callbacks, downloads, and everything they get wrong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import itertools
import json
import socket
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.service.conftest import Server, StartServer
from tests.support.calls import PATIENCE, until
from tests.support.http import Receiver, receiver
from tests.support.tracks import track_bytes, write_track

STEMS = ("bass", "drums", "other", "vocals")


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(server) as client:
        yield client


@pytest.fixture
async def app_server() -> AsyncIterator[Receiver]:
    async with receiver() as listening:
        yield listening


def client_of(server: Server) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.app.http_port}", timeout=PATIENCE)


def request_for(path: Path, **changes: Any) -> dict[str, Any]:
    options = {"stems": True, "basic_features": False, "characteristics": False}
    return {"file_path": str(path), "track_hash": "abc123def456", "options": options, **changes}


async def answers(
    http: httpx2.AsyncClient, path: str, condition: Callable[[httpx2.Response], bool]
) -> httpx2.Response:
    async with asyncio.timeout(PATIENCE):
        for _ in itertools.count():
            response = await http.get(path)
            if condition(response):
                return response
            await asyncio.sleep(0.02)
    raise AssertionError


async def ended(http: httpx2.AsyncClient, job_id: str = "abc123def456") -> dict[str, Any]:
    response = await answers(
        http, f"/jobs/{job_id}", lambda job: job.json()["status"] not in ("queued", "processing")
    )
    return response.json()


async def told(http: httpx2.AsyncClient, job_id: str) -> None:
    await answers(http, f"/jobs/{job_id}", lambda job: job.json()["callbacks"][0]["status"] != "pending")


def error_of(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"code", "message", "field", "retryable", "metadata"}
    return error


async def test_path_mode_as_documented(
    server: Server, http: httpx2.AsyncClient, app_server: Receiver, music: Path
) -> None:
    track = write_track(music / "track.wav")
    asked = request_for(track, callback_url=app_server.url, stem_delivery_mode="path", priority="high")
    answer = (await http.post("/jobs", json=asked)).raise_for_status().json()
    assert answer.pop("created_at").endswith("Z")
    assert answer == {
        "job_id": "abc123def456",
        "status": "queued",
        "track_hash": "abc123def456",
        "callback_url": app_server.url,
        "stem_delivery_mode": "path",
    }
    (post,) = await app_server.received()
    assert post.headers["content-type"] == "application/json"
    assert post.headers["x-mismo-job-id"] == "abc123def456"
    assert post.headers["x-mismo-stage"] == "stems"
    assert post.body["timestamp"].endswith("Z")
    assert (post.body["job_id"], post.body["stage"], post.body["status"]) == (
        "abc123def456",
        "stems",
        "completed",
    )
    data = post.body["data"]
    assert data["delivery_mode"] == "path"
    assert data["processing_time"] >= 0
    assert data["model"] == "tiny"
    assert set(data["stems"]) == set(STEMS)
    for name, path in data["stems"].items():
        assert Path(path) == server.stems("abc123def456") / f"{name}.wav"
        assert Path(path).read_bytes()[:4] == b"RIFF"
    levels = {(entry["zoom_level"], entry["stem_type"]) for entry in data["waveforms"]}
    assert {stem for _, stem in levels} == set(STEMS)
    assert all(0 <= point <= 1 for entry in data["waveforms"] for point in entry["data"])


async def test_callback_mode_carries_the_stems(
    server: Server, http: httpx2.AsyncClient, app_server: Receiver
) -> None:
    form = {
        "track_hash": "abc123def456",
        "options": json.dumps({"stems": True}),
        "callback_url": app_server.url,
        "stem_delivery_mode": "callback",
    }
    files = {"file": ("track.mp3", track_bytes(), "audio/mpeg")}
    answer = (await http.post("/jobs", data=form, files=files)).raise_for_status().json()
    assert answer["stem_delivery_mode"] == "callback"
    (post,) = await app_server.received()
    data = post.body["data"]
    assert (data["format"], data["encoding"]) == ("wav", "base64")
    for name in STEMS:
        stored = (server.stems("abc123def456") / f"{name}.wav").read_bytes()
        assert base64.b64decode(data["stems"][name]) == stored
    # The fall-back for a callback that never came is the same, but for when it was said.
    again = (await http.get("/jobs/abc123def456/stems")).raise_for_status()
    assert again.json() == data
    assert int(again.headers["content-length"]) == len(again.content)
    await server.idle()
    assert list((server.jobs_dir / ".mismo" / "uploads").iterdir()) == []
    assert list((server.jobs_dir / ".mismo" / "incoming").iterdir()) == []


async def test_poll_mode_and_downloads(server: Server, http: httpx2.AsyncClient, music: Path) -> None:
    track = write_track(music / "track.wav")
    (await http.post("/jobs", json=request_for(track))).raise_for_status()
    job = await ended(http)
    assert (job["status"], job["stages_completed"], job["progress"], job["error"]) == (
        "completed",
        ["stems"],
        1.0,
        None,
    )
    links = (await http.get("/jobs/abc123def456/stems")).raise_for_status().json()["stems"]
    for name in STEMS:
        stored = (server.stems("abc123def456") / f"{name}.wav").read_bytes()
        answer = await http.get(links[name])
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.content == stored
        digest = base64.b64encode(hashlib.sha256(stored).digest()).decode()
        assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
        part = await http.get(links[name], headers={"Range": "bytes=44-143"})
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes 44-143/{len(stored)}"
        assert part.content == stored[44:144]
        tail = await http.get(links[name], headers={"Range": "bytes=-7"})
        assert tail.content == stored[-7:]
        rest = await http.get(links[name], headers={"Range": f"bytes={len(stored) - 3}-"})
        assert rest.content == stored[-3:]
        beyond = await http.get(links[name], headers={"Range": f"bytes={len(stored)}-"})
        assert error_of(beyond, 416)["field"] == "Range"
        assert beyond.headers["content-range"] == f"bytes */{len(stored)}"
        head = await http.head(links[name])
        assert (head.content, head.headers["content-length"]) == (b"", str(len(stored)))
        fresh = await http.get(links[name], headers={"If-None-Match": answer.headers["etag"]})
        assert (fresh.status_code, fresh.content) == (304, b"")
        stale = await http.get(links[name], headers={"Range": "bytes=0-3", "If-Range": '"other"'})
        assert (stale.status_code, stale.content) == (200, stored)
    archive = await http.get("/jobs/abc123def456/stems.zip")
    with zipfile.ZipFile(io.BytesIO(archive.content)) as stems:
        assert sorted(stems.namelist()) == [f"{name}.wav" for name in STEMS]
    assert (await http.get("/jobs/abc123def456/stems.json")).json()["job_id"] == "abc123def456"
    waveform = await http.get("/jobs/abc123def456/artifacts/waveform-bass.json")
    digest = base64.b64encode(hashlib.sha256(waveform.content).digest()).decode()
    assert waveform.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert waveform.json()["samples_per_pixel"] == 256
    # The client has the last byte a moment before the server lets go of the file.
    await until(lambda: not server.app.runs.held_runs)
    await server.nothing_is_held()


async def test_jobs_over_http_are_jobs_over_grpc(
    server: Server, http: httpx2.AsyncClient, music: Path
) -> None:
    track = write_track(music / "track.wav")
    (await http.post("/jobs", json=request_for(track))).raise_for_status()
    job = await server.client.succeeded("abc123def456")
    assert job.job_id == "abc123def456"
    for number in range(3):
        await http.post("/jobs", json=request_for(track, track_hash=f"t{number}"))
        await ended(http, f"t{number}")
    first = (await http.get("/jobs", params={"page_size": 3})).json()
    rest = (await http.get("/jobs", params={"page_token": first["next_page_token"]})).json()
    assert [job["job_id"] for job in first["jobs"] + rest["jobs"]] == ["t2", "t1", "t0", "abc123def456"]
    assert rest["next_page_token"] == ""
    assert (await http.get("/jobs", params={"status": "failed"})).json()["jobs"] == []
    assert (await http.delete("/jobs/t0")).json() == {"job_id": "t0", "status": "deleted"}
    assert error_of(await http.delete("/jobs/t0"), 404)["code"] == "JOB_NOT_FOUND"
    assert not server.folder("t0").exists()


async def test_a_failed_job_is_told(
    http: httpx2.AsyncClient, server: Server, app_server: Receiver, music: Path
) -> None:
    track = write_track(music / "track.wav")
    server.hold_decoders()
    asked = request_for(track, callback_url=app_server.url, stem_delivery_mode="path")
    (await http.post("/jobs", json=asked)).raise_for_status()
    track.unlink()
    server.release_decoders()
    (post,) = await app_server.received()
    assert post.body["status"] == "failed"
    assert post.body["error"]["code"] == "SOURCE_NOT_FOUND"
    job = await ended(http)
    assert job["status"] == "failed"
    assert job["error"]["code"] == "SOURCE_NOT_FOUND"
    assert error_of(await http.get("/jobs/abc123def456/stems"), 409)["code"] == "SOURCE_NOT_FOUND"


async def test_a_callback_is_tried_again_and_what_failed_is_marked(
    start: StartServer, app_server: Receiver, music: Path
) -> None:
    server = await start(callback_retry_delay=0.05, callback_retries=2)
    track = write_track(music / "track.wav")
    app_server.answer = lambda number: 500 if number in (0, 2, 3, 4) else 200
    async with client_of(server) as http:
        for name in ("first", "second"):
            asked = request_for(track, track_hash=name, callback_url=app_server.url)
            (await http.post("/jobs", json=asked)).raise_for_status()
            await ended(http, name)
            await told(http, name)
        ids = [post.headers["x-mismo-callback-id"] for post in app_server.posts]
        assert len(ids) == 5
        assert (len(set(ids[:2])), len(set(ids[2:]))) == (1, 1)
        first = (await http.get("/jobs/first")).json()["callbacks"][0]
        assert (first["status"], first["attempts"]) == ("delivered", 2)
        second = (await http.get("/jobs/second")).json()["callbacks"][0]
        assert (second["status"], second["attempts"]) == ("failed", 3)
        assert "500" in second["last_error"]
        assert (await http.get("/jobs/second/stems/bass.wav")).status_code == 200
        text = (await http.get("/metrics")).text
        assert 'mismo_callbacks_total{outcome="failed"} 1.0' in text
        assert 'mismo_callbacks_total{outcome="retried"} 3.0' in text
        assert 'mismo_bytes_sent_total{way="callback"} 0.0' not in text


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"file_path": "/etc/passwd"}, 403, "file_path"),
        ({"file_path": "relative.wav"}, 422, "file_path"),
        ({"callback_url": "ftp://host/x"}, 422, "callback_url"),
        ({"callback_url": "http://169.254.169.254/latest"}, 422, "callback_url"),
        ({"callback_url": "http://user:pw@host/"}, 422, "callback_url"),
        ({"options": {"stems": True, "surprise": True}}, 422, "options.surprise"),
        ({"options": {"annotation": True}}, 422, "options.annotation"),
    ],
)
async def test_refused_submits_start_nothing(
    server: Server, http: httpx2.AsyncClient, music: Path, changes: dict[str, Any], status: int, field: str
) -> None:
    track = write_track(music / "track.wav")
    response = await http.post("/jobs", json=request_for(track, **changes))
    assert error_of(response, status)["field"] == field
    assert (await http.get("/jobs")).json()["jobs"] == []


async def test_missing_and_escaping_paths(http: httpx2.AsyncClient, music: Path, tmp_path: Path) -> None:
    outside = write_track(tmp_path / "outside.wav")
    (music / "link.wav").symlink_to(outside)
    assert error_of(await http.post("/jobs", json=request_for(music / "no.wav")), 404)["field"] == "file_path"
    assert (
        error_of(await http.post("/jobs", json=request_for(music / "link.wav")), 403)["field"] == "file_path"
    )
    sneaky = request_for(Path(f"{music}/../outside.wav"))
    assert error_of(await http.post("/jobs", json=sneaky), 403)["field"] == "file_path"
    text = request_for(music / "notes.wav")
    (music / "notes.wav").write_text("no audio at all, only words, and a good many of them " * 20)
    assert error_of(await http.post("/jobs", json=text), 415)["code"] == "UNSUPPORTED_AUDIO"


async def test_bodies_that_are_no_submits(http: httpx2.AsyncClient) -> None:
    kind = {"Content-Type": "application/json"}
    assert error_of(await http.post("/jobs", content=b"{", headers=kind), 400)["code"] == "INVALID_REQUEST"
    assert error_of(await http.post("/jobs", content=b"[]", headers=kind), 400)
    assert error_of(await http.post("/jobs", content=b"x", headers={"Content-Type": "text/csv"}), 415)
    big = b'{"track_hash": "' + b"x" * (1 << 20)
    assert error_of(await http.post("/jobs", content=big, headers=kind), 413)
    torn = {"Content-Type": "multipart/form-data; boundary=b"}
    assert error_of(await http.post("/jobs", content=b"--b\r\n", headers=torn), 400)


async def test_a_refused_upload_leaves_nothing(server: Server, http: httpx2.AsyncClient) -> None:
    before = tree(server.jobs_dir)
    noise = {"file": ("noise.mp3", b"\x00not audio" * 1000)}
    assert error_of(await http.post("/jobs", data={"track_hash": "x"}, files=noise), 415)["field"] == "file"
    assert (
        error_of(await http.post("/jobs", data={"track_hash": "../x"}, files=noise), 422)["field"]
        == "track_hash"
    )
    empty = {"file": ("empty.mp3", b"")}
    assert error_of(await http.post("/jobs", data={"track_hash": "x"}, files=empty), 422)["field"] == "file"
    assert error_of(await http.post("/jobs", data={"track_hash": "x"}), 415)
    assert tree(server.jobs_dir) == before


async def test_an_upload_is_cut_off_at_the_limit(start: StartServer) -> None:
    server = await start(max_upload_bytes=100_000)
    before = tree(server.jobs_dir)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.app.http_port)
    # The length is announced truthfully: refused before anything is sent.
    writer.write(head(f"Content-Length: {10_000_000}"))
    assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 413")
    await gone(writer)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.app.http_port)
    writer.write(head("Transfer-Encoding: chunked"))
    begin = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    writer.write(b"%x\r\n%s\r\n" % (len(begin), begin))
    sent = 0
    answer = asyncio.ensure_future(reader.readline())
    while not answer.done():
        writer.write(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
        sent += 0x2000
        await writer.drain()
        await asyncio.sleep(0)
    assert answer.result().startswith(b"HTTP/1.1 413")
    assert sent < 20_000_000
    await gone(writer)
    await settled(server, before)


async def test_a_client_that_leaves_in_the_middle_of_its_upload(server: Server) -> None:
    before = tree(server.jobs_dir)
    _, writer = await asyncio.open_connection("127.0.0.1", server.app.http_port)
    # It promises more than it sends.
    writer.write(head("Content-Length: 5000000"))
    writer.write(
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 3_000_000
    )
    await writer.drain()
    await until(
        lambda: any(path.stat().st_size for path in (server.jobs_dir / ".mismo" / "incoming").iterdir())
    )
    await gone(writer)
    await settled(server, before)


async def test_an_upload_that_dribbles_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mismo_grpc.gateway.request_body.START_SECONDS", 0.2)
    before = tree(server.jobs_dir)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.app.http_port)
    writer.write(head("Content-Length: 5000000"))
    writer.write(b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
    answer = asyncio.ensure_future(reader.readline())
    async with asyncio.timeout(PATIENCE):
        while not answer.done():
            writer.write(b"x")
            await asyncio.sleep(0.05)
    assert answer.result().startswith(b"HTTP/1.1 408")
    await gone(writer)
    await settled(server, before)


async def test_an_upload_that_stops_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mismo_grpc.gateway.request_body.IDLE_SECONDS", 0.2)
    before = tree(server.jobs_dir)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.app.http_port)
    writer.write(head("Content-Length: 5000000"))
    assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 408")
    await gone(writer)
    await settled(server, before)


async def test_a_download_that_nobody_takes_is_ended(
    server: Server, http: httpx2.AsyncClient, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mismo_grpc.gateway.ranges.STALLED_SECONDS", 0.3)
    track = write_track(music / "track.wav", 10.0)
    (await http.post("/jobs", json=request_for(track))).raise_for_status()
    await ended(http)
    with narrow_socket(server) as narrow:
        narrow.sendall(b"GET /jobs/abc123def456/stems.zip HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: bool(server.app.runs.held_runs))
        await until(lambda: not server.app.runs.held_runs)


async def test_a_client_that_leaves_in_the_middle_of_a_download(
    server: Server, http: httpx2.AsyncClient, music: Path
) -> None:
    track = write_track(music / "track.wav", 10.0)
    (await http.post("/jobs", json=request_for(track))).raise_for_status()
    await ended(http)
    for target in ("stems.zip", "stems?mode=callback"):
        # With little room on the way, most of the answer is still with the server when the client leaves.
        reader, writer = await asyncio.open_connection(sock=narrow_socket(server), limit=4096)
        writer.write(f"GET /jobs/abc123def456/{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert await reader.readexactly(1000)
        assert server.app.runs.held_runs
        await gone(writer)
        await until(lambda: not server.app.runs.held_runs)


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/..%2f..%2fetc/stems/passwd.wav",
        "/jobs/%2e%2e/stems/bass.wav",
        "/jobs/abc/stems/..%2f..%2fjobs.sqlite3.wav",
        "/jobs/.mismo/stems.zip",
        "/jobs/abc/artifacts/..%2fstems.json",
        "/jobs/" + "x" * 3000,
    ],
)
async def test_names_that_try_to_get_out(http: httpx2.AsyncClient, path: str) -> None:
    assert error_of(await http.get(path), 404)


async def test_health_readiness_metrics_and_docs(
    server: Server, http: httpx2.AsyncClient, music: Path
) -> None:
    health = (await http.get("/health")).raise_for_status().json()
    assert health["status"] == "ok"
    assert set(health) == {"status", "version", "jobs_queued", "jobs_processing"}
    await answers(http, "/ready", lambda response: response.status_code == 200)
    assert (await http.get("/ready")).json() == {"status": "ready", "model": "tiny"}
    track = write_track(music / "track.wav")
    (await http.post("/jobs", json=request_for(track))).raise_for_status()
    await ended(http)
    size = len((await http.get("/jobs/abc123def456/stems/bass.wav")).content)
    text = (await http.get("/metrics")).text
    for line in (
        'mismo_jobs{state="queued"} 0.0',
        'mismo_jobs_accepted_total{priority="normal"} 1.0',
        'mismo_jobs_ended_total{state="succeeded"} 1.0',
        'mismo_stage_seconds_count{stage="stems",state="succeeded"} 1.0',
        "mismo_first_audio_seconds_count 1.0",
        "mismo_playhead_audio_seconds_count 1.0",
        "mismo_model_warm 1.0",
        "mismo_device_memory_bytes",
        "mismo_segments_waiting 0.0",
    ):
        assert line in text, line
    sent = next(line for line in text.splitlines() if line.startswith('mismo_bytes_sent_total{way="http"}'))
    assert float(sent.split()[-1]) >= size
    assert 'mismo_segment_seconds_count{model="tiny"}' in text
    assert (await http.get("/docs")).status_code == 200
    assert "/jobs/{job_id}/stems" in (await http.get("/openapi.json")).json()["paths"]
    assert error_of(await http.get("/nowhere"), 404)["code"] == "NOT_FOUND"
    assert error_of(await http.put("/jobs"), 405)["code"] == "METHOD_NOT_ALLOWED"
    assert error_of(await http.get("/jobs", params={"page_size": "many"}), 422)["field"] == "page_size"
    assert error_of(await http.get("/jobs", params={"status": "odd"}), 422)["field"] == "status"


def narrow_socket(server: Server) -> socket.socket:
    """A connection with room for little."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    narrow.connect(("127.0.0.1", server.app.http_port))
    return narrow


async def gone(writer: asyncio.StreamWriter) -> None:
    """Leaves without a word; what was not sent is dropped."""
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def head(length: str) -> bytes:
    lines = ("POST /jobs HTTP/1.1", "Host: x", "Content-Type: multipart/form-data; boundary=b", length)
    return "\r\n".join((*lines, "", "")).encode()


def tree(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.name.startswith("jobs.sqlite3")}


async def settled(server: Server, before: set[Path]) -> None:
    """Until the folder is as it was."""
    await until(lambda: tree(server.jobs_dir) == before)
