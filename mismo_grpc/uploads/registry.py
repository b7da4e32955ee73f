"""Which uploads there are, one object each whoever uses it, and when they go."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from mismo_grpc.errors import UploadNotFoundError
from mismo_grpc.uploads.checks import UPLOAD_ID_PATTERN, upload_not_found
from mismo_grpc.uploads.part_file import UploadFile
from mismo_grpc.uploads.record import UploadRow, UploadStore

FILE_SUFFIX = ".upload"


class Upload:
    """An upload in use; whoever holds `lock` may do anything with it.

    `writer` stands for the latest stream that opened it, 0 if none did.
    """

    def __init__(self, row: UploadRow, file: UploadFile) -> None:
        self.lock = threading.Lock()
        self.row = row
        self.file = file
        self.gone = False
        self.writer = 0


class UploadRegistry:
    """The uploads whose files lie in the folder `root`; `held`, `new_writer` and `leave` do not block.

    `boot` is this boot of the machine ("": unknown, never the same); durations in seconds as of `Uploads`.
    """

    def __init__(
        self, root: Path, store: UploadStore, *, boot: str, idle_seconds: float, keep_seconds: float
    ) -> None:
        self._root = root
        self._store = store
        self._boot = boot
        self._idle_seconds = idle_seconds
        self._keep_seconds = keep_seconds
        self._guard = threading.Lock()
        # Unfinished ones are kept for the sake of their hash.
        self._in_use: WeakValueDictionary[str, Upload] = WeakValueDictionary()
        self._growing: dict[str, Upload] = {}
        # Who uses an upload; never held while the disk is waited for.
        self._users_guard = threading.Lock()
        self._writers: set[int] = set()
        self._last_writer = 0
        self._holds: Counter[str] = Counter()

    def path(self, upload_id: str) -> Path:
        """Where the file of an upload lies."""
        return self._root / f"{upload_id}{FILE_SUFFIX}"

    def find(self, upload_id: str) -> Upload:
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
            same_boot = bool(row.boot) and row.boot == self._boot
            file = UploadFile(self.path(upload_id), row.total_bytes, same_boot=same_boot)
            upload = self._in_use[upload_id] = Upload(row, file)
            if not row.complete:
                self._growing[upload_id] = upload
            return upload

    def put(self, upload: Upload, row: UploadRow) -> None:
        """Stores an upload's changed row; its lock is held."""
        self._store.put_upload(row)
        upload.row = row
        if row.complete:
            with self._guard:
                self._growing.pop(row.upload_id, None)

    def new_writer(self) -> int:
        """A number for a stream that lasts until `leave`."""
        with self._users_guard:
            self._last_writer += 1
            self._writers.add(self._last_writer)
            return self._last_writer

    def leave(self, writer: int) -> None:
        """Ends a stream; doing so again is fine."""
        with self._users_guard:
            self._writers.discard(writer)

    def _in_stream(self, upload: Upload) -> bool:
        with self._users_guard:
            return upload.writer in self._writers

    @contextmanager
    def held(self, upload_id: str) -> Generator[None]:
        """Keeps an upload from being removed; one that is gone already stays so."""
        with self._users_guard:
            self._holds[upload_id] += 1
        try:
            yield
        finally:
            with self._users_guard:
                self._holds[upload_id] -= 1
                if not self._holds[upload_id]:
                    del self._holds[upload_id]

    def _is_held(self, upload_id: str) -> bool:
        with self._users_guard:
            return upload_id in self._holds

    def remove(self, upload: Upload) -> bool:
        """Removes an upload whose lock is held; False if it is held by someone, or gone. Raises OSError."""
        upload_id = upload.row.upload_id
        with self._users_guard:
            if upload.gone or upload_id in self._holds:
                return False
            upload.gone = True
        self._store.delete_upload(upload_id)
        upload.file.path.unlink(missing_ok=True)
        with self._guard:
            self._growing.pop(upload_id, None)
        return True

    def give_way(self) -> bool:
        """Removes the upload that was begun longest ago of those without a byte and a stream; False if none is."""
        for row in self._store.unfinished_uploads():
            try:
                upload = self.find(row.upload_id)
            except UploadNotFoundError:
                continue
            # One that is locked is in use.
            if not upload.lock.acquire(blocking=False):
                continue
            try:
                idle = not (self._in_stream(upload) or upload.row.complete or upload.file.size())
                if idle and self.remove(upload):
                    return True
            finally:
                upload.lock.release()
        return False

    def sweep(self, now: float) -> list[str]:
        """Removes abandoned and outlived uploads, and files that no row names; answers their ids. Raises OSError."""
        removed: list[str] = []
        for row in self._store.stale_uploads(now - min(self._idle_seconds, self._keep_seconds)):
            try:
                upload = self.find(row.upload_id)
            except UploadNotFoundError:
                continue
            with upload.lock:
                if self._outlived(upload, now) and self.remove(upload):
                    removed.append(row.upload_id)
        for path in self._root.glob(f"*{FILE_SUFFIX}"):
            upload_id = path.name.removesuffix(FILE_SUFFIX)
            # In this order: a file that comes before its row is held until the row is there.
            if not self._is_held(upload_id) and self._store.get_upload(upload_id) is None:
                path.unlink(missing_ok=True)
                removed.append(upload_id)
        return removed

    def _outlived(self, upload: Upload, now: float) -> bool:
        if upload.row.complete:
            return upload.row.touched_at < now - self._keep_seconds
        # Chunks do not touch the row; the file knows when the last one came.
        path = upload.file.path
        last_chunk = path.stat().st_mtime if path.exists() else 0.0
        return max(upload.row.touched_at, last_chunk) < now - self._idle_seconds
