"""The pages over HTTP: types, security headers, ETags, compression, and nothing besides the files of the package."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from importlib.resources import files

import httpx2
import pytest

from mismo_grpc.gateway.pages.assets import CONTENT_TYPES, read_assets
from mismo_grpc.gateway.pages.routes import accepts_gzip
from tests.service.conftest import Server, StartServer
from tests.service.gateway.test_gateway import client_of, error_of
from tests.support.calls import PATIENCE

PAGES = ("/", "/status", "/docs")
TOKENS = "/static/css/tokens.css"


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(server) as client:
        yield client


def policy_of(response: httpx2.Response) -> dict[str, str]:
    """The sources of each directive."""
    directives = (part.split() for part in response.headers["content-security-policy"].split(";"))
    return {name: " ".join(sources) for name, *sources in directives}


async def test_each_page_has_a_policy_that_allows_no_other_host_and_nothing_inline(
    http: httpx2.AsyncClient,
) -> None:
    own = http.base_url.netloc.decode()
    for path in PAGES:
        response = (await http.get(path)).raise_for_status()
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        policy = policy_of(response)
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["connect-src"] == f"'self' ws://{own} wss://{own}"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        sources = {source for value in policy.values() for source in value.split()}
        assert sources <= {"'none'", "'self'", "data:", "blob:", f"ws://{own}", f"wss://{own}"}
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "geolocation=()" in response.headers["permissions-policy"]
        # What the policy forbids is not there.
        assert "<style" not in response.text
        assert " style=" not in response.text
        assert "http://" not in response.text
        assert "https://" not in response.text


async def test_a_host_that_is_no_name_gets_into_no_policy(start: StartServer) -> None:
    server = await start(http_allowed_hosts=["*"])
    async with client_of(server) as http:
        for host in ("a.example; script-src *", "a.example 'unsafe-inline'", "a,b", "x/y"):
            policy = (await http.get("/status", headers={"Host": host})).headers["content-security-policy"]
            assert "connect-src 'self';" in policy
            assert host not in policy
        policy = (await http.get("/status", headers={"Host": "[::1]:8000"})).headers[
            "content-security-policy"
        ]
        assert "ws://[::1]:8000" in policy


async def test_every_file_of_the_package_is_served_with_its_type(http: httpx2.AsyncClient) -> None:
    assets = read_assets()
    assert {"index.html", "status/main.js", "docs/main.js", "css/tokens.css", "img/favicon.svg"} <= set(
        assets
    )
    for name, asset in assets.items():
        response = (await http.get(f"/static/{name}")).raise_for_status()
        assert response.content == asset.content, name
        assert response.headers["content-type"] == CONTENT_TYPES[name[name.rindex(".") :]], name
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-content-type-options"] == "nosniff"
    assert (await http.get("/static/status/main.js")).headers["content-type"].startswith("text/javascript")
    assert (await http.get("/favicon.ico")).headers["content-type"] == "image/svg+xml"


async def test_a_file_that_has_not_changed_is_not_sent_again(http: httpx2.AsyncClient) -> None:
    for coding in ("gzip", "identity"):
        first = await http.get(TOKENS, headers={"Accept-Encoding": coding})
        etag = first.headers["etag"]
        assert etag.startswith('"'), "strong"
        again = await http.get(TOKENS, headers={"Accept-Encoding": coding, "If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
        assert "content-security-policy" in again.headers
        changed = await http.get(TOKENS, headers={"Accept-Encoding": coding, "If-None-Match": '"other"'})
        assert changed.status_code == 200
    # The compressed form is another representation (RFC 9110, section 8.8.3.3).
    forms = [await http.get(TOKENS, headers={"Accept-Encoding": coding}) for coding in ("gzip", "identity")]
    assert len({form.headers["etag"] for form in forms}) == 2
    assert forms[0].content == forms[1].content
    assert all("Accept-Encoding" in form.headers["vary"] for form in forms)


async def test_text_is_compressed_once_for_those_who_take_it(http: httpx2.AsyncClient) -> None:
    plain = (await http.get(TOKENS, headers={"Accept-Encoding": "identity"})).headers
    packed = (await http.get(TOKENS, headers={"Accept-Encoding": "br, gzip"})).headers
    assert "content-encoding" not in plain
    assert packed["content-encoding"] == "gzip"
    assert int(packed["content-length"]) < int(plain["content-length"]) / 2
    asset = read_assets()["css/tokens.css"]
    first, second = await asyncio.gather(asset.gzipped(), asset.gzipped())
    assert first is second
    assert first is not None
    assert gzip.decompress(first) == asset.content


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=much", False),
        ("GZIP ; Q=0.5", True),
    ],
)
def test_accept_encoding_is_read_as_the_standard_says(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


async def test_head_has_the_headers_of_get_and_no_body(http: httpx2.AsyncClient) -> None:
    for path in (*PAGES, TOKENS, "/favicon.ico"):
        get, head = await http.get(path), await http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        same = ("content-length", "content-type", "etag", "content-security-policy", "cache-control")
        assert [head.headers.get(name) for name in same] == [get.headers.get(name) for name in same], path


@pytest.mark.parametrize(
    "path",
    [
        "/static/../application.py",
        "/static/%2e%2e/application.py",
        "/static/..%2fapplication.py",
        "/static/css/..%5c..%5capplication.py",
        "/static//etc/passwd",
        "/static/css",
        "/static/",
        "/static/css/tokens.css/",
        "/static/css/tokens.css%00.js",
        "/static/nothing.js",
        "/statusx",
    ],
)
async def test_a_path_that_is_no_file_of_the_package_finds_nothing(server: Server, path: str) -> None:
    # As it stands: clients would resolve the dots.
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()

    def ask() -> bytes:
        with socket.create_connection(("127.0.0.1", server.app.http_port), PATIENCE) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    head, _, body = (await asyncio.to_thread(ask)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b'"code":"NOT_FOUND"' in body


async def test_other_methods_are_refused_and_other_responses_are_not_guessed(
    http: httpx2.AsyncClient,
) -> None:
    for path in (*PAGES, TOKENS):
        assert error_of(await http.post(path), 405)["code"] == "METHOD_NOT_ALLOWED"
    for path in ("/jobs", "/health", "/nowhere", "/metrics"):
        assert (await http.get(path)).headers["x-content-type-options"] == "nosniff"
    refused = await http.get("/jobs", headers={"Host": "attacker.example"})
    assert (refused.status_code, refused.headers["x-content-type-options"]) == (403, "nosniff")


def test_every_file_in_the_folder_has_a_known_type() -> None:
    folder = files("mismo_grpc.gateway") / "static"
    count = 0
    pending = [folder]
    while pending:
        for entry in pending.pop().iterdir():
            if entry.is_dir():
                pending.append(entry)
            else:
                count += 1
    assert count == len(read_assets())
