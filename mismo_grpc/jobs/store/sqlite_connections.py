"""The connections to the job store's file: one writes, the others only read and never wait for the writer."""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from mismo_grpc.errors import StoreError
from mismo_grpc.jobs.store.sqlite_file import (
    BUSY_TIMEOUT_SECONDS,
    connect,
    lock_file_of,
    open_writer,
    queries,
    store_errors,
)
from mismo_grpc.jobs.store.sqlite_rows import Row

READERS = 4


class SqliteConnections:
    """Runs named queries on the file `path`, from any thread; its folder must exist.

    Raises StoreError as `open_writer` and `lock_file_of` do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queries = queries()
        self._write_lock = threading.Lock()
        self._closed = False
        self._idle_readers: queue.LifoQueue[sqlite3.Connection | None] = queue.LifoQueue()
        self._lock_file = lock_file_of(path)
        try:
            self._writer = open_writer(path)
        except BaseException:
            os.close(self._lock_file)
            raise
        for _ in range(READERS):
            self._idle_readers.put(None)

    def close(self) -> None:
        """Waits for running queries, writes the WAL back into the file, and closes the file."""
        with self._write_lock:
            if self._closed:
                return
            self._closed = True
            for _ in range(READERS):
                with suppress(queue.Empty):
                    reader = self._idle_readers.get(timeout=BUSY_TIMEOUT_SECONDS)
                    if reader is not None:
                        reader.close()
            # Wakes callers that wait for a reader; they find that the store is closed.
            for _ in range(READERS):
                self._idle_readers.put(None)
            try:
                with store_errors():
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._writer.close()
                os.close(self._lock_file)

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._write_lock, store_errors():
            self._refuse_closed()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # After some errors, such as a full disk, SQLite has rolled back by itself.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def _do(self, connection: sqlite3.Connection, query: str, **values: object) -> sqlite3.Cursor:
        return connection.execute(self._queries[query], values)

    def _one(self, connection: sqlite3.Connection, query: str, **values: object) -> Row | None:
        rows = self._do(connection, query, **values).fetchall()
        return rows[0] if rows else None

    def _read(self, query: str, **values: object) -> list[Row]:
        try:
            reader = self._idle_readers.get(timeout=BUSY_TIMEOUT_SECONDS)
        except queue.Empty:
            raise StoreError("the job store is overloaded; try again") from None
        try:
            with store_errors():
                self._refuse_closed()
                if reader is None:
                    reader = connect(self._path)
                    reader.execute("PRAGMA query_only=ON")
                return self._do(reader, query, **values).fetchall()
        finally:
            self._idle_readers.put(reader)

    def _read_one(self, query: str, **values: object) -> Row | None:
        rows = self._read(query, **values)
        return rows[0] if rows else None

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError("the job store is closed because the server is shutting down")
