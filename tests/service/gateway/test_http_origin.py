"""Web pages of strangers: what a browser sends on their behalf is refused on every route."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mismo_grpc.gateway.application import build_application
from tests.service.conftest import Server, StartServer
from tests.service.gateway.test_gateway import client_of, error_of, request_for
from tests.support.tracks import track_bytes, write_track

ROUTES = [
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/jobs"),
    ("POST", "/jobs"),
    ("GET", "/jobs/x"),
    ("DELETE", "/jobs/x"),
    ("GET", "/jobs/x/stems"),
    ("GET", "/jobs/x/stems.zip"),
    ("GET", "/nowhere"),
]


def forbidden(response: httpx2.Response, field: str) -> dict[str, Any]:
    error = error_of(response, 403)
    assert (error["code"], error["field"]) == ("HOST_FORBIDDEN", field)
    assert "MISMO_HTTP_ALLOWED_HOSTS" in error["message"]
    return error


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/x-www-form-urlencoded"])
async def test_json_is_taken_under_its_own_name_alone(server: Server, music: Path, kind: str | None) -> None:
    content = json.dumps(request_for(write_track(music / "track.wav")))
    headers = {} if kind is None else {"Content-Type": kind}
    async with client_of(server) as http:
        error = error_of(await http.post("/jobs", content=content, headers=headers), 415)
        assert (error["code"], error["field"]) == ("UNSUPPORTED_CONTENT_TYPE", "Content-Type")
        assert "application/json" in error["message"]
        assert (await http.get("/jobs")).json()["jobs"] == []
        typed = {"Content-Type": "Application/JSON; charset=utf-8"}
        assert (await http.post("/jobs", content=content, headers=typed)).status_code == 200


async def test_a_page_that_makes_its_own_name_point_here_is_refused(server: Server) -> None:
    host = f"attacker.example:{server.app.http_port}"
    async with client_of(server) as http:
        for method, path in ROUTES:
            same_origin = {"Host": host, "Origin": f"http://{host}"}
            for headers in ({"Host": host}, same_origin):
                forbidden(await http.request(method, path, headers=headers), "Host")


async def test_a_page_of_another_origin_is_refused(server: Server, music: Path) -> None:
    write_track(music / "track.wav")
    async with client_of(server) as http:
        for origin in ("https://attacker.example", "null", "http://127.0.0.1:3000"):
            for method, path in ROUTES:
                forbidden(await http.request(method, path, headers={"Origin": origin}), "Origin")
            # What a form of a web page may send without asking first.
            form = {"data": {"track_hash": "x"}, "files": {"file": ("t.wav", track_bytes())}}
            forbidden(await http.post("/jobs", headers={"Origin": origin}, **form), "Origin")
        assert (await http.get("/jobs")).json()["jobs"] == []


async def test_pages_of_the_server_itself_and_programs_pass(server: Server, music: Path) -> None:
    asked = request_for(write_track(music / "track.wav"))
    port = server.app.http_port
    async with client_of(server) as http:
        for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "analysis:8000"):
            headers = {"Host": host, "Origin": f"http://{host}"}
            assert (await http.get("/docs", headers=headers)).status_code == 200
            assert (await http.post("/jobs", json=asked, headers=headers)).status_code == 200
            assert (await http.get("/health", headers={"Host": host})).status_code == 200


async def test_names_and_pages_that_the_operator_lists_pass(start: StartServer) -> None:
    server = await start(http_allowed_hosts=["dj.example.com", "*.svc.cluster.local"])
    async with client_of(server) as http:
        for host in ("dj.example.com", "DJ.example.com.:8000", "analysis.music.svc.cluster.local:8000"):
            assert (await http.get("/health", headers={"Host": host})).status_code == 200
        forbidden(await http.get("/health", headers={"Host": "example.com"}), "Host")
        # A proxy in front may give the server's own name in Host.
        proxied = {"Origin": "https://dj.example.com"}
        assert (await http.get("/health", headers=proxied)).status_code == 200
        forbidden(await http.get("/health", headers={"Origin": "https://attacker.example"}), "Origin")


async def test_a_star_turns_the_check_off(start: StartServer) -> None:
    server = await start(http_allowed_hosts=["*"])
    async with client_of(server) as http:
        headers = {"Host": "any.example", "Origin": "https://other.example"}
        assert (await http.get("/health", headers=headers)).status_code == 200


async def test_the_check_holds_under_another_web_server(server: Server) -> None:
    application = build_application()
    application.state.services = server.app.services
    transport = httpx2.ASGITransport(application)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        assert (await http.get("/health")).status_code == 200
        forbidden(await http.get("/health", headers={"Host": "attacker.example"}), "Host")
