"""A track on its way into a job: a blob by its URI; a file by its path where the server reads it, else uploaded."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

import typer

from mismo.analysis.v1 import job_service_pb2
from mismo_client.client import AsyncClient
from mismo_client.errors import MismoRpcError
from mismo_client.submits import UploadedTrack, is_blob_uri

# What a server answers to a path that only this machine has.
UNREADABLE_PATH_REASONS = frozenset({"SOURCE_PATH_FORBIDDEN", "SOURCE_NOT_FOUND"})


@dataclass(frozen=True)
class FileOrBlob:
    """A file on this machine (a Path), or the URI of a blob (a text)."""

    location: Path | str

    @property
    def file(self) -> Path | None:
        """The file; None for a blob."""
        return self.location if isinstance(self.location, Path) else None

    @property
    def name(self) -> str:
        """The last component of path or URI, as in "song.flac"."""
        if isinstance(self.location, Path):
            return self.location.name
        return PurePosixPath(unquote(urlsplit(self.location).path)).name

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return PurePosixPath(self.name).stem


def track_source(text: str) -> FileOrBlob:
    """Of an argument; raises BadParameter unless it is the URI of a blob or a file that can be read."""
    if not is_blob_uri(text):
        return FileOrBlob(_readable_file(text))
    source = FileOrBlob(text)
    try:
        name = source.name
    except ValueError:
        name = ""
    if name in {"", ".", ".."} or "\0" in name:
        raise typer.BadParameter(f"{text!r} names no blob; give one such as az://container/song.mp3")
    return source


def _readable_file(text: str) -> Path:
    path = Path(text).absolute()
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{text!r} is no path: {error}") from None
    if is_folder:
        raise typer.BadParameter(f"{text!r} is a folder; name an audio file")
    if not is_file:
        raise typer.BadParameter(f"there is no file {text!r}")
    if not os.access(path, os.R_OK):
        raise typer.BadParameter(f"the file {text!r} must not be read by this user")
    return path


def check_upload(upload: bool, *tracks: FileOrBlob) -> None:
    """Raises BadParameter if a blob is to be uploaded."""
    if upload and any(track.file is None for track in tracks):
        raise typer.BadParameter("--upload sends a file; the server reads a blob itself, leave --upload out")


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
    track: FileOrBlob,
    upload: bool,
    reporter: UploadReporter,
    submit: Callable[[str | Path | UploadedTrack], Awaitable[job_service_pb2.SubmitJobResponse]],
) -> job_service_pb2.SubmitJobResponse:
    """Submits the blob or the path, or the uploaded file with `upload` or where the server does not read the path.

    Raises what `submit` and `AsyncClient.upload` do.
    """
    if track.file is None:
        return await submit(track.location)
    if not upload:
        try:
            return await submit(track.file)
        except MismoRpcError as error:
            if error.reason not in UNREADABLE_PATH_REASONS:
                raise
            reporter.note(f"the server does not read {track.file} itself; uploading it")
    return await submit(await client.upload(track.file, on_progress=reporter.uploading))
