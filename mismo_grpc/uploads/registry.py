"""The registry of uploads: one shared object for each upload, and the rules for removing uploads."""

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
    """An upload in use; hold `lock` to read or change it.

    `writer` is the number of the latest stream that opened it, 0 if none did.
    """

    def __init__(self, row: UploadRow, file: UploadFile) -> None:
        self.lock = threading.Lock()
        self.row = row
        self.file = file
        self.gone = False
        self.writer = 0


class UploadRegistry:
    """The uploads whose files are in the folder `root`; `held`, `new_writer` and `leave` do not block.

    `boot` is the id of this boot ("": unknown, never the same); the durations in seconds are those of `Uploads`.
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
        # Unfinished uploads also have strong references here, because their objects hold the running hash.
        self._in_use: WeakValueDictionary[str, Upload] = WeakValueDictionary()
        self._growing: dict[str, Upload] = {}
        # Guards the three fields below; never held during disk access.
        self._users_guard = threading.Lock()
        self._writers: set[int] = set()
        self._last_writer = 0
        self._holds: Counter[str] = Counter()

    @property
    def writers_count(self) -> int:
        """How many streams write."""
        return len(self._writers)

    def path(self, upload_id: str) -> Path:
        """The path of an upload's file."""
        return self._root / f"{upload_id}{FILE_SUFFIX}"

    def find(self, upload_id: str) -> Upload:
        """Returns the shared object of an upload; raises UploadNotFoundError."""
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
        """Stores an upload's changed row; the caller holds its lock."""
        self._store.put_upload(row)
        upload.row = row
        if row.complete:
            with self._guard:
                self._growing.pop(row.upload_id, None)

    def new_writer(self) -> int:
        """Registers a stream and returns its number, valid until `leave`."""
        with self._users_guard:
            self._last_writer += 1
            self._writers.add(self._last_writer)
            return self._last_writer

    def leave(self, writer: int) -> None:
        """Unregisters a stream; can be called twice."""
        with self._users_guard:
            self._writers.discard(writer)

    def _in_stream(self, upload: Upload) -> bool:
        with self._users_guard:
            return upload.writer in self._writers

    @contextmanager
    def held(self, upload_id: str) -> Generator[None]:
        """Prevents the removal of an upload during the block; has no effect on one that is already removed."""
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
        """Removes an upload, whose lock the caller has; False if it is `held` or already removed. Raises OSError."""
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

    def remove_oldest_empty(self) -> bool:
        """Removes the oldest upload that has received no byte and has no stream; False if there is none."""
        for row in self._store.unfinished_uploads():
            try:
                upload = self.find(row.upload_id)
            except UploadNotFoundError:
                continue
            # A locked upload is in use.
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
        """Removes expired uploads, and files without a row; returns their ids. Raises OSError."""
        removed: list[str] = []
        for row in self._store.stale_uploads(now - min(self._idle_seconds, self._keep_seconds)):
            try:
                upload = self.find(row.upload_id)
            except UploadNotFoundError:
                continue
            with upload.lock:
                if self._expired(upload, now) and self.remove(upload):
                    removed.append(row.upload_id)
        for path in self._root.glob(f"*{FILE_SUFFIX}"):
            upload_id = path.name.removesuffix(FILE_SUFFIX)
            # Check `held` first: a file that is created before its row is held until the row exists.
            if not self._is_held(upload_id) and self._store.get_upload(upload_id) is None:
                path.unlink(missing_ok=True)
                removed.append(upload_id)
        return removed

    def _expired(self, upload: Upload, now: float) -> bool:
        if upload.row.complete:
            return upload.row.touched_at < now - self._keep_seconds
        # Chunks do not update the row; the file's modification time is that of the last chunk.
        path = upload.file.path
        last_chunk = path.stat().st_mtime if path.exists() else 0.0
        return max(upload.row.touched_at, last_chunk) < now - self._idle_seconds
