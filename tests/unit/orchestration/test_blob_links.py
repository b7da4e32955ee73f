"""Links to results: only to what the job copied, and only in the container that has it. S3 signs without a request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mismo_grpc.errors import ArtifactNotFoundError, NoSignedLinksError
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import StoredBlob
from mismo_grpc.orchestration.blob_links import BlobLinks
from mismo_grpc.storage.blobs.containers import ContainerOpener, S3Account
from mismo_grpc.storage.blobs.port import BlobStore
from tests.unit.orchestration.desk import SubmitDesk
from tests.unit.orchestration.place import NOW

NAME = "stems/bass.wav"


def bucket(name: str) -> BlobStore:
    account = S3Account(endpoint="http://127.0.0.1:1", access_key_id="id", secret_access_key="key")
    return ContainerOpener(s3=account).open(f"s3://{name}", "TEST")


async def copied(desk: SubmitDesk, container: BlobStore) -> None:
    """A job "a" with one blob in a container."""
    await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    path = f"a/{NAME}"
    blob = StoredBlob(NAME, container.uri_of(path), container.http_url_of(path), 4, "", '"1"')
    await desk.repository.record(
        desk.repository.active["a"], lambda job: replace(job, blobs=(blob,)), EventKind.UPDATED
    )


async def test_a_link_is_signed_for_what_the_job_copied(desk: SubmitDesk) -> None:
    await copied(desk, bucket("results"))
    link = await BlobLinks(desk.repository, bucket("results")).create("a", NAME, 90.0)
    assert link.url.startswith("http://127.0.0.1:1/results/a/stems/bass.wav?")
    assert "X-Amz-Expires=90" in link.url
    assert link.expires_at == NOW + 90.0


async def test_a_name_that_was_not_copied_has_no_link(desk: SubmitDesk) -> None:
    await copied(desk, bucket("results"))
    with pytest.raises(ArtifactNotFoundError) as caught:
        await BlobLinks(desk.repository, bucket("results")).create("a", "../b/stems/bass.wav", 90.0)
    assert caught.value.field == "name"


async def test_a_container_that_the_settings_name_now_has_no_links_to_the_results_of_another(
    desk: SubmitDesk,
) -> None:
    await copied(desk, bucket("results"))
    with pytest.raises(ArtifactNotFoundError, match="does not use any more"):
        await BlobLinks(desk.repository, bucket("others")).create("a", NAME, 90.0)
    with pytest.raises(NoSignedLinksError):
        await BlobLinks(desk.repository, None).create("a", NAME, 90.0)
