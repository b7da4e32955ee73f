from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

import pytest

from mismo_grpc.errors import (
    BlobNotFoundError,
    BlobStoreUnavailableError,
    BlobUriForbiddenError,
    InvalidFieldError,
    UploadTooLargeError,
)
from mismo_grpc.storage.blobs.azure_account import DEVELOPMENT_KEY, AzureAccount
from mismo_grpc.storage.blobs.containers import RETRIES, ContainerOpener, S3Account
from mismo_grpc.storage.blobs.sources import BlobSources

AZURE = AzureAccount("devstoreaccount1", "http://azurite:10000/devstoreaccount1", DEVELOPMENT_KEY)
OPENER = ContainerOpener(azure=AZURE, s3=S3Account("eu-west-1", "", "key", "secret"))
TRACK = b"not really audio " * 300_000


def sources(*uris: str) -> BlobSources:
    return BlobSources([OPENER.open(uri, "TEST") for uri in uris])


@pytest.mark.parametrize(
    ("place", "uri", "path"),
    [
        ("az://audio-files", "az://audio-files/test.mp3", "test.mp3"),
        ("az://audio-files", "http://azurite:10000/devstoreaccount1/audio-files/test.mp3", "test.mp3"),
        ("az://audio-files", "HTTP://AZURITE:10000/devstoreaccount1/audio-files/a/b.mp3", "a/b.mp3"),
        ("az://audio-files/in", "az://audio-files/in/a.mp3", "a.mp3"),
        ("az://audio-files/a b", "az://audio-files/a%20b/c.mp3", "c.mp3"),
        ("az://audio-files", "az://audio-files/100%25/%2541.mp3", "100%/%41.mp3"),
        ("az://audio-files", "az://audio-files/a b+c.mp3", "a b+c.mp3"),
        ("s3://music", "s3://music/a.mp3", "a.mp3"),
        ("s3://music", "https://s3.eu-west-1.amazonaws.com/music/a.mp3", "a.mp3"),
        ("s3://music", "https://music.s3.eu-west-1.amazonaws.com/a.mp3", "a.mp3"),
        ("https://cdn.example.com/tracks", "https://cdn.example.com:443/tracks/a.mp3", "a.mp3"),
        ("file:///srv/blobs", "file:///srv/blobs/a/b.wav", "a/b.wav"),
        ("file:///srv/blobs", "file://localhost/srv/blobs/b.wav", "b.wav"),
    ],
)
def test_a_blob_is_found_by_each_address_of_its_container(place, uri, path):
    known = sources("s3://other", place)
    store, found = known.locate(uri)
    assert store.uri == place.replace(" ", "%20")
    assert found == path


@pytest.mark.parametrize(
    "uri",
    [
        "az://other/test.mp3",
        "az://audio-files-2/test.mp3",
        "az://audio-files/inside.mp3",
        "az://audio-files/out/a.mp3",
        "http://azurite:10001/devstoreaccount1/audio-files/in/a.mp3",
        "https://azurite:10000/devstoreaccount1/audio-files/in/a.mp3",
        "http://azurite:10000/devstoreaccount2/audio-files/in/a.mp3",
        "http://169.254.169.254/latest/meta-data",
        "s3://audio-files/in/a.mp3",
        "gs://audio-files/in/a.mp3",
    ],
)
def test_a_blob_elsewhere_is_refused(uri):
    with pytest.raises(BlobUriForbiddenError, match="MISMO_BLOB_SOURCES") as caught:
        sources("az://audio-files/in").locate(uri)
    assert caught.value.field == "source.blob_uri"


def test_a_server_without_containers_says_so():
    with pytest.raises(
        BlobUriForbiddenError, match="this server has no blob container; set MISMO_BLOB_CONTAINER"
    ):
        sources().locate("az://audio-files/a.mp3")


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "file:///srv/blobs2/a", "file:///srv"])
def test_a_file_is_refused_with_the_way_that_there_is_for_files(uri):
    with pytest.raises(BlobUriForbiddenError, match="copy it to the container, or submit its path"):
        sources("file:///srv/blobs").locate(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "test.mp3",
        "/srv/test.mp3",
        "az:audio-files/a.mp3",
        "az://audio-files",
        "az://audio-files/",
        "az://audio-files/a/../../secret",
        "az://audio-files/a/%2e%2e/b",
        "az://audio-files/a//b",
        "az://audio-files/a/",
        "az://audio-files/a%2Fb",
        "az://audio-files/a%5Cb",
        "az://audio-files/a%00b",
        "az://audio-files/a%0Ab",
        "az://audio-files/%FF",
        "az://audio-files/a\nb",
        "az://audio-files/a.mp3?sig=secret",
        "az://audio-files/a.mp3?",
        "az://audio-files/a.mp3#t=1",
        "az://user:password@audio-files/a.mp3",
        "http://azurite:99999/devstoreaccount1/audio-files/a.mp3",
        "http://[azurite/devstoreaccount1/audio-files/a.mp3",
        "az://audio-files/" + "a" * 5000,
        "az://audio-files/" + "%61" * 1100,
    ],
)
def test_a_malformed_uri_is_refused_by_its_field_and_without_its_secrets(uri):
    with pytest.raises(InvalidFieldError, match=r"source\.blob_uri") as caught:
        sources("az://audio-files").locate(uri)
    assert caught.value.field == "source.blob_uri"
    assert "secret" not in caught.value.message.replace("../../secret", "")
    assert "password@" not in caught.value.message


class _Files(http.server.BaseHTTPRequestHandler):
    """A web server that knows neither ranges nor versions; it first gives each status of `failures`."""

    failures: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        if self.failures:
            self.send_response(self.failures.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        found = self.path == "/tracks/a%20b.mp3"
        self.send_response(200 if found else 404)
        body = TRACK if found else b""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # A client may leave early.
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_request(self, code: int | str = 0, size: int | str = 0) -> None:
        pass


@pytest.fixture
def web_server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        _Files.failures = []
        yield f"http://127.0.0.1:{server.server_port}/tracks"
        server.shutdown()
        thread.join()


async def test_a_plain_web_server_is_read_in_one_stream(web_server, tmp_path):
    store, path = sources(web_server).locate(f"{web_server}/a%20b.mp3")
    progress: list[int] = []
    got = await store.download(path, tmp_path / "target", progress=progress.append)
    assert (tmp_path / "target").read_bytes() == TRACK
    assert (got.total_bytes, got.sha256, got.version) == (len(TRACK), hashlib.sha256(TRACK).hexdigest(), "")
    assert len(progress) > 1
    with pytest.raises(UploadTooLargeError):
        await store.download(path, tmp_path / "other", max_bytes=1000)
    with pytest.raises(BlobNotFoundError):
        await store.download("none.mp3", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_service_is_asked_again_a_few_times(web_server, tmp_path, status):
    store, path = sources(web_server).locate(f"{web_server}/a%20b.mp3")
    _Files.failures = [status, status]
    assert (await store.download(path, tmp_path / "target")).total_bytes == len(TRACK)
    _Files.failures = [status] * 50
    with pytest.raises(BlobStoreUnavailableError, match=f"HTTP status {status}"):
        await store.download(path, tmp_path / "target")
    assert len(_Files.failures) == 50 - 1 - RETRIES
