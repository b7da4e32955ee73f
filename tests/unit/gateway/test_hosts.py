"""Which names the server answers to."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from mismo_grpc.errors import HostForbiddenError
from mismo_grpc.gateway.hosts import ServerNames


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> ServerNames:
    monkeypatch.setattr("socket.gethostname", lambda: "Studio")
    return ServerNames("mixer.example.net", ["dj.example.com", "*.internal", "192.168.7.0/24"])


def refused(names: ServerNames, **headers: str) -> str | None:
    """The header at fault."""
    try:
        names.check(Headers(headers))
    except HostForbiddenError as error:
        return error.field
    return None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.:8000",
        "stems.localhost:8000",
        "127.0.0.1:8000",
        "203.0.113.5",
        "[::1]:8000",
        "[2001:db8::1]",
        "analysis:8000",
        "mismo_analysis",
        "studio",
        "studio.local:8000",
        "mixer.example.net",
        "dj.example.com:443",
        "analysis.music.internal",
    ],
)
def test_the_names_of_the_server(names: ServerNames, host: str) -> None:
    assert refused(names, host=host) is None
    assert refused(names, host=host, origin=f"http://{host}") is None
    assert refused(names, host=host, origin="http://attacker.example") == "Origin"


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "attacker.example.:8000",
        "localhost.attacker.example",
        "127.0.0.1.attacker.example",
        "dj.example.com.attacker.example",
        "xdj.example.com",
        "internal.example",
        "attacker.local",
        "user@localhost",
        "localhost:8000@attacker.example",
        "[attacker.example]",
        "[::1",
        "::1",
        "localhost:port",
        "local host",
        "localhost/",
        "",
        ".",
    ],
)
def test_names_of_others(names: ServerNames, host: str) -> None:
    assert refused(names, host=host) == "Host"
    assert refused(names, host=host, origin=f"http://{host}") == "Host"


@pytest.mark.parametrize(
    "origin", ["http://dj.example.com:3000", "https://ui.internal", "http://192.168.7.9:3000"]
)
def test_pages_of_listed_hosts(names: ServerNames, origin: str) -> None:
    assert refused(names, host="localhost:8000", origin=origin) is None


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://localhost:3000", "http://192.168.8.9", "file://", "localhost:8000", "http://"],
)
def test_pages_of_others(names: ServerNames, origin: str) -> None:
    assert refused(names, host="localhost:8000", origin=origin) == "Origin"


def test_a_second_header_hides_nothing(names: ServerNames) -> None:
    for name in ("host", "origin"):
        pairs = [(b"host", b"localhost"), (name.encode(), b"http://attacker.example")]
        with pytest.raises(HostForbiddenError):
            names.check(Headers(raw=[*pairs, (b"origin", b"http://localhost")]))


def test_a_request_without_host_comes_from_no_browser(names: ServerNames) -> None:
    assert refused(names) is None
    assert refused(names, origin="http://localhost:8000") == "Origin"
