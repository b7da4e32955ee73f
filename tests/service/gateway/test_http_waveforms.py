"""The growing waveform over HTTP: what is final while the job runs, polls without news, what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.service.conftest import Server
from tests.support.calls import PATIENCE, until
from tests.support.tracks import RATE, write_track

STEMS = {"drums", "bass", "other", "vocals"}
URL = "/jobs/job/waveform"


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    url = f"http://127.0.0.1:{server.app.http_port}"
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        yield client


async def half_done(server: Server, music: Path) -> None:
    """A job that stands before its next segment, when some frames are final."""
    server.device.close()
    await server.client.submit(write_track(music / "a.wav", 6.0), job_id="job")
    server.device.allow(4)
    await until(lambda: server.app.repository.active["job"].job.segments_done >= 4)
    await server.device.someone_waits()


async def finished(server: Server, music: Path, length: float = 2.0) -> None:
    await server.client.submit(write_track(music / "a.wav", length), job_id="job")
    await server.client.succeeded("job")


def drawn(answer: dict[str, Any]) -> dict[str, dict[int, tuple[int, int]]]:
    """Pixels by stem; fails for ranges that touch or overlap."""
    stems: dict[str, dict[int, tuple[int, int]]] = {}
    for name, ranges in answer["stems"].items():
        pixels: dict[int, tuple[int, int]] = {}
        end = -1
        for each in ranges:
            assert each["start_pixel"] > end
            peaks = each["peaks"]
            pairs = zip(peaks[::2], peaks[1::2], strict=True)
            pixels.update(enumerate(pairs, each["start_pixel"]))
            end = each["start_pixel"] + len(peaks) // 2
        stems[name] = pixels
    return stems


def error_of(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    return response.json()["error"]


async def test_a_waveform_is_drawn_while_its_job_runs(
    server: Server, http: httpx2.AsyncClient, music: Path
) -> None:
    await half_done(server, music)
    first = await http.get(URL)
    growing = first.raise_for_status().json()
    run_id = (await server.client.get("job")).run_id
    total = -(-6 * RATE // 1024)
    assert {name: value for name, value in growing.items() if name != "stems"} == {
        "job_id": "job",
        "run_id": run_id,
        "sample_rate": RATE,
        "total_frames": 6 * RATE,
        "frames_per_pixel": 1024,
        "total_pixels": total,
        "complete": False,
    }
    before = drawn(growing)
    assert set(before) == STEMS
    assert all(0 < len(pixels) < total for pixels in before.values())

    server.device.open()
    await server.client.succeeded("job")
    done = (await http.get(URL)).raise_for_status().json()
    assert (done["complete"], done["run_id"]) == (True, run_id)
    after = drawn(done)
    for name in STEMS:
        assert before[name].items() <= after[name].items()
        artifact = (await http.get(f"/jobs/job/artifacts/waveform-{name}.json")).json()["data"]
        finest = list(zip(artifact[::2], artifact[1::2], strict=True))
        assert after[name] == {
            at // 4: (
                min(low for low, _ in finest[at : at + 4]),
                max(high for _, high in finest[at : at + 4]),
            )
            for at in range(0, len(finest), 4)
        }
    await server.nothing_is_held()


async def test_a_poll_without_news_is_answered_with_304(
    server: Server, http: httpx2.AsyncClient, music: Path
) -> None:
    await half_done(server, music)
    etag = (await http.get(URL)).headers["etag"]
    again = await http.get(URL, headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert again.headers["cache-control"] == "no-cache"
    # Another question has another answer.
    for query in ("?frames_per_pixel=2048", "?stems=bass"):
        assert (await http.get(URL + query, headers={"If-None-Match": etag})).status_code == 200
    server.device.open()
    await server.client.succeeded("job")
    done = await http.get(URL, headers={"If-None-Match": etag})
    assert (done.status_code, done.json()["complete"]) == (200, True)
    last = done.headers["etag"]
    assert last != etag
    assert (await http.get(URL, headers={"If-None-Match": f'"x", {last}'})).status_code == 304
    # Another run is news, of the same track too.
    await server.client.submit(write_track(music / "b.wav", 6.0, seed=2), job_id="job")
    await server.client.succeeded("job")
    assert (await http.get(URL, headers={"If-None-Match": last})).status_code == 200
    await server.nothing_is_held()


async def test_some_stems_may_be_asked_for(server: Server, http: httpx2.AsyncClient, music: Path) -> None:
    await finished(server, music)
    answer = (await http.get(f"{URL}?stems=vocals,bass&frames_per_pixel=256")).raise_for_status().json()
    assert list(answer["stems"]) == ["vocals", "bass"]
    assert (answer["frames_per_pixel"], answer["total_pixels"]) == (256, -(-2 * RATE // 256))


async def test_an_answer_that_would_be_too_large_is_refused_with_what_fits(
    server: Server, http: httpx2.AsyncClient, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mismo_grpc.gateway.waveforms.MAX_BODY_BYTES", 4_000)
    await half_done(server, music)
    error = error_of(await http.get(f"{URL}?frames_per_pixel=256"), 422)
    assert (error["code"], error["field"]) == ("INVALID_FIELD", "frames_per_pixel")
    fits = int(error["message"].split("; use ")[1].split()[0])
    assert fits % 256 == 0
    error_of(await http.get(f"{URL}?frames_per_pixel={fits - 256}"), 422)
    server.device.open()
    await server.client.succeeded("job")
    answer = await http.get(f"{URL}?frames_per_pixel={fits}")
    assert answer.json()["complete"]
    # The frame of the answer and of its four ranges comes on top.
    assert len(answer.content) < 4_000 + 500
    assert (await http.get(f"{URL}?frames_per_pixel={-(-fits // 1024) * 256}&stems=bass")).status_code == 200


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("?frames_per_pixel=100", 422, "INVALID_FIELD", "frames_per_pixel"),
        ("?frames_per_pixel=-256", 422, "INVALID_FIELD", "frames_per_pixel"),
        ("?frames_per_pixel=x", 422, "INVALID_FIELD", "frames_per_pixel"),
        ("?frames_per_pixel=1048832", 422, "INVALID_FIELD", "frames_per_pixel"),
        ("?stems=flute", 404, "STEM_NOT_FOUND", "stems"),
        ("?stems=bass,", 404, "STEM_NOT_FOUND", "stems"),
        ("?stems=bass,bass", 422, "INVALID_FIELD", "stems"),
    ],
)
async def test_what_is_wrong_with_a_request(
    server: Server, http: httpx2.AsyncClient, music: Path, query: str, status: int, code: str, field: str
) -> None:
    await finished(server, music, 1.0)
    error = error_of(await http.get(URL + query), status)
    assert (error["code"], error["field"]) == (code, field)
    await server.nothing_is_held()


async def test_a_job_that_has_no_waveform(server: Server, http: httpx2.AsyncClient, music: Path) -> None:
    assert error_of(await http.get("/jobs/nobody/waveform"), 404)["code"] == "JOB_NOT_FOUND"
    server.hold_decoders()
    await server.client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    error = error_of(await http.get(URL), 409)
    assert (error["code"], error["retryable"]) == ("JOB_NOT_READY", False)
    assert "ask again later" in error["message"]
    server.release_decoders()
    await server.client.succeeded("job")
    await server.idle()
    for path in server.folder("job").glob("waveform-*.dat"):
        path.unlink()
    assert error_of(await http.get(URL), 404)["code"] == "ARTIFACT_NOT_FOUND"
    await server.client.submit(write_track(music / "b.wav", 3.0, seed=2), job_id="cancelled")
    await server.client.cancel("cancelled")
    error_of(await http.get("/jobs/cancelled/waveform"), 409)
    await server.nothing_is_held()


async def test_the_documentation_has_it(http: httpx2.AsyncClient) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]
    described = paths["/jobs/{job_id}/waveform"]["get"]
    assert {"200", "304", "404", "409", "4XX"} <= set(described["responses"])
    assert {each["name"] for each in described["parameters"]} == {"job_id", "stems", "frames_per_pixel"}
    content = described["responses"]["200"]["content"]["application/json"]
    assert set(content["schema"]["properties"]) == set(content["example"])
