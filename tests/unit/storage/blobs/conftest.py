from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from mismo_grpc.storage.blobs.containers import ContainerOpener
from mismo_grpc.storage.blobs.object_store import ObjectBlobStore
from tests.support.blob_servers import Azurite, Swift, azurite, swift

Kind = Literal["disk", "azure", "s3"]
_numbers = count()


@dataclass(frozen=True)
class Place:
    """A container of one kind; `server` is the service that has it."""

    kind: Kind
    name: str
    server: Azurite | Swift | None
    folder: Path

    def store(
        self, prefix: str = "music", address: str = "", key: str = "", timeout: float = 20
    ) -> ObjectBlobStore:
        """Opens it, perhaps through another address of the service or with another key."""
        opener = ContainerOpener(timeout=timeout)
        given = {name: value for name, value in (("address", address), ("key", key)) if value}
        match self.server:
            case Azurite():
                return replace(opener, azure=self.server.account(**given)).open(
                    f"az://{self.name}/{prefix}", "TEST"
                )
            case Swift():
                return replace(opener, s3=self.server.account(**given)).open(
                    f"s3://{self.name}/{prefix}", "TEST"
                )
            case None:
                return opener.open((self.folder / self.name).as_uri(), "TEST")

    def missing(self) -> ObjectBlobStore:
        """Opens a container that does not exist."""
        return replace(self, name=f"{self.name}-missing").store()


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory) -> Iterator[Azurite]:
    server = azurite(tmp_path_factory.mktemp("azurite"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def swift_server(tmp_path_factory) -> Iterator[Swift]:
    server = swift(tmp_path_factory.mktemp("swift"))
    yield server
    server.stop()


@pytest.fixture
def place_of(request, tmp_path) -> Callable[[Kind], Place]:
    """Makes a new container of a kind."""

    def make(kind: Kind) -> Place:
        name = f"audio-files-{next(_numbers)}"
        if kind == "disk":
            (tmp_path / name).mkdir()
            return Place(kind, name, None, tmp_path)
        server = request.getfixturevalue({"azure": "azurite_server", "s3": "swift_server"}[kind])
        server.create(name)
        return Place(kind, name, server, tmp_path)

    return make


@pytest.fixture(params=["disk", "azure", "s3"])
def place(request, place_of) -> Place:
    return place_of(request.param)


@pytest.fixture(params=["azure", "s3"])
def remote(request, place_of) -> Place:
    return place_of(request.param)


@dataclass(frozen=True)
class Track:
    path: Path
    sha256: str

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()


@pytest.fixture
def track_of(tmp_path) -> Callable[[int], Track]:
    """Makes a file of so many random bytes."""

    def make(total_bytes: int) -> Track:
        number = next(_numbers)
        path = tmp_path / f"track-{number}.wav"
        data = np.random.default_rng(number).bytes(total_bytes)
        path.write_bytes(data)
        return Track(path, hashlib.sha256(data).hexdigest())

    return make
