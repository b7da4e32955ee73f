"""Tracks on their way in: taken up again after a broken stream, a restart of the server, a power cut.

One file an upload, named by its id; its size is what is committed. A chunk is acknowledged once it is
written, which a killed process survives. The file is forced out to the disk whenever it passes a multiple of
SYNC_BYTES and at the end, and its row knows the boot it was last written in: after another boot only what was
surely forced out counts, and the client goes on from there, as always. A row that says complete comes after the
file and its name are on the disk.

Every step runs in a thread and holds the upload's lock there, so a client that vanishes (a cancelled call)
never leaves a step half done.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from mismo_grpc.errors import (
    StreamProtocolError,
    TooManyStreamsError,
    UploadChecksumError,
    UploadNotFoundError,
)
from mismo_grpc.executors import InThread
from mismo_grpc.storage.boot import boot_id
from mismo_grpc.storage.disk import Disk, disk_errors, link_or_copy, sync
from mismo_grpc.uploads.checks import (
    check_all_there,
    check_chunk,
    check_header,
    check_same_file,
    source_incomplete,
    upload_not_found,
)
from mismo_grpc.uploads.record import UploadRow, UploadStore
from mismo_grpc.uploads.registry import Upload, UploadRegistry


@dataclass(frozen=True)
class UploadStatus:
    """How far an upload is, in bytes; `sha256` is of its content, "" until complete.

    `writer` stands for one opening of an unfinished one: only the latest may write, see `Uploads.write`.
    """

    upload_id: str
    committed_bytes: int
    total_bytes: int
    complete: bool
    sha256: str
    writer: int = 0


class Uploads:
    """All uploads below the folder `root`, which is made if need be; sizes in bytes, durations in seconds.

    An unfinished upload is removed when idle for `idle_seconds`, a complete one `keep_seconds` after it was
    finished or last opened, but not while it is held. `max_unfinished` bounds how many may be under way; one of
    which nothing came, and which is in no stream, gives way to a new one.
    """

    def __init__(
        self,
        root: Path,
        store: UploadStore,
        disk: Disk,
        *,
        max_upload_bytes: int,
        idle_seconds: float,
        keep_seconds: float,
        reserve_bytes: int = 0,
        max_unfinished: int = 1024,
        new_id: Callable[[], str] = lambda: secrets.token_urlsafe(24),
        in_thread: InThread = asyncio.to_thread,
        checksum: InThread = asyncio.to_thread,
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._store = store
        self._disk = disk
        self._max_upload_bytes = max_upload_bytes
        self._reserve_bytes = reserve_bytes
        self._max_unfinished = max_unfinished
        self._new_id = new_id
        self._in_thread = in_thread
        # After a restart what came before is read for its hash.
        self._checksum = checksum
        self._boot = boot_id()
        self._registry = UploadRegistry(
            root, store, boot=self._boot, idle_seconds=idle_seconds, keep_seconds=keep_seconds
        )
        self._admitting = threading.Lock()

    async def open(
        self, upload_id: str, filename: str, total_bytes: int, sha256: str, now: float
    ) -> UploadStatus:
        """Begins an upload (no id), or goes on with one; a known `sha256` ("": unknown) is complete at once.

        The caller becomes the upload's writer until `leave`, an earlier one is refused from now on. Raises
        InvalidFieldError, EmptyAudioError, UploadTooLargeError, UploadNotFoundError, DiskFullError,
        TooManyStreamsError.
        """
        writer = self._registry.new_writer()
        try:
            in_thread = self._checksum if upload_id else self._in_thread
            return await in_thread(self._open, upload_id, filename, total_bytes, sha256, now, writer)
        except BaseException:
            # Also of a client that left meanwhile: nobody else knows the number.
            self.leave(writer)
            raise

    async def write(
        self,
        upload_id: str,
        offset: int,
        data: bytes,
        crc32c: int | None = None,
        *,
        writer: int | None = None,
    ) -> int:
        """Adds a chunk and answers the committed bytes; what lies before them already is skipped.

        `writer` is that of the caller's `open` (None: unchecked). Raises UploadGapError, UploadChecksumError,
        UploadTooLargeError, UploadNotFoundError, DiskFullError, InvalidFieldError, and StreamProtocolError if
        the upload was opened again since.
        """
        return await self._in_thread(self._write, upload_id, offset, data, crc32c, writer)

    def leave(self, writer: int) -> None:
        """Says that the stream of that writer is over, whether or not the upload goes on later; does not block."""
        self._registry.leave(writer)

    async def finish(self, upload_id: str, *, writer: int | None = None) -> UploadStatus:
        """Ends an upload; doing so again is fine.

        Raises UploadIncompleteError, UploadNotFoundError, DiskFullError, StreamProtocolError as `write`;
        UploadChecksumError if the content is not the announced one: its bytes are dropped, so that the upload
        can begin anew at offset 0.
        """
        return await self._checksum(self._finish, upload_id, writer)

    async def get(self, upload_id: str) -> UploadStatus:
        """How far an upload is; raises UploadNotFoundError."""
        return await self._in_thread(self._get, upload_id)

    async def link_into(self, upload_id: str, target: Path) -> None:
        """Gives a complete upload's content a second name, in place of what is there; the upload may go then.

        Raises UploadNotFoundError, UploadIncompleteError, DiskFullError.
        """
        await self._in_thread(self._link_into, upload_id, target)

    async def adopt(self, path: Path, filename: str, size: int, sha256: str, now: float) -> str:
        """Makes a complete upload of a file of this file system, which is moved; answers its id.

        Raises EmptyAudioError, UploadTooLargeError, InvalidFieldError, DiskFullError.
        """
        return await self._in_thread(self._adopt, path, filename, size, sha256, now)

    async def discard(self, upload_id: str) -> None:
        """Removes an upload at once, unless it is held or gone."""
        await self._in_thread(self._discard, upload_id)

    async def sweep(self, now: float) -> list[str]:
        """Removes abandoned and outlived uploads, and files that no row names; answers their ids."""
        return await self._in_thread(self._sweep, now)

    def path_of(self, upload_id: str) -> Path:
        """The file of a complete upload; blocks. Raises UploadNotFoundError, UploadIncompleteError.

        It stays there while the upload is `held`: hold it first, then ask.
        """
        upload = self._registry.find(upload_id)
        with upload.lock, disk_errors():
            return _complete_path(upload)

    def held(self, upload_id: str) -> AbstractContextManager[None]:
        """Keeps an upload from being removed; does not block. One that is gone already stays so."""
        return self._registry.held(upload_id)

    def _open(
        self, upload_id: str, filename: str, total_bytes: int, sha256: str, now: float, writer: int
    ) -> UploadStatus:
        check_header(filename, total_bytes, sha256, self._max_upload_bytes)
        if upload_id:
            return self._reopen(upload_id, total_bytes, sha256, now, writer)
        known = self._known(sha256, total_bytes) if sha256 else None
        row = UploadRow(self._new_id(), filename, total_bytes, sha256, False, now, self._boot)
        # Held, so that it does not give way before it has its writer.
        with self._registry.held(row.upload_id):
            # The row comes before the file: a file that no row names is litter.
            if known is None:
                self._admit(row)
            else:
                self._store.put_upload(row)
            upload = self._registry.find(row.upload_id)
            with upload.lock, disk_errors():
                if known is not None and self._take_known(known, upload.file.path):
                    self._registry.put(upload, replace(row, complete=True))
                else:
                    upload.file.committed()
                upload.writer = writer
                return _status(upload)

    def _admit(self, row: UploadRow) -> None:
        with self._admitting, disk_errors():
            self._disk.require(self._root, row.total_bytes, self._reserve_bytes)
            unfinished = self._store.count_unfinished_uploads()
            if unfinished >= self._max_unfinished and not self._registry.give_way():
                raise TooManyStreamsError(
                    f"{self._max_unfinished} uploads are under way; try again when some are finished",
                    retry_after=30.0,
                )
            self._store.put_upload(row)

    def _reopen(self, upload_id: str, total_bytes: int, sha256: str, now: float, writer: int) -> UploadStatus:
        upload = self._registry.find(upload_id)
        with upload.lock, disk_errors():
            _refuse(upload)
            row = upload.row
            check_same_file(row, total_bytes, sha256)
            self._disk.require(self._root, total_bytes - self._take_up(upload), self._reserve_bytes)
            self._registry.put(upload, replace(upload.row, sha256=row.sha256 or sha256, touched_at=now))
            upload.writer = writer
            return _status(upload)

    def _take_up(self, upload: Upload) -> int:
        """The committed bytes, ready to be added to."""
        if upload.row.complete:
            return upload.row.total_bytes
        committed = upload.file.committed()
        # In this order: what was not synced in another boot is dropped before this one vouches for the file.
        if upload.row.boot != self._boot:
            self._registry.put(upload, replace(upload.row, boot=self._boot))
        return committed

    def _known(self, sha256: str, total_bytes: int) -> Path | None:
        """The whole file of a complete upload with this content."""
        row = self._store.find_upload_by_sha256(sha256)
        if row is None:
            return None
        path = self._registry.path(row.upload_id)
        return path if _is_whole(path, total_bytes) else None

    def _take_known(self, known: Path, path: Path) -> bool:
        try:
            link_or_copy(known, path, self._disk, self._reserve_bytes)
        except FileNotFoundError:
            return False
        sync(self._root)
        return True

    def _write(self, upload_id: str, offset: int, data: bytes, crc32c: int | None, writer: int | None) -> int:
        upload = self._registry.find(upload_id)
        with upload.lock, disk_errors():
            _refuse(upload, writer)
            committed = self._take_up(upload)
            check_chunk(offset, data, crc32c, committed, upload.row.total_bytes)
            fresh = memoryview(data)[committed - offset :]
            if fresh:
                self._disk.require(self._root, len(fresh), self._reserve_bytes)
                upload.file.append(fresh)
            return self._take_up(upload)

    def _finish(self, upload_id: str, writer: int | None) -> UploadStatus:
        upload = self._registry.find(upload_id)
        with upload.lock, disk_errors():
            _refuse(upload, writer)
            row = upload.row
            if row.complete:
                return _status(upload)
            check_all_there(self._take_up(upload), row.total_bytes)
            found = upload.file.sha256()
            if row.sha256 and row.sha256 != found:
                upload.file.drop()
                raise UploadChecksumError(
                    "header.sha256 does not fit the content that came; send it again from offset 0",
                    field="header.sha256",
                    metadata={"committed_bytes": "0", "sha256": found},
                )
            upload.file.sync()
            # When the last byte came: that is close enough, and nobody else has to say.
            touched_at = max(row.touched_at, upload.file.path.stat().st_mtime)
            self._registry.put(
                upload, replace(upload.row, sha256=found, complete=True, touched_at=touched_at)
            )
            return _status(upload)

    def _get(self, upload_id: str) -> UploadStatus:
        upload = self._registry.find(upload_id)
        with upload.lock, disk_errors():
            _refuse(upload)
            return _status(upload)

    def _link_into(self, upload_id: str, target: Path) -> None:
        upload = self._registry.find(upload_id)
        with upload.lock, disk_errors():
            source = _complete_path(upload)
            temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
            try:
                link_or_copy(source, temporary, self._disk, self._reserve_bytes)
                os.replace(temporary, target)
            finally:
                # Between two names of one file a rename does nothing, and the old name stays.
                temporary.unlink(missing_ok=True)
            sync(target.parent)

    def _adopt(self, path: Path, filename: str, size: int, sha256: str, now: float) -> str:
        check_header(filename, size, sha256, self._max_upload_bytes)
        row = UploadRow(self._new_id(), filename, size, sha256, True, now, self._boot)
        # While it is held the file is no litter, though no row names it yet.
        with self._registry.held(row.upload_id), disk_errors():
            sync(path)
            os.replace(path, self._registry.path(row.upload_id))
            sync(self._root)
            self._store.put_upload(row)
        return row.upload_id

    def _discard(self, upload_id: str) -> None:
        try:
            upload = self._registry.find(upload_id)
        except UploadNotFoundError:
            return
        with upload.lock, disk_errors():
            self._registry.remove(upload)

    def _sweep(self, now: float) -> list[str]:
        with disk_errors():
            return self._registry.sweep(now)


def _status(upload: Upload) -> UploadStatus:
    """An upload as a client sees it."""
    row = upload.row
    committed, sha256 = (row.total_bytes, row.sha256) if row.complete else (upload.file.size(), "")
    return UploadStatus(row.upload_id, committed, row.total_bytes, row.complete, sha256, upload.writer)


def _complete_path(upload: Upload) -> Path:
    _refuse(upload)
    if not upload.row.complete:
        raise source_incomplete(upload.file.size(), upload.row.total_bytes)
    return upload.file.path


def _refuse(upload: Upload, writer: int | None = None) -> None:
    """Raises UploadNotFoundError if it is gone, StreamProtocolError if `writer` is not that of its stream."""
    row = upload.row
    if upload.gone or (row.complete and not _is_whole(upload.file.path, row.total_bytes)):
        raise upload_not_found()
    # Of a complete upload there is nothing left to take over.
    if writer is not None and writer != upload.writer and not row.complete:
        raise StreamProtocolError("another stream has taken up this upload since; this one is over")


def _is_whole(path: Path, total_bytes: int) -> bool:
    try:
        return path.stat().st_size == total_bytes
    except FileNotFoundError:
        return False
