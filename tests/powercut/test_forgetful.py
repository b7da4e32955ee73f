"""The forgetful file system as programs use it: mounted, through the kernel."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.storage.disk import sync
from tests.powercut.disk import ForgetfulDisk

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[ForgetfulDisk]:
    disk = ForgetfulDisk(tmp_path / "disk", seed=1, size_bytes=64 * MIB)
    yield disk
    disk.close()
    assert not any(disk.folder.iterdir())


def test_synced_files_survive_and_others_need_not(disk: ForgetfulDisk) -> None:
    folder = disk.folder / "folder"
    folder.mkdir()
    for number in range(20):
        (folder / f"synced-{number}").write_bytes(b"content")
        sync(folder / f"synced-{number}")
    for number in range(20):
        (folder / f"unsynced-{number}").write_bytes(b"content")
    disk.cut()
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert all(found[f"synced-{number}"] == b"content" for number in range(20))
    unsynced = [found.get(f"unsynced-{number}") for number in range(20)]
    assert any(content != b"content" for content in unsynced)


def test_names_survive_a_sync_of_their_folder(disk: ForgetfulDisk) -> None:
    (disk.folder / "file").write_bytes(b"content")
    sync(disk.folder / "file")
    os.link(disk.folder / "file", disk.folder / "second")
    (disk.folder / "third").symlink_to("second")
    os.replace(disk.folder / "file", disk.folder / "first")
    sync(disk.folder)
    disk.cut()
    assert {path.name for path in disk.folder.iterdir()} == {"first", "second", "third"}
    assert (disk.folder / "third").read_bytes() == b"content"
    assert (disk.folder / "first").samefile(disk.folder / "second")
    assert os.readlink(disk.folder / "third") == "second"


def test_what_lies_there_is_durable_after_a_whole_sync(disk: ForgetfulDisk) -> None:
    for number in range(20):
        (disk.folder / f"{number}").write_bytes(bytes([number]) * MIB)
    disk.sync_all()
    disk.cut()
    for number in range(20):
        assert (disk.folder / f"{number}").read_bytes() == bytes([number]) * MIB


COMMITS = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
assert connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
connection.execute("PRAGMA synchronous=FULL")
connection.execute("CREATE TABLE IF NOT EXISTS numbers (number)")
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 20):
    connection.execute("INSERT INTO numbers VALUES (?)", (number,))
os._exit(0)  # closing would write the log back into the file, with a sync
"""


def test_commits_of_sqlite_survive(disk: ForgetfulDisk) -> None:
    path = disk.folder / "database"
    for begin in range(0, 80, 20):
        subprocess.run([sys.executable, "-c", COMMITS, path, str(begin)], check=True)
        disk.cut()
    connection = sqlite3.connect(path)
    assert [row[0] for row in connection.execute("SELECT number FROM numbers ORDER BY number")] == [
        *range(80)
    ]
    connection.close()


def test_files_are_used_in_every_way_that_the_server_does(disk: ForgetfulDisk) -> None:
    path = disk.folder / "file"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.posix_fallocate(descriptor, 0, MIB)
    assert os.fstat(descriptor).st_size == MIB
    assert os.pwrite(descriptor, b"written", 1000) == 7
    mapped = np.memmap(path, "u1", "r+")
    assert bytes(mapped[1000:1007]) == b"written"
    mapped[2000:2006] = np.frombuffer(b"mapped", "u1")
    mapped.flush()
    assert os.pread(descriptor, 6, 2000) == b"mapped"
    del mapped
    os.fdatasync(descriptor)
    os.ftruncate(descriptor, 3000)
    path.unlink()
    assert os.pread(descriptor, MIB, 1000).startswith(b"written")
    os.ftruncate(descriptor, 10)
    assert os.pread(descriptor, MIB, 0) == bytes(10)
    os.close(descriptor)
    (disk.folder / "source").write_bytes(b"content" * MIB)
    shutil.copyfile(disk.folder / "source", disk.folder / "copy")
    assert (disk.folder / "copy").read_bytes() == b"content" * MIB


def test_a_mapping_that_was_synced_survives(disk: ForgetfulDisk) -> None:
    path = disk.folder / "file"
    path.write_bytes(bytes(MIB))
    mapped = np.memmap(path, "u1", "r+")
    mapped[:] = 7
    sync(path)
    del mapped
    disk.cut()
    assert path.read_bytes() == b"\7" * MIB


def test_it_is_as_large_as_it_was_made(disk: ForgetfulDisk) -> None:
    assert shutil.disk_usage(disk.folder).total == 64 * MIB
    (disk.folder / "file").write_bytes(bytes(8 * MIB))
    assert shutil.disk_usage(disk.folder).free == 56 * MIB
    with pytest.raises(OSError, match="space") as refused, (disk.folder / "more").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 57 * MIB)
    assert refused.value.errno == errno.ENOSPC
