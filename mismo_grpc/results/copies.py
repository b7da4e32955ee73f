"""Reads the results of finished jobs from the blob container, when the server's own files are gone.

Each blob is read in the version that the job wrote: what another job or program wrote there is never served.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from mismo_grpc.errors import (
    ArtifactNotFoundError,
    BlobChangedError,
    BlobNotFoundError,
    BlobStoreUnavailableError,
    MismoError,
)
from mismo_grpc.jobs.job import Job, StoredBlob
from mismo_grpc.results.artifacts import STEMS_JSON, STEMS_ZIP
from mismo_grpc.results.blob_names import artifact_blob, prefix_of, stem_blob
from mismo_grpc.results.documents import is_document
from mismo_grpc.results.exports.plan import is_export_zip
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.storage.blobs.block_cache import BlockCache, CachedBlob
from mismo_grpc.storage.blobs.port import BlobStore
from mismo_grpc.streaming.stem_blobs import StemBlobs

RETRY_SECONDS = 2.0
MAX_WHOLE_BYTES = 64 << 20
"""The most that is read into memory at once: 20 times the waveform of a track of an hour."""


class ResultBlob:
    """A result in the container; on the event loop only. Close it.

    Its methods raise ArtifactNotFoundError if the blob is gone or replaced, BlobError if the container cannot be read.
    """

    def __init__(self, job: Job, stored: StoredBlob, blob: CachedBlob) -> None:
        self._job = job
        self._stored = stored
        self._blob = blob
        self.total_bytes = blob.total_bytes
        self.sha256 = stored.sha256

    async def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, fewer at the end."""
        try:
            return await self._blob.read(offset, count)
        except MismoError as error:
            raise _meaning(self._job, self._stored, error) from error

    async def read_apart(self, offset: int, count: int) -> bytes:
        """The same, for a few bytes that are needed once."""
        try:
            return await self._blob.read_apart(offset, count)
        except MismoError as error:
            raise _meaning(self._job, self._stored, error) from error

    def close(self) -> None:
        """Ends the reading; can be called twice."""
        self._blob.close()


class Copies:
    """The copies of results in `container`, None if the server has none. On the event loop only."""

    def __init__(self, container: BlobStore | None) -> None:
        self._container = container
        self.cache = BlockCache(container) if container is not None else None

    def of(self, job: Job) -> dict[str, StoredBlob]:
        """What this server's container has of a job, by the name below its prefix."""
        container = self._container
        if container is None:
            return {}
        prefix = prefix_of(job)
        # The settings may name another container by now.
        return {
            blob.name: blob for blob in job.blobs if container.uri_of(f"{prefix}/{blob.name}") == blob.uri
        }

    def has_stems(self, job: Job) -> bool:
        """Whether all stems of a job were copied."""
        names = job.layout.stem_names if job.layout is not None else ()
        return bool(names) and {stem_blob(job, name) for name in names} <= self.of(job).keys()

    def open(self, job: Job, name: str) -> ResultBlob:
        """Opens a copy by its name below the job's prefix; asks the container for nothing yet.

        Raises ArtifactNotFoundError if there is none.
        """
        stored = self.of(job).get(name)
        if stored is None or self.cache is None:
            raise ArtifactNotFoundError(
                f"{name} of job {job.job_id} is neither on the server nor in its blob container; "
                "submit the track again"
            )
        path = f"{prefix_of(job)}/{name}"
        return ResultBlob(job, stored, self.cache.open(path, stored.total_bytes, stored.version))

    def open_stem(self, job: Job, stem: str) -> ResultBlob:
        """Opens the WAV file of a stem; raises as `open`."""
        return self.open(job, stem_blob(job, stem))

    async def open_stems(self, job: Job, layout: StemLayout) -> StemBlobs:
        """Opens all stems of a job for players, and checks that they are what the layout says.

        Raises ArtifactNotFoundError, BlobError.
        """
        stems = StemBlobs(layout, self.open_all(job, [stem_blob(job, name) for name in layout.stem_names]))
        try:
            await stems.check()
        except BaseException:
            stems.close()
            raise
        return stems

    def open_all(self, job: Job, names: Sequence[str]) -> list[ResultBlob]:
        """Opens several copies; raises as `open`, and leaves none open then."""
        opened: list[ResultBlob] = []
        try:
            for name in names:
                opened.append(self.open(job, name))
        except BaseException:
            for blob in opened:
                blob.close()
            raise
        return opened

    async def read_artifact(self, job: Job, artifact: str) -> bytes:
        """The whole content of a small artifact, checked by its checksum. Raises ArtifactNotFoundError, BlobError."""
        blob = self.open(job, artifact_blob(job, artifact))
        try:
            if blob.total_bytes > MAX_WHOLE_BYTES:
                raise ArtifactNotFoundError(
                    f"{artifact} of job {job.job_id} is only in the blob container and too large to be read from there "
                    f"({blob.total_bytes} bytes); download the blob"
                )
            content = await blob.read(0, blob.total_bytes)
        finally:
            blob.close()
        # Not every container has versions, and the paths in stems.json must be those that this server wrote.
        if await asyncio.to_thread(_sha256, content) != blob.sha256:
            raise ArtifactNotFoundError(
                f"the copy of {artifact} of job {job.job_id} in the blob container is damaged or was replaced; submit "
                "the track again"
            )
        return content

    async def are_complete(self, job: Job) -> bool:
        """Whether the container has every file of a job now, in the version that the job wrote; asks it for each.

        Raises BlobError if the container cannot be asked.
        """
        container, copies = self._container, self.of(job)
        if container is None or not self.has_stems(job):
            return False
        names = [
            each.name for each in job.artifacts if each.name != STEMS_ZIP and not is_export_zip(each.name)
        ]
        written = {artifact_blob(job, name) for name in names if not is_document(name)}
        if artifact_blob(job, STEMS_JSON) not in written or not written <= copies.keys():
            return False
        for stem in job.layout.stem_names if job.layout is not None else ():
            written.add(stem_blob(job, stem))
        for name in sorted(written):
            try:
                found = await container.head(f"{prefix_of(job)}/{name}")
            except BlobNotFoundError:
                return False
            stored = copies[name]
            if (found.version, found.total_bytes) != (stored.version, stored.total_bytes):
                return False
        return True


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _meaning(job: Job, stored: StoredBlob, error: MismoError) -> MismoError:
    """What an error of the container means for who reads a result."""
    if isinstance(error, BlobStoreUnavailableError):
        return BlobStoreUnavailableError(
            error.message, metadata=error.metadata, retry_after=error.retry_after or RETRY_SECONDS
        )
    what = f"{stored.name} of job {job.job_id} is not on the server any more, and its copy {stored.uri}"
    metadata = {"job_id": job.job_id, "blob": stored.name}
    if isinstance(error, BlobChangedError):
        # Azure says the same of a blob that was deleted.
        return ArtifactNotFoundError(
            f"{what} was replaced by another job or program, or deleted; submit the track again",
            metadata={**metadata, "cause": "BLOB_CHANGED"},
        )
    if isinstance(error, BlobNotFoundError):
        return ArtifactNotFoundError(
            f"{what} was deleted; submit the track again", metadata={**metadata, "cause": "BLOB_NOT_FOUND"}
        )
    return error
