"""Links with which anyone can fetch a result from the blob container for a limited time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from mismo_grpc.errors import ArtifactNotFoundError, NoSignedLinksError, check_run
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.results.blob_names import prefix_of
from mismo_grpc.storage.blobs.port import BlobStore


@dataclass(frozen=True)
class BlobLink:
    """A link; it expires at `expires_at`, seconds since the epoch."""

    url: str
    expires_at: float


class BlobLinks:
    """Makes links to the results in `container`, None if the server has none."""

    def __init__(self, repository: JobRepository, container: BlobStore | None) -> None:
        self._repository = repository
        self._container = container

    @property
    def has_container(self) -> bool:
        """Whether results are copied to a container."""
        return self._container is not None

    async def create(self, job_id: str, name: str, ttl: float, expected_run_id: str = "") -> BlobLink:
        """A link to the result of this name; it expires after `ttl` seconds.

        Raises JobNotFoundError, RunReplacedError, ArtifactNotFoundError if the job has no such blob or it is in another
        container, NoSignedLinksError.
        """
        job = await self._repository.get(job_id)
        check_run(job_id, expected_run_id, job.run_id)
        stored = {blob.name: blob for blob in job.blobs}.get(name)
        if stored is None:
            raise ArtifactNotFoundError(
                f"name: job {job_id} has no blob {name[:128]!r}; use a name in its list `blobs`", field="name"
            )
        if self._container is None:
            raise NoSignedLinksError("this server has no blob container any more; its settings name none")
        path = f"{prefix_of(job)}/{name}"
        if self._container.uri_of(path) != stored.uri:
            raise ArtifactNotFoundError(
                f"name: {name} of job {job_id} is in a container that this server does not use any more; submit the "
                "track again",
                field="name",
            )
        # Before the link is signed, so that it is valid at least as long as this says.
        expires_at = self._repository.now() + ttl
        return BlobLink(await self._container.signed_url(path, timedelta(seconds=ttl)), expires_at)
