"""Opens the blob container and the further places that jobs may read blobs from."""

from __future__ import annotations

from dataclasses import dataclass

from mismo_grpc.executors import Executors
from mismo_grpc.settings import Settings
from mismo_grpc.storage.blobs.containers import ContainerOpener
from mismo_grpc.storage.blobs.port import BlobStore
from mismo_grpc.storage.blobs.sources import BlobSources


@dataclass(frozen=True)
class Blobs:
    """The container of the results, None if the server has none, and the sources of jobs."""

    container: BlobStore | None
    sources: BlobSources


def open_blobs(settings: Settings, executors: Executors) -> Blobs:
    """Opens both; nothing is sent yet. Raises InvalidFieldError that names the setting."""
    opener = ContainerOpener(in_thread=executors.bulk)
    container = (
        opener.open(settings.blob_container, "MISMO_BLOB_CONTAINER") if settings.blob_container else None
    )
    return Blobs(container, BlobSources([container] if container is not None else []))
