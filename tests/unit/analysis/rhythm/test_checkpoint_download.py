"""The download of beat_this' checkpoint: from a real server, whole or not at all."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mismo_grpc.analysis.rhythm import checkpoint_download
from mismo_grpc.analysis.rhythm.beat_this_tracker import find_checkpoint
from mismo_grpc.analysis.rhythm.checkpoint_download import download_checkpoint


def archive() -> bytes:
    """A checkpoint is a ZIP archive."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as file:
        file.writestr("data.pkl", b"5" * 3_000_000)
    return memory.getvalue()


CHECKPOINT = archive()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        content = {"/checkpoint": CHECKPOINT, "/cut": CHECKPOINT, "/page": b"<html>"}[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path == "/cut" else content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name of the base class)
        """Nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def test_the_checkpoint_is_then_found_in_the_cache(server: str, cache: Path) -> None:
    assert find_checkpoint(()) is None
    path = download_checkpoint(pytest.fail, url=f"{server}/checkpoint")
    assert path == find_checkpoint(())
    assert path is not None
    assert path.read_bytes() == CHECKPOINT
    assert list(cache.iterdir()) == [path]


@pytest.mark.parametrize("name", ["missing", "cut", "page"])
def test_what_is_no_whole_checkpoint_leaves_nothing(server: str, cache: Path, name: str) -> None:
    reports: list[str] = []
    assert download_checkpoint(reports.append, url=f"{server}/{name}") is None
    assert "could not be downloaded" in reports[0]
    assert list(cache.iterdir()) == []
    assert find_checkpoint(()) is None


def test_a_file_without_end_is_given_up(server: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_download, "MAX_BYTES", 1000)
    reports: list[str] = []
    assert download_checkpoint(reports.append, url=f"{server}/checkpoint") is None
    assert list(cache.iterdir()) == []


def test_a_server_that_cannot_be_reached_is_reported(server: str, cache: Path) -> None:
    reports: list[str] = []
    assert download_checkpoint(reports.append, url="http://127.0.0.1:1/checkpoint") is None
    assert len(reports) == 1


def test_a_cache_that_cannot_be_written_is_reported(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    reports: list[str] = []
    assert download_checkpoint(reports.append, url=f"{server}/checkpoint") is None
    assert len(reports) == 1
