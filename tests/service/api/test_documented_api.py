"""Every example of docs/web-api.md has the fields, and the kinds of values, of a real response."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2

from mismo_grpc.gateway.api import incoming, live_progress, watches
from mismo_grpc.gateway.api.requests import FIELDS
from mismo_grpc.gateway.api.views import progress_view
from tests.service.api.conftest import audio, ended, status_of, uploaded
from tests.service.conftest import Server
from tests.service.workers.test_documented_bodies import shape

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "web-api.md").read_text()
INFO, ACCEPTED, REFUSED, STATUS, NOT_READY, DELETED, PROGRESS = map(
    json.loads, re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
)


def same(found: Any, documented: Any) -> None:
    """Both have the same fields, in order, and the same kinds of values where neither is null."""
    if isinstance(documented, dict):
        assert list(found) == list(documented)
        for name, value in documented.items():
            if found[name] is not None and value is not None:
                same(found[name], value)
    elif isinstance(documented, list):
        for each in found:
            same(each, documented[0])
    else:
        assert shape(found) == shape(documented)


async def test_what_the_server_can_do_is_as_documented(server: Server, http: httpx2.AsyncClient) -> None:
    found = (await http.get("/api/info")).json()
    same(found, INFO)
    assert (found["formats"], found["priorities"]) == (INFO["formats"], INFO["priorities"])
    assert found["socket_io"] == INFO["socket_io"]


async def test_an_upload_is_answered_as_documented(server: Server, http: httpx2.AsyncClient) -> None:
    server.device.close()
    answer = await http.post("/api/upload", files=audio())
    assert answer.status_code == 202
    same(answer.json(), ACCEPTED)
    assert answer.json()["message"] == ACCEPTED["message"]
    job_id = answer.json()["job_id"]
    await server.device.someone_waits()
    running = await status_of(http, job_id)
    same(running, STATUS)
    refused = await http.get(f"/api/download/{job_id}")
    expected = json.loads(json.dumps(NOT_READY).replace(ACCEPTED["job_id"], job_id))
    assert (refused.status_code, refused.json()) == (409, expected)
    jobs = server.app.jobs
    same(progress_view(jobs, jobs.view(await jobs.get(job_id))), PROGRESS)
    server.device.open()
    done = await ended(http, job_id)
    same(done, STATUS)
    assert (done["message"], done["progress"]) == (STATUS["message"], STATUS["progress"])
    deleted = await http.delete(f"/api/jobs/{job_id}")
    assert deleted.json() == DELETED | {"job_id": job_id}


async def test_a_refusal_is_as_documented(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/api/upload", files=audio(), data={"format": "ogg"})
    assert (answer.status_code, answer.json()) == (422, REFUSED)


async def test_the_list_has_the_status_of_each_job(http: httpx2.AsyncClient) -> None:
    job_id = await uploaded(http)
    await ended(http, job_id)
    (listed,) = (await http.get("/api/jobs")).json()["jobs"]
    assert listed == await status_of(http, job_id)


def test_the_limits_and_fields_are_those_of_the_code() -> None:
    for name in FIELDS:
        assert f"| `{name}` |" in PAGE
    assert f"{live_progress.MAX_CLIENTS} clients; {watches.MAX_SUBSCRIPTIONS} subscriptions" in PAGE
    assert f"messages of {incoming.MAX_MESSAGE_BYTES >> 10} KiB" in PAGE
    assert f"{incoming.MESSAGES_PER_SECOND:g} messages a" in PAGE
    assert f"after {live_progress.IDLE_SECONDS / 60:g} minutes" in PAGE
    assert f"every {watches.SHORTEST_INTERVAL_SECONDS:g} s" in PAGE
    assert f"every {50 * live_progress.POLLING_SHARE_SECONDS:g} s for 50" in PAGE
