"""An app server's side of the workers: a container in Azurite, the connection string, a receiver of callbacks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mismo_grpc.storage.blobs.azure_account import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY
from mismo_grpc.storage.blobs.containers import ContainerOpener
from mismo_grpc.storage.blobs.object_store import ObjectBlobStore
from tests.service.conftest import Server, StartServer
from tests.support.blob_servers import Azurite, azurite
from tests.support.calls import PATIENCE
from tests.support.http import Receiver, receiver

_numbers = count()


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    server = azurite(tmp_path_factory.mktemp("azurite"))
    yield server
    server.stop()


@dataclass(frozen=True)
class AudioFiles:
    """A container of the app server, and the settings of a server that uses it."""

    azurite: Azurite
    name: str

    def connection_string(self, address: str = "", key: str = DEVELOPMENT_KEY) -> str:
        endpoint = f"http://{address or self.azurite.address}/{DEVELOPMENT_ACCOUNT}"
        return f"AccountName={DEVELOPMENT_ACCOUNT};AccountKey={key};BlobEndpoint={endpoint};"

    def settings(self, address: str = "", key: str = DEVELOPMENT_KEY) -> dict[str, Any]:
        """The settings, perhaps with another address of the service or another key."""
        return {
            "blob_container_name": self.name,
            "azure_storage_connection_string": self.connection_string(address, key),
        }

    def url(self, path: str) -> str:
        """The address of a blob as an Azure SDK gives it."""
        return f"http://{self.azurite.address}/{DEVELOPMENT_ACCOUNT}/{self.name}/{path}"

    @property
    def store(self) -> ObjectBlobStore:
        """The container for the app server's own calls."""
        return ContainerOpener(azure=self.azurite.account()).open(f"az://{self.name}", "TEST")

    async def names(self) -> list[str]:
        """All blobs of the container, sorted."""
        return sorted(blob.path for blob in await self.store.list())


@pytest.fixture
def audio_files(azurite_server: Azurite) -> AudioFiles:
    """A container of its own for each test."""
    name = f"audio-files-{next(_numbers)}"
    azurite_server.create(name)
    return AudioFiles(azurite_server, name)


@pytest.fixture
def own_files(tmp_path: Path) -> Iterator[AudioFiles]:
    """The container `audio` of a service that a test may stop and start again."""
    folder = tmp_path / "azurite"
    folder.mkdir()
    server = azurite(folder)
    server.create("audio")
    yield AudioFiles(server, "audio")
    server.stop()


@pytest.fixture
async def worker(start: StartServer, audio_files: AudioFiles) -> Server:
    """A server that serves both worker calls on the container."""
    return await start(**audio_files.settings())


@pytest.fixture
async def api() -> AsyncIterator[Receiver]:
    """The app server, which receives the callbacks."""
    async with receiver() as listening:
        yield listening


@pytest.fixture
async def http(worker: Server) -> AsyncGenerator[httpx2.AsyncClient]:
    async with client_of(worker) as client:
        yield client


def client_of(server: Server) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.app.http_port}", timeout=PATIENCE)
