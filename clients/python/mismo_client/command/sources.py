"""A track on its way into a job: by its path where the server reads it, uploaded where not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from mismo.analysis.v1 import job_service_pb2
from mismo_client.client import AsyncClient
from mismo_client.errors import MismoRpcError
from mismo_client.submits import UploadedTrack

# What a server answers to a path that only this machine has.
UNREADABLE_PATH_REASONS = frozenset({"SOURCE_PATH_FORBIDDEN", "SOURCE_NOT_FOUND"})


class UploadReporter(Protocol):
    """Who is told how it goes."""

    def note(self, text: str) -> None:
        """Something a person should know."""
        ...

    def uploading(self, done: int, total: int) -> None:
        """Bytes of the track that the server has."""
        ...


async def submit_track(
    client: AsyncClient,
    track: Path,
    upload: bool,
    reporter: UploadReporter,
    submit: Callable[[Path | UploadedTrack], Awaitable[job_service_pb2.SubmitJobResponse]],
) -> job_service_pb2.SubmitJobResponse:
    """Submits the path, or the uploaded track with `upload` or where the server does not read the path.

    Raises what `submit` and `AsyncClient.upload` do.
    """
    if not upload:
        try:
            return await submit(track)
        except MismoRpcError as error:
            if error.reason not in UNREADABLE_PATH_REASONS:
                raise
            reporter.note(f"the server does not read {track} itself; uploading it")
    return await submit(await client.upload(track, on_progress=reporter.uploading))
