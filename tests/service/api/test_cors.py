"""Pages of listed hosts may use every route; pages of others stay refused."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from tests.service.api.conftest import audio, client_of, ended
from tests.service.conftest import Server, StartServer
from tests.service.gateway.test_http_origin import forbidden

PAGE = "https://dj.example.com"
ROUTES = [
    "/api/info",
    "/api/jobs",
    "/health",
    "/jobs",
    "/api/status/x",
    "/jobs/x/stems.zip",
    "/nowhere",
    "/metrics",
]


@pytest.fixture
async def listed(start: StartServer, tmp_path: Path) -> Server:
    return await start(http_allowed_hosts=["dj.example.com"], jobs_dir=tmp_path / "listed")


def allowed(response: httpx2.Response) -> None:
    assert response.headers["access-control-allow-origin"] == PAGE
    assert "Origin" in response.headers["vary"]
    assert "access-control-allow-credentials" not in response.headers


async def test_a_page_of_a_listed_host_may_use_every_route(listed: Server) -> None:
    async with client_of(listed) as http:
        for path in [*ROUTES, "/socket.io/?EIO=4&transport=polling"]:
            answer = await http.get(path, headers={"Origin": PAGE})
            allowed(answer)
            exposed = answer.headers["access-control-expose-headers"]
            for name in ("ETag", "Content-Range", "Retry-After", "Content-Disposition", "Repr-Digest"):
                assert name in exposed
        answer = await http.post("/api/upload", files=audio(), headers={"Origin": PAGE})
        allowed(answer)
        status = await ended(http, answer.json()["job_id"])
        headers = {"Origin": PAGE, "Range": "bytes=0-9"}
        download = await http.get(status["links"]["download"], headers=headers)
        assert (download.status_code, len(download.content)) == (206, 10)
        allowed(download)
        refused = await http.post(
            "/api/upload", files=audio(), data={"format": "x"}, headers={"Origin": PAGE}
        )
        assert refused.status_code == 422
        allowed(refused)


async def test_preflights_are_answered_on_every_route(listed: Server) -> None:
    async with client_of(listed) as http:
        for path in ["/api/upload", "/jobs/x", "/socket.io/", "/nowhere"]:
            asks = {
                "Origin": PAGE,
                "Access-Control-Request-Method": "DELETE",
                "Access-Control-Request-Headers": "content-type, x-mine",
                "Access-Control-Request-Private-Network": "true",
            }
            answer = await http.options(path, headers=asks)
            assert answer.status_code == 204
            allowed(answer)
            assert "DELETE" in answer.headers["access-control-allow-methods"]
            assert answer.headers["access-control-allow-headers"] == "content-type, x-mine"
            assert answer.headers["access-control-allow-private-network"] == "true"


async def test_other_pages_get_no_permission(listed: Server, server: Server) -> None:
    for each in (listed, server):
        async with client_of(each) as http:
            for method, path in (("GET", "/api/info"), ("OPTIONS", "/api/upload"), ("GET", "/socket.io/")):
                asks = {"Origin": "https://attacker.example", "Access-Control-Request-Method": "POST"}
                answer = await http.request(method, path, headers=asks)
                forbidden(answer, "Origin")
                assert "access-control-allow-origin" not in answer.headers


async def test_responses_without_an_origin_say_that_they_depend_on_it(server: Server) -> None:
    async with client_of(server) as http:
        for path in ROUTES:
            answer = await http.get(path)
            assert "Origin" in answer.headers["vary"]
            assert "access-control-allow-origin" not in answer.headers
