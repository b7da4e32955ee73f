"""Opens the job store's SQLite file: its lock, its settings, its schema, its errors. Nothing else opens it.

WAL with `synchronous=FULL` makes a commit survive a power cut, not only a killed process; it costs one fsync of the
log for each transaction.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import cast

from mismo_grpc.errors import DiskFullError, MismoError, StoreError
from mismo_grpc.storage.disk import sync

BUSY_TIMEOUT_SECONDS = 10.0
"""Another program may read the file and lock it for a moment; a query waits at most this long."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode that any thread may use, one at a time."""
    # The callers use it under a lock, one at a time, so sqlite3's check for one thread is switched off.
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def open_writer(path: Path) -> sqlite3.Connection:
    """Checks the file, brings it to the current schema, and returns the writing connection.

    Raises StoreError with the remedy if the file is damaged, of a newer version, or cannot be opened.
    """
    writer: sqlite3.Connection | None = None
    try:
        writer = connect(path)
        writer.execute("PRAGMA journal_mode=WAL")
        found = cast("str", writer.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            raise sqlite3.DatabaseError(found.splitlines()[-1])
        _migrate(writer)
        # A power cut must neither remove the file's name nor restore the journal that SQLite removed.
        sync(path.parent)
    except BaseException as error:
        if writer is not None:
            writer.close()
        if isinstance(error, (sqlite3.OperationalError, OSError)):
            raise StoreError(
                f"the job store {path} cannot be opened ({error}); check that its folder exists, that this "
                "user may write there and that the disk is not full"
            ) from error
        if isinstance(error, sqlite3.DatabaseError):
            raise StoreError(
                f"the job store {path} is damaged ({error}); put back a copy of it, or move it away together "
                "with the files that end in -wal and -shm: the server then begins with no jobs, and removes the "
                "results of those there were"
            ) from error
        raise
    return writer


def lock_file_of(path: Path) -> int:
    """An open file whose lock prevents a second server, which would run every job again.

    The kernel releases the lock when the process dies, for any reason. Raises StoreError if another process has it.
    """
    try:
        lock_file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"the job store {path} cannot be opened ({error.strerror}); check that its folder exists and "
            "that this user may write there"
        ) from error
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock_file)
        raise StoreError(
            f"the job store {path} is in use by another server; stop that one, or give this one another jobs "
            "folder"
        ) from error
    return lock_file


@contextmanager
def store_errors() -> Generator[None]:
    """Maps SQLite's errors to errors that a client may see, without paths and SQL."""
    try:
        yield
    except sqlite3.Error as error:
        raise _mapped(error) from error


def _mapped(error: sqlite3.Error) -> MismoError:
    code = cast("int", getattr(error, "sqlite_errorcode", 0)) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DiskFullError(
            "the server's disk is full: free some space or delete finished jobs, then try again"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError("the job store is damaged; restore it and start the server again")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreError(
        f"the job store failed ({name}); try again, and see the server's log if that is no help"
    )


def queries() -> dict[str, str]:
    """The statements of `sql/queries.sql` by name."""
    parts = re.split(r"^-- name: (\w+)\n", _sql("queries.sql"), flags=re.MULTILINE)
    return {name: query.strip() for name, query in zip(parts[1::2], parts[2::2], strict=True)}


def _sql(name: str) -> str:
    return resources.files("mismo_grpc.jobs.store").joinpath("sql", name).read_text(encoding="utf-8")


def _migrations() -> list[str]:
    folder = resources.files("mismo_grpc.jobs.store").joinpath("sql")
    names = sorted(file.name for file in folder.iterdir() if file.name.startswith("migration_"))
    return [_sql(name) for name in names]


def _migrate(writer: sqlite3.Connection) -> None:
    """Migrates the schema, each step in one transaction; `user_version` is the number of completed steps."""
    migrations = _migrations()
    version = cast("int", writer.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise StoreError(
            f"the job store was written by a newer version of this server (schema {version}, this one knows "
            f"{len(migrations)}); start that version, or give this one another jobs folder"
        )
    for number, script in enumerate(migrations[version:], start=version + 1):
        writer.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")
