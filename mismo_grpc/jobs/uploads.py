"""Tracks on their way in: taken up again after a broken stream or a restart of the server.

One file an upload, named by its id; its size is what is committed. A chunk is acknowledged once it is
written, which a killed process survives; the file is forced out to the disk every 4 MiB and at the end. After
a power cut the size may be behind the last acknowledgement by at most that much; the client asks where to go
on, as always.

Every step runs in a thread and holds the upload's lock there, so a client that vanishes (a cancelled call)
never leaves a step half done.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakValueDictionary

from mismo_grpc.errors import (
    StreamProtocolError,
    TooManyStreamsError,
    UploadChecksumError,
    UploadNotFoundError,
)
from mismo_grpc.jobs.store import JobStore, UploadRow
from mismo_grpc.jobs.upload_checks import (
    UPLOAD_ID_PATTERN,
    check_all_there,
    check_chunk,
    check_header,
    check_same_file,
    source_incomplete,
    upload_not_found,
)
from mismo_grpc.jobs.upload_file import UploadFile
from mismo_grpc.storage.disk import Disk, disk_errors, link_or_copy, sync

FILE_SUFFIX = ".upload"


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


class _Upload:
    """An upload in use; whoever holds `lock` may do anything with it."""

    def __init__(self, row: UploadRow, path: Path) -> None:
        self.lock = threading.Lock()
        self.row = row
        self.file = UploadFile(path, row.total_bytes)
        self.gone = False
        self.writer = 0

    def committed(self) -> int:
        """Bytes that are written, ready to be added to."""
        return self.row.total_bytes if self.row.complete else self.file.committed()

    def status(self) -> UploadStatus:
        """As a client sees it."""
        row = self.row
        committed, sha256 = (row.total_bytes, row.sha256) if row.complete else (self.file.size(), "")
        return UploadStatus(row.upload_id, committed, row.total_bytes, row.complete, sha256, self.writer)


class Uploads:
    """All uploads below the folder `root`, which is made if need be; sizes in bytes, durations in seconds.

    An unfinished upload is removed when idle for `idle_seconds`, a complete one `keep_seconds` after it was
    finished or last opened, but not while it is held. `max_unfinished` bounds how many may be under way.
    """

    def __init__(
        self,
        root: Path,
        store: JobStore,
        disk: Disk,
        *,
        max_upload_bytes: int,
        idle_seconds: float,
        keep_seconds: float,
        reserve_bytes: int = 0,
        max_unfinished: int = 1024,
        new_id: Callable[[], str] = lambda: secrets.token_urlsafe(24),
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._store = store
        self._disk = disk
        self._max_upload_bytes = max_upload_bytes
        self._idle_seconds = idle_seconds
        self._keep_seconds = keep_seconds
        self._reserve_bytes = reserve_bytes
        self._max_unfinished = max_unfinished
        self._new_id = new_id
        self._guard = threading.Lock()
        # One object an upload, whoever uses it; unfinished ones are kept for the sake of their hash.
        self._in_use: WeakValueDictionary[str, _Upload] = WeakValueDictionary()
        self._growing: dict[str, _Upload] = {}
        self._last_writer = 0
        self._holds_guard = threading.Lock()
        self._holds: Counter[str] = Counter()

    async def open(
        self, upload_id: str, filename: str, total_bytes: int, sha256: str, now: float
    ) -> UploadStatus:
        """Begins an upload (no id), or goes on with one; a known `sha256` ("": unknown) is complete at once.

        The caller becomes the upload's writer, an earlier one is refused from now on. Raises
        InvalidFieldError, EmptyAudioError, UploadTooLargeError, UploadNotFoundError, DiskFullError,
        TooManyStreamsError.
        """
        return await asyncio.to_thread(self._open, upload_id, filename, total_bytes, sha256, now)

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
        return await asyncio.to_thread(self._write, upload_id, offset, data, crc32c, writer)

    async def finish(self, upload_id: str, *, writer: int | None = None) -> UploadStatus:
        """Ends an upload; doing so again is fine.

        Raises UploadIncompleteError, UploadNotFoundError, DiskFullError, StreamProtocolError as `write`;
        UploadChecksumError if the content is not the announced one: its bytes are dropped, so that the upload
        can begin anew at offset 0.
        """
        return await asyncio.to_thread(self._finish, upload_id, writer)

    async def get(self, upload_id: str) -> UploadStatus:
        """How far an upload is; raises UploadNotFoundError."""
        return await asyncio.to_thread(self._get, upload_id)

    async def link_into(self, upload_id: str, target: Path) -> None:
        """Gives a complete upload's content a second name, in place of what is there; the upload may go then.

        Raises UploadNotFoundError, UploadIncompleteError, DiskFullError.
        """
        await asyncio.to_thread(self._link_into, upload_id, target)

    async def adopt(self, path: Path, filename: str, size: int, sha256: str, now: float) -> str:
        """Makes a complete upload of a file of this file system, which is moved; answers its id.

        Raises EmptyAudioError, UploadTooLargeError, InvalidFieldError, DiskFullError.
        """
        return await asyncio.to_thread(self._adopt, path, filename, size, sha256, now)

    async def discard(self, upload_id: str) -> None:
        """Removes an upload at once, unless it is held or gone."""
        await asyncio.to_thread(self._discard, upload_id)

    async def sweep(self, now: float) -> list[str]:
        """Removes abandoned and outlived uploads, and files that no row names; answers their ids."""
        return await asyncio.to_thread(self._sweep, now)

    def path_of(self, upload_id: str) -> Path:
        """The file of a complete upload; blocks. Raises UploadNotFoundError, UploadIncompleteError.

        It stays there while held: `hold` first, then ask.
        """
        upload = self._upload(upload_id)
        with upload.lock, disk_errors():
            return self._complete_path(upload)

    def hold(self, upload_id: str) -> None:
        """Keeps an upload from being removed until as many calls of `release`."""
        with self._holds_guard:
            self._holds[upload_id] += 1

    def release(self, upload_id: str) -> None:
        """Ends one `hold`."""
        with self._holds_guard:
            self._holds[upload_id] -= 1
            if self._holds[upload_id] <= 0:
                del self._holds[upload_id]

    @contextmanager
    def held(self, upload_id: str) -> Generator[None]:
        """Keeps an upload from being removed."""
        self.hold(upload_id)
        try:
            yield
        finally:
            self.release(upload_id)

    def _open(self, upload_id: str, filename: str, total_bytes: int, sha256: str, now: float) -> UploadStatus:
        check_header(filename, total_bytes, sha256, self._max_upload_bytes)
        if upload_id:
            return self._reopen(upload_id, total_bytes, sha256, now)
        known = self._known(sha256, total_bytes) if sha256 else None
        if known is None:
            self._admit(total_bytes)
        # The row comes before the file: a file that no row names is litter.
        row = UploadRow(self._new_id(), filename, total_bytes, sha256, False, now)
        self._store.put_upload(row)
        upload = self._upload(row.upload_id)
        with upload.lock, disk_errors():
            if known is not None and self._take_known(known, upload.file.path):
                self._complete(upload, replace(row, complete=True))
            else:
                upload.committed()
            return self._with_new_writer(upload)

    def _admit(self, total_bytes: int) -> None:
        if self._store.count_unfinished_uploads() >= self._max_unfinished:
            raise TooManyStreamsError(
                f"{self._max_unfinished} uploads are under way; try again when some are finished",
                retry_after=30.0,
            )
        with disk_errors():
            self._disk.require(self._root, total_bytes, self._reserve_bytes)

    def _reopen(self, upload_id: str, total_bytes: int, sha256: str, now: float) -> UploadStatus:
        upload = self._upload(upload_id)
        with upload.lock, disk_errors():
            _refuse(upload)
            row = upload.row
            check_same_file(row, total_bytes, sha256)
            self._disk.require(self._root, total_bytes - upload.committed(), self._reserve_bytes)
            touched = replace(row, sha256=row.sha256 or sha256, touched_at=now)
            self._store.put_upload(touched)
            upload.row = touched
            return self._with_new_writer(upload)

    def _with_new_writer(self, upload: _Upload) -> UploadStatus:
        with self._guard:
            self._last_writer += 1
            upload.writer = self._last_writer
        return upload.status()

    def _known(self, sha256: str, total_bytes: int) -> Path | None:
        """The whole file of a complete upload with this content."""
        row = self._store.find_upload_by_sha256(sha256)
        if row is None:
            return None
        path = self._path(row.upload_id)
        try:
            return path if path.stat().st_size == total_bytes else None
        except FileNotFoundError:
            return None

    def _take_known(self, known: Path, path: Path) -> bool:
        try:
            link_or_copy(known, path, self._disk, self._reserve_bytes)
        except FileNotFoundError:
            return False
        return True

    def _write(self, upload_id: str, offset: int, data: bytes, crc32c: int | None, writer: int | None) -> int:
        upload = self._upload(upload_id)
        with upload.lock, disk_errors():
            _refuse(upload, writer)
            committed = upload.committed()
            check_chunk(offset, data, crc32c, committed, upload.row.total_bytes)
            fresh = memoryview(data)[committed - offset :]
            if fresh:
                self._disk.require(self._root, len(fresh), self._reserve_bytes)
                upload.file.append(fresh)
            return upload.committed()

    def _finish(self, upload_id: str, writer: int | None) -> UploadStatus:
        upload = self._upload(upload_id)
        with upload.lock, disk_errors():
            _refuse(upload, writer)
            row = upload.row
            if row.complete:
                return upload.status()
            check_all_there(upload.committed(), row.total_bytes)
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
            self._complete(upload, replace(row, sha256=found, complete=True, touched_at=touched_at))
            return upload.status()

    def _complete(self, upload: _Upload, row: UploadRow) -> None:
        self._store.put_upload(row)
        upload.row = row
        with self._guard:
            self._growing.pop(row.upload_id, None)

    def _get(self, upload_id: str) -> UploadStatus:
        upload = self._upload(upload_id)
        with upload.lock, disk_errors():
            _refuse(upload)
            return upload.status()

    def _complete_path(self, upload: _Upload) -> Path:
        _refuse(upload)
        if not upload.row.complete:
            raise source_incomplete(upload.file.size(), upload.row.total_bytes)
        return upload.file.path

    def _link_into(self, upload_id: str, target: Path) -> None:
        upload = self._upload(upload_id)
        with upload.lock, disk_errors():
            source = self._complete_path(upload)
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
        row = UploadRow(self._new_id(), filename, size, sha256, True, now)
        self._store.put_upload(row)
        with disk_errors():
            sync(path)
            os.replace(path, self._path(row.upload_id))
            sync(self._root)
        return row.upload_id

    def _discard(self, upload_id: str) -> None:
        try:
            upload = self._upload(upload_id)
        except UploadNotFoundError:
            return
        with upload.lock, self._holds_guard, disk_errors():
            if not upload.gone and upload_id not in self._holds:
                self._remove(upload)

    def _sweep(self, now: float) -> list[str]:
        removed: list[str] = []
        with disk_errors():
            for row in self._store.stale_uploads(now - min(self._idle_seconds, self._keep_seconds)):
                try:
                    upload = self._upload(row.upload_id)
                except UploadNotFoundError:
                    continue
                with upload.lock:
                    if self._outlived(upload, now):
                        self._remove(upload)
                        removed.append(row.upload_id)
            for path in self._root.glob(f"*{FILE_SUFFIX}"):
                upload_id = path.name.removesuffix(FILE_SUFFIX)
                if self._store.get_upload(upload_id) is None:
                    path.unlink(missing_ok=True)
                    removed.append(upload_id)
        return removed

    def _outlived(self, upload: _Upload, now: float) -> bool:
        with self._holds_guard:
            if upload.gone or upload.row.upload_id in self._holds:
                return False
        if upload.row.complete:
            return upload.row.touched_at < now - self._keep_seconds
        # Chunks do not touch the row; the file knows when the last one came.
        path = upload.file.path
        last_chunk = path.stat().st_mtime if path.exists() else 0.0
        return max(upload.row.touched_at, last_chunk) < now - self._idle_seconds

    def _remove(self, upload: _Upload) -> None:
        upload.gone = True
        self._store.delete_upload(upload.row.upload_id)
        upload.file.path.unlink(missing_ok=True)
        with self._guard:
            self._growing.pop(upload.row.upload_id, None)

    def _path(self, upload_id: str) -> Path:
        return self._root / f"{upload_id}{FILE_SUFFIX}"

    def _upload(self, upload_id: str) -> _Upload:
        """The one object of an upload; raises UploadNotFoundError."""
        if not UPLOAD_ID_PATTERN.fullmatch(upload_id):
            raise upload_not_found()
        with self._guard:
            upload = self._in_use.get(upload_id)
            if upload is not None:
                return upload
            row = self._store.get_upload(upload_id)
            if row is None:
                raise upload_not_found()
            upload = self._in_use[upload_id] = _Upload(row, self._path(upload_id))
            if not row.complete:
                self._growing[upload_id] = upload
            return upload


def _refuse(upload: _Upload, writer: int | None = None) -> None:
    if upload.gone or (upload.row.complete and not upload.file.path.is_file()):
        raise upload_not_found()
    # Of a complete upload there is nothing left to take over.
    if writer is not None and writer != upload.writer and not upload.row.complete:
        raise StreamProtocolError("another stream has taken up this upload since; this one is over")
