"""The REST API of the Demucs web server: upload, status, download, list, cancel, and everything clients get wrong."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import re
import shutil
import uuid
import wave
import zipfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mismo_grpc.gateway.api import routes
from tests.service.api.conftest import audio, client_of, ended, status_of, uploaded
from tests.service.conftest import Server, StartServer
from tests.service.gateway.test_gateway import error_of
from tests.support.calls import PATIENCE
from tests.support.process import ServerProcess
from tests.support.tracks import track_bytes
from tests.unit.separation.bags import tiny_htdemucs, write_safetensors_bag

STEMS = ("drums", "bass", "other", "vocals")


def names_in(content: bytes) -> dict[str, bytes]:
    """The files of a ZIP, which is checked."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_a_track_goes_the_whole_way(server: Server, http: httpx2.AsyncClient) -> None:
    before = (await http.get("/api/info")).json()["jobs"]
    assert (before["queued"], before["processing"]) == (0, 0)
    answer = await http.post("/api/upload", files=audio(name="My Song.wav"), data={"stems": "all"})
    assert answer.status_code == 202
    accepted = answer.json()
    job_id = accepted["job_id"]
    assert str(uuid.UUID(job_id)) == job_id
    assert (accepted["status"], accepted["filename"], accepted["format"]) == ("queued", "My Song.wav", "wav")
    assert accepted["message"]
    status = await ended(http, job_id)
    assert (status["status"], status["progress"], status["error"]) == ("completed", 100, None)
    assert sorted(status["stems"]) == sorted(STEMS)
    assert status["segments_done"] == status["segments_total"] > 0
    assert status["links"]["download"] == f"/api/download/{job_id}"
    answer = await http.get(status["links"]["download"])
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="My Song - stems.zip"'
    files = names_in(answer.content)
    for stem in STEMS:
        content = files[f"{stem}.wav"]
        assert content == (server.stems(job_id) / f"{stem}.wav").read_bytes()
        with wave.open(io.BytesIO(content)) as file:
            assert (file.getframerate(), file.getnchannels()) == (44100, 2)
    assert [job["job_id"] for job in (await http.get("/api/jobs")).json()["jobs"]] == [job_id]
    # The same job as over gRPC.
    job = await server.client.get(job_id)
    assert dict(job.labels) == {"filename": "My Song.wav"}


async def test_one_stem_is_alone_in_the_archive(http: httpx2.AsyncClient) -> None:
    for asked, names in (("vocals", ["vocals"]), ("bass, Drums", ["drums", "bass"])):
        job_id = await uploaded(http, stems=asked)
        assert (await ended(http, job_id))["stems"] == names
        files = names_in((await http.get(f"/api/download/{job_id}")).content)
        assert {name.removesuffix(".wav") for name in files if name.endswith(".wav")} == set(names)


@pytest.mark.parametrize(("name", "magic"), [("mp3", (b"ID3", b"\xff\xfb")), ("flac", (b"fLaC",))])
async def test_stems_come_in_the_format_that_was_asked_for(
    http: httpx2.AsyncClient, name: str, magic: tuple[bytes, ...]
) -> None:
    job_id = await uploaded(http, format=name.upper(), stems="vocals, drums")
    status = await ended(http, job_id)
    assert (status["status"], status["format"]) == ("completed", name)
    files = names_in((await http.get(f"/api/download/{job_id}")).content)
    assert {"drums." + name, "vocals." + name} <= set(files)
    assert not [each for each in files if each.endswith(".wav")]
    assert all(files[f"{stem}.{name}"].startswith(magic) for stem in ("drums", "vocals"))


async def test_downloads_continue_with_ranges_and_etags(http: httpx2.AsyncClient) -> None:
    path = f"/api/download/{await _done(http)}"
    whole = await http.get(path)
    etag = whole.headers["etag"]
    half = len(whole.content) // 2
    rest = await http.get(path, headers={"Range": f"bytes={half}-", "If-Range": etag})
    assert (rest.status_code, rest.content) == (206, whole.content[half:])
    assert (await http.get(path, headers={"If-None-Match": etag})).status_code == 304
    head = await http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    beyond = await http.get(path, headers={"Range": f"bytes={len(whole.content)}-"})
    assert error_of(beyond, 416)["code"] == "RANGE_NOT_SATISFIABLE"


async def _done(http: httpx2.AsyncClient, **fields: Any) -> str:
    job_id = await uploaded(http, **fields)
    assert (await ended(http, job_id))["status"] == "completed"
    return job_id


async def test_a_download_before_the_end_is_a_conflict_with_the_status(
    server: Server, http: httpx2.AsyncClient
) -> None:
    server.device.close()
    job_id = await uploaded(http)
    await server.device.someone_waits()
    error = error_of(await http.get(f"/api/download/{job_id}"), 409)
    assert error["code"] == "JOB_NOT_READY"
    assert error["metadata"] == {"job_id": job_id, "status": "processing"}
    assert (await status_of(http, job_id))["links"]["download"] is None
    cancelled = (await http.post(f"/api/cancel/{job_id}")).json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["progress"] < 100
    server.device.open()
    error = error_of(await http.get(f"/api/download/{job_id}"), 409)
    assert "cancelled" in error["message"]
    assert (await http.post(f"/api/cancel/{job_id}")).json()["status"] == "cancelled"


async def test_deleting_removes_the_job_and_its_files(server: Server, http: httpx2.AsyncClient) -> None:
    job_id = await _done(http)
    assert (await http.delete(f"/api/jobs/{job_id}")).json() == {"job_id": job_id, "status": "deleted"}
    assert not server.folder(job_id).exists()
    for method, path in (
        ("GET", f"/api/status/{job_id}"),
        ("GET", f"/api/download/{job_id}"),
        ("POST", f"/api/cancel/{job_id}"),
        ("DELETE", f"/api/jobs/{job_id}"),
    ):
        assert error_of(await http.request(method, path), 404)["code"] == "JOB_NOT_FOUND"


async def test_progress_moves_with_each_segment_and_is_100_at_the_end_alone(
    server: Server, http: httpx2.AsyncClient
) -> None:
    server.device.close()
    job_id = await uploaded(http, 3.0)
    await server.device.someone_waits()
    seen = [await status_of(http, job_id)]
    while seen[-1]["status"] == "processing":
        server.device.allow(1)
        done, now = seen[-1]["segments_done"], seen[-1]
        async with asyncio.timeout(PATIENCE):
            for _ in itertools.count():
                now = await status_of(http, job_id)
                if now["status"] != "processing" or now["segments_done"] != done:
                    break
                await asyncio.sleep(0.005)
        seen.append(now)
    figures = [each["progress"] for each in seen]
    assert len(figures) > seen[-1]["segments_total"] > 3
    assert figures == sorted(figures)
    # Each segment moves it.
    by_segments = {each["segments_done"]: each["progress"] for each in seen}
    assert len(set(by_segments.values())) == len(by_segments)
    assert all(figure < 100 for figure in figures[:-1])
    assert (seen[-1]["status"], figures[-1]) == ("completed", 100)


async def test_lost_work_does_not_take_progress_back(process: ServerProcess) -> None:
    """After a power cut finished segments may have to be made again."""

    async def statuses(job_id: str, until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        port = json.loads(process.ready_file.read_bytes())["http_port"]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
            seen = [await status_of(http, job_id)]
            async with asyncio.timeout(PATIENCE):
                while not until(seen[-1]):
                    seen.append(await status_of(http, job_id))
            return seen

    client = await process.start()
    port = json.loads(process.ready_file.read_bytes())["http_port"]
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
        job_id = await uploaded(http, 20.0)
    before = await statuses(job_id, lambda status: status["segments_done"] > 5)
    process.kill()
    await client.close()
    (work,) = (process.jobs_dir / ".mismo" / "runs").glob("*/work")
    shutil.rmtree(work)
    client = await process.start()
    after = await statuses(job_id, lambda status: status["status"] == "completed")
    await client.close()
    figures = [status["progress"] for status in before + after]
    assert figures == sorted(figures)
    assert min(status["segments_done"] for status in after) < before[-1]["segments_done"]


async def test_jobs_are_listed_newest_first_in_bounded_pages(http: httpx2.AsyncClient) -> None:
    ids = [await uploaded(http, 1.0, seed=seed) for seed in range(3)]
    first = (await http.get("/api/jobs", params={"limit": 2})).json()
    second = (await http.get("/api/jobs", params={"limit": 2, "page_token": first["next_page_token"]})).json()
    assert [job["job_id"] for job in first["jobs"] + second["jobs"]] == ids[::-1]
    assert second["next_page_token"] == ""
    for wrong in (0, 101, "x"):
        assert error_of(await http.get("/api/jobs", params={"limit": wrong}), 422)["field"] == "limit"
    assert error_of(await http.get("/api/jobs", params={"page_token": "x"}), 422)["field"] == "page_token"


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"model": "htdemucs_x"}, "model", "htdemucs, "),
        ({"model": "../tiny"}, "model", "tiny"),
        ({"stems": "guitar"}, "stems", "drums, bass, other, vocals"),
        ({"stems": "vocals,vocals"}, "stems", "twice"),
        ({"stems": "vocals,,bass"}, "stems", "drums, bass, other, vocals"),
        ({"format": "ogg"}, "format", "wav"),
        ({"priority": "urgent"}, "priority", "high"),
        ({"colour": "red"}, "colour", "audio_file"),
    ],
)
async def test_a_wrong_field_is_named_with_its_choices(
    http: httpx2.AsyncClient, server: Server, fields: dict[str, str], field: str, says: str
) -> None:
    error = error_of(await http.post("/api/upload", files=audio(), data=fields), 422)
    assert error["field"] == field
    assert says in error["message"]
    assert (await http.get("/api/jobs")).json()["jobs"] == []
    assert not list((server.jobs_dir / ".mismo" / "uploads").iterdir())


async def test_a_model_without_weights_says_how_to_install_it(http: httpx2.AsyncClient) -> None:
    error = error_of(await http.post("/api/upload", files=audio(), data={"model": "htdemucs_ft"}), 409)
    assert (error["code"], error["field"]) == ("MODEL_UNAVAILABLE", "model")
    assert "MISMO_MODEL_DIRS" in error["message"]
    assert "Available now: tiny" in error["message"]
    (model,) = [m for m in (await http.get("/api/info")).json()["models"] if m["name"] == "htdemucs_ft"]
    assert (model["available"], model["stems"]) == (False, list(STEMS))
    assert "MISMO_MODEL_DIRS" in model["reason"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"These are words, not music.\n" * 100, 415, "UNSUPPORTED_AUDIO"),
        (b"%PDF-1.7\n" + bytes(2000), 415, "UNSUPPORTED_AUDIO"),
        (b"MZ" + bytes(2000), 415, "UNSUPPORTED_AUDIO"),
        (b"", 422, "EMPTY_AUDIO"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"text " * 400, 415, "UNSUPPORTED_AUDIO"),
        (b"fLaC" + bytes(2000), 422, "CORRUPT_AUDIO"),
    ],
)
async def test_the_content_decides_whether_a_file_is_audio(
    http: httpx2.AsyncClient, server: Server, content: bytes, status: int, code: str
) -> None:
    answer = await http.post("/api/upload", files={"audio_file": ("song.mp3", content, "audio/mpeg")})
    error = error_of(answer, status)
    assert (error["code"], error["field"]) == (code, "audio_file")
    assert "source" not in error["message"]
    assert "header" not in error["message"]
    assert (await http.get("/api/jobs")).json()["jobs"] == []
    assert not list((server.jobs_dir / ".mismo" / "uploads").iterdir())


async def test_an_upload_is_cut_off_at_the_limit(start: StartServer) -> None:
    server = await start(max_upload_bytes=1 << 20)
    async with client_of(server) as http:

        async def long() -> AsyncGenerator[bytes]:
            yield (
                b'--b\r\nContent-Disposition: form-data; name="audio_file"; filename="a.wav"\r\n'
                b"Content-Type: audio/wav\r\n\r\n"
            )
            for _ in range(320):
                yield bytes(64 << 10)

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await http.post("/api/upload", content=long(), headers=headers)
        error = error_of(answer, 413)
        assert (error["code"], error["field"]) == ("UPLOAD_TOO_LARGE", "audio_file")
        assert "MAX_UPLOAD_SIZE" in error["message"]
        assert not list((server.jobs_dir / ".mismo" / "incoming").iterdir())
        # One that says its length at once is refused before it is sent.
        announced = {**headers, "Content-Length": str(10 << 20)}
        reader, writer = await asyncio.open_connection("127.0.0.1", server.app.http_port)
        lines = [f"{name}: {value}" for name, value in {"Host": "localhost", **announced}.items()]
        writer.write(("POST /api/upload HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
        assert (await reader.readline()).split()[1] == b"413"
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        assert (await http.get("/api/info")).json()["max_upload_bytes"] == 1 << 20


@pytest.mark.parametrize(
    ("given", "shown", "saved"),
    [
        ("../../etc/passwd", "passwd", 'filename="passwd - stems.zip"'),
        ("..\\..\\boot.ini.mp3", "boot.ini.mp3", 'filename="boot.ini - stems.zip"'),
        (
            "Björk – Jóga.mp3",
            "Björk – Jóga.mp3",
            "filename*=UTF-8''Bj%C3%B6rk%20%E2%80%93%20J%C3%B3ga%20-%20stems.zip",
        ),
        ("gpj.\u202e3pm.exe", "gpj.3pm.exe", 'filename="gpj.3pm - stems.zip"'),
        (".", "track", 'filename="track - stems.zip"'),
        ("50% & <b>.wav", "50% & <b>.wav", "filename*=UTF-8''50%25%20%26%20%3Cb%3E%20-%20stems.zip"),
    ],
)
async def test_filenames_are_made_safe(
    server: Server, http: httpx2.AsyncClient, given: str, shown: str, saved: str
) -> None:
    # As curl sends it, which quotes nothing but quotation marks.
    body = (
        f'--b\r\nContent-Disposition: form-data; name="audio_file"; filename="{given}"\r\n\r\n'.encode()
        + track_bytes(1.0)
        + b"\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await http.post("/api/upload", content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.json()["filename"] == shown
    status = await ended(http, answer.json()["job_id"])
    assert status["filename"] == shown
    download = await http.get(status["links"]["download"])
    assert saved in download.headers["content-disposition"]
    # The name is nowhere on the disk.
    assert not [path for path in server.jobs_dir.rglob("*") if shown in path.name and shown != "track"]


async def test_other_bodies_than_a_form_with_a_file_are_refused(http: httpx2.AsyncClient) -> None:
    error = error_of(await http.post("/api/upload", json={"audio_file": "x"}), 415)
    assert error["field"] == "Content-Type"
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    error = error_of(
        await http.post(
            "/api/upload",
            content=b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny\r\n--b--\r\n',
            headers=form,
        ),
        422,
    )
    assert (error["field"], "missing" in error["message"]) == ("audio_file", True)
    assert (
        error_of(await http.post("/api/upload", content=b"--b\r\n", headers=form), 400)["code"]
        == "INVALID_REQUEST"
    )
    twice = [("audio_file", ("a.wav", track_bytes())), ("audio_file", ("b.wav", track_bytes()))]
    assert error_of(await http.post("/api/upload", files=twice), 422)["field"] == "audio_file"


@pytest.mark.parametrize("job_id", ["nothing", "..%2F..%2Fetc", "%00", "x" * 500, "\u00e9"])
async def test_ids_of_no_job_are_not_found(http: httpx2.AsyncClient, job_id: str) -> None:
    for path in ("status", "download"):
        answer = await http.get(f"/api/{path}/{job_id}")
        assert answer.status_code == 404, answer.text


async def test_the_seed_s_curl_commands_work_as_they_are_written(start: StartServer, tmp_path: Path) -> None:
    """The commands of the Demucs web server's own page, on another port."""
    models = tmp_path / "named"
    models.mkdir()
    write_safetensors_bag(models, "htdemucs_ft", [tiny_htdemucs(1)])
    server = await start(model_dirs=[models], model="htdemucs_ft")
    (tmp_path / "test.mp3").write_bytes(track_bytes())

    async def curl(command: str) -> bytes:
        line = re.sub(r"\\\n\s*", "", command).replace("localhost:8080", f"localhost:{server.app.http_port}")
        process = await asyncio.create_subprocess_shell(
            line.replace("curl ", "curl -sS -4 ", 1),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "no_proxy": "*"},
        )
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == 0
        return out

    assert json.loads(await curl("curl http://localhost:8080/health"))["status"] == "ok"
    assert "htdemucs_ft" in [
        m["name"] for m in json.loads(await curl("curl http://localhost:8080/api/info"))["models"]
    ]
    accepted = json.loads(
        await curl(
            """curl -X POST http://localhost:8080/api/upload \\
  -F "audio_file=@test.mp3" \\
  -F "model=htdemucs_ft"
"""
        )
    )
    job_id = accepted["job_id"]
    async with client_of(server) as http:
        await ended(http, job_id)
    assert json.loads(await curl(f"curl http://localhost:8080/api/status/{job_id}"))["status"] == "completed"
    await curl(f"curl -O http://localhost:8080/api/download/{job_id}")
    assert {f"{stem}.wav" for stem in STEMS} <= set(names_in((tmp_path / job_id).read_bytes()))


def test_pages_of_lists_are_bounded() -> None:
    assert routes.PAGE <= routes.MAX_PAGE == 100
