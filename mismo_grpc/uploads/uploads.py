"""Uploads of tracks; a client can resume one after a broken stream, a restart of the server or a power cut.

Each upload has one file, named by its id; the file's size is the committed bytes. A chunk is acknowledged once it is
written, so it survives a killed process. The file is synced whenever it passes a multiple of SYNC_BYTES and at the
end, and its row has the id of the boot in which it was last written: after a reboot only the bytes that were certainly
synced count, and the client continues from there. A row is marked complete only after the file and its name are synced.

Every step runs in a thread that holds the upload's lock, so a cancelled call never leaves a step half done.
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
    """The progress of an upload in bytes; `sha256` is the hash of its content, "" until complete.

    `writer` is the number of the stream that opened it: only the latest one may write, see `Uploads.write`.
    """

    upload_id: str
    committed_bytes: int
    total_bytes: int
    complete: bool
    sha256: str
    writer: int = 0


class Uploads:
    """All uploads in the folder `root`, which is created if it does not exist; sizes in bytes, durations in seconds.

    An unfinished upload is removed after `idle_seconds` without a chunk, a complete one `keep_seconds` after it was
    finished or last opened, but not while it is `held`. There are at most `max_unfinished` unfinished uploads; when
    that many exist, a new one replaces the oldest that has received no byte and has no stream.
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
        # Used after a restart to hash the bytes that were received before.
        self._checksum = checksum
        self._boot = boot_id()
        self._registry = UploadRegistry(
            root, store, boot=self._boot, idle_seconds=idle_seconds, keep_seconds=keep_seconds
        )
        self._admitting = threading.Lock()

    async def open(
        self, upload_id: str, filename: str, total_bytes: int, sha256: str, now: float
    ) -> UploadStatus:
        """Begins an upload (`upload_id` ""), or resumes one. With a `sha256` of known content it is complete at once.

        The caller becomes the upload's writer until `leave`; an earlier writer is refused from now on. Raises
        InvalidFieldError, EmptyAudioError, UploadTooLargeError, UploadNotFoundError, DiskFullError,
        TooManyStreamsError.
        """
        writer = self._registry.new_writer()
        try:
            in_thread = self._checksum if upload_id else self._in_thread
            return await in_thread(self._open, upload_id, filename, total_bytes, sha256, now, writer)
        except BaseException:
            # Also when the call is cancelled: nobody else knows the number.
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
        """Writes a chunk and returns the committed bytes; the part of it that is committed already is skipped.

        `writer` is the number from the caller's `open` (None: not checked). Raises UploadGapError,
        UploadChecksumError, UploadTooLargeError, UploadNotFoundError, DiskFullError, InvalidFieldError, and
        StreamProtocolError if another stream has opened the upload since.
        """
        return await self._in_thread(self._write, upload_id, offset, data, crc32c, writer)

    @property
    def writers_count(self) -> int:
        """How many streams of uploads are open."""
        return self._registry.writers_count

    def leave(self, writer: int) -> None:
        """Ends the stream of that writer, whether or not the upload is resumed later; does not block."""
        self._registry.leave(writer)

    async def finish(self, upload_id: str, *, writer: int | None = None) -> UploadStatus:
        """Marks an upload complete; can be called again.

        Raises UploadIncompleteError, UploadNotFoundError, DiskFullError, StreamProtocolError as `write`;
        UploadChecksumError if the content does not have the announced hash: its bytes are then dropped, and the
        upload starts over at offset 0.
        """
        return await self._checksum(self._finish, upload_id, writer)

    async def get(self, upload_id: str) -> UploadStatus:
        """Returns the progress of an upload; raises UploadNotFoundError."""
        return await self._in_thread(self._get, upload_id)

    async def link_into(self, upload_id: str, target: Path) -> None:
        """Links (or copies) a complete upload's file to `target`, replacing a file there; the upload may go then.

        Raises UploadNotFoundError, UploadIncompleteError, DiskFullError.
        """
        await self._in_thread(self._link_into, upload_id, target)

    async def adopt(self, path: Path, filename: str, size: int, sha256: str, now: float) -> str:
        """Moves a file of this file system to a new complete upload; returns its id.

        Raises EmptyAudioError, UploadTooLargeError, InvalidFieldError, DiskFullError.
        """
        return await self._in_thread(self._adopt, path, filename, size, sha256, now)

    async def discard(self, upload_id: str) -> None:
        """Removes an upload at once; has no effect if it is held or already removed."""
        await self._in_thread(self._discard, upload_id)

    async def sweep(self, now: float) -> list[str]:
        """Removes expired uploads, and files without a row; returns their ids."""
        return await self._in_thread(self._sweep, now)

    def path_of(self, upload_id: str) -> Path:
        """Returns the path of a complete upload; blocks. Raises UploadNotFoundError, UploadIncompleteError.

        The file stays there while the upload is `held`: call `held` first.
        """
        upload = self._registry.find(upload_id)
        with upload.lock, disk_errors():
            return _complete_path(upload)

    def held(self, upload_id: str) -> AbstractContextManager[None]:
        """Prevents the removal of an upload during the block; has no effect on a removed one. Does not block."""
        return self._registry.held(upload_id)

    def _open(
        self, upload_id: str, filename: str, total_bytes: int, sha256: str, now: float, writer: int
    ) -> UploadStatus:
        check_header(filename, total_bytes, sha256, self._max_upload_bytes)
        if upload_id:
            return self._reopen(upload_id, total_bytes, sha256, now, writer)
        known = self._known(sha256, total_bytes) if sha256 else None
        row = UploadRow(self._new_id(), filename, total_bytes, sha256, False, now, self._boot)
        # Held, so that another new upload does not replace it before it has its writer.
        with self._registry.held(row.upload_id):
            # The row is stored before the file is created: a sweep removes files without a row.
            if known is None:
                self._admit(row)
            else:
                self._store.put_upload(row)
            upload = self._registry.find(row.upload_id)
            with upload.lock, disk_errors():
                if known is not None and self._link_known(known, upload.file.path):
                    self._registry.put(upload, replace(row, complete=True))
                else:
                    upload.file.committed()
                upload.writer = writer
                return _status(upload)

    def _admit(self, row: UploadRow) -> None:
        with self._admitting, disk_errors():
            self._disk.require(self._root, row.total_bytes, self._reserve_bytes)
            unfinished = self._store.count_unfinished_uploads()
            if unfinished >= self._max_unfinished and not self._registry.remove_oldest_empty():
                raise TooManyStreamsError(
                    f"{self._max_unfinished} uploads are unfinished, which is the limit; try again later",
                    retry_after=30.0,
                )
            self._store.put_upload(row)

    def _reopen(self, upload_id: str, total_bytes: int, sha256: str, now: float, writer: int) -> UploadStatus:
        upload = self._registry.find(upload_id)
        with upload.lock, disk_errors():
            _refuse(upload)
            row = upload.row
            check_same_file(row, total_bytes, sha256)
            self._disk.require(self._root, total_bytes - self._prepare(upload), self._reserve_bytes)
            self._registry.put(upload, replace(upload.row, sha256=row.sha256 or sha256, touched_at=now))
            upload.writer = writer
            return _status(upload)

    def _prepare(self, upload: Upload) -> int:
        """Prepares an unfinished upload for more chunks; returns the committed bytes."""
        if upload.row.complete:
            return upload.row.total_bytes
        committed = upload.file.committed()
        # In this order: bytes that an earlier boot did not sync are dropped before the row gets this boot's id.
        if upload.row.boot != self._boot:
            self._registry.put(upload, replace(upload.row, boot=self._boot))
        return committed

    def _known(self, sha256: str, total_bytes: int) -> Path | None:
        """Returns the file of a complete upload with this content, if there is one."""
        row = self._store.find_upload_by_sha256(sha256)
        if row is None:
            return None
        path = self._registry.path(row.upload_id)
        return path if _is_whole(path, total_bytes) else None

    def _link_known(self, known: Path, path: Path) -> bool:
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
            committed = self._prepare(upload)
            check_chunk(offset, data, crc32c, committed, upload.row.total_bytes)
            fresh = memoryview(data)[committed - offset :]
            if fresh:
                self._disk.require(self._root, len(fresh), self._reserve_bytes)
                upload.file.append(fresh)
            return self._prepare(upload)

    def _finish(self, upload_id: str, writer: int | None) -> UploadStatus:
        upload = self._registry.find(upload_id)
        with upload.lock, disk_errors():
            _refuse(upload, writer)
            row = upload.row
            if row.complete:
                return _status(upload)
            check_all_there(self._prepare(upload), row.total_bytes)
            found = upload.file.sha256()
            if row.sha256 and row.sha256 != found:
                upload.file.drop()
                raise UploadChecksumError(
                    "header.sha256 does not match the received content; send it again from offset 0",
                    field="header.sha256",
                    metadata={"committed_bytes": "0", "sha256": found},
                )
            upload.file.sync()
            # The time of the last chunk is close enough, and needs no clock.
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
                # Renaming between two hard links of one file does nothing, so the temporary name may remain.
                temporary.unlink(missing_ok=True)
            sync(target.parent)

    def _adopt(self, path: Path, filename: str, size: int, sha256: str, now: float) -> str:
        check_header(filename, size, sha256, self._max_upload_bytes)
        row = UploadRow(self._new_id(), filename, size, sha256, True, now, self._boot)
        # Held, so that a sweep does not remove the file before its row exists.
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
    """Returns the status that a client gets."""
    row = upload.row
    committed, sha256 = (row.total_bytes, row.sha256) if row.complete else (upload.file.size(), "")
    return UploadStatus(row.upload_id, committed, row.total_bytes, row.complete, sha256, upload.writer)


def _complete_path(upload: Upload) -> Path:
    _refuse(upload)
    if not upload.row.complete:
        raise source_incomplete(upload.file.size(), upload.row.total_bytes)
    return upload.file.path


def _refuse(upload: Upload, writer: int | None = None) -> None:
    """Raises UploadNotFoundError if it was removed, StreamProtocolError if `writer` is not its latest writer."""
    row = upload.row
    if upload.gone or (row.complete and not _is_whole(upload.file.path, row.total_bytes)):
        raise upload_not_found()
    # A complete upload needs no writer any more.
    if writer is not None and writer != upload.writer and not row.complete:
        raise StreamProtocolError("another stream has resumed this upload; this one has ended")


def _is_whole(path: Path, total_bytes: int) -> bool:
    try:
        return path.stat().st_size == total_bytes
    except FileNotFoundError:
        return False
