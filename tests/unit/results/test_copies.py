"""Copies of results: only what the job wrote is read. The container is a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.jobs.job import Job, JobOptions, JobState, Priority, Source, SourceKind, StoredBlob
from mismo_grpc.results.copies import Copies
from mismo_grpc.storage.blobs.containers import ContainerOpener
from mismo_grpc.storage.blobs.object_store import ObjectBlobStore

NAME = "analysis/stems.json"
CONTENT = b'{"stems": []}'


@pytest.fixture
def container(tmp_path: Path) -> ObjectBlobStore:
    (tmp_path / "container").mkdir()
    return ContainerOpener().open((tmp_path / "container").as_uri(), "TEST")


async def copied(container: ObjectBlobStore, *, versioned: bool = True) -> Job:
    """A job with one copy; without `versioned` the container gave no version."""
    path = f"job/{NAME}"
    info = await container.write(path, CONTENT)
    blob = StoredBlob(
        NAME,
        container.uri_of(path),
        container.http_url_of(path),
        info.total_bytes,
        hashlib.sha256(CONTENT).hexdigest(),
        info.version if versioned else "",
    )
    return Job(
        "job",
        "5" * 32,
        1,
        JobState.SUCCEEDED,
        Priority.NORMAL,
        Source(SourceKind.NONE, ""),
        JobOptions(),
        {},
        "m",
        1.0,
        blobs=(blob,),
    )


@pytest.mark.parametrize("versioned", [True, False])
async def test_an_artifact_is_read_as_it_was_written(container: ObjectBlobStore, versioned: bool) -> None:
    job = await copied(container, versioned=versioned)
    assert await Copies(container).read_artifact(job, "stems.json") == CONTENT


@pytest.mark.parametrize("versioned", [True, False])
async def test_an_artifact_that_was_replaced_is_refused(container: ObjectBlobStore, versioned: bool) -> None:
    """Also one of the same size in a container without versions: stems.json has names of files."""
    job = await copied(container, versioned=versioned)
    await container.write(f"job/{NAME}", CONTENT[::-1])
    with pytest.raises(ArtifactNotFoundError, match="submit the track again"):
        await Copies(container).read_artifact(job, "stems.json")


async def test_a_copy_in_another_container_is_not_read(container: ObjectBlobStore, tmp_path: Path) -> None:
    job = await copied(container)
    (tmp_path / "other").mkdir()
    other = Copies(ContainerOpener().open((tmp_path / "other").as_uri(), "TEST"))
    for copies in (other, Copies(None)):
        assert copies.of(job) == {}
        with pytest.raises(ArtifactNotFoundError, match="neither on the server nor in its blob container"):
            await copies.read_artifact(job, "stems.json")
