"""Room on the disk: asked for before, and refused in words when it runs out."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mismo_grpc.errors import DiskFullError, InternalError
from mismo_grpc.storage.disk import (
    MIB,
    FileSystemDisk,
    QuotaDisk,
    disk_errors,
    folder_bytes,
    link_or_copy,
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_the_real_disk_knows_what_the_system_knows(small_disk: Path) -> None:
    disk = FileSystemDisk()
    assert disk.free_bytes(small_disk) == MIB
    (small_disk / "file").write_bytes(bytes(MIB // 2))
    assert disk.free_bytes(small_disk) == MIB // 2


def test_room_that_is_there_is_given(tmp_path: Path) -> None:
    QuotaDisk(10 * MIB, tmp_path).require(tmp_path, 6 * MIB, reserve=4 * MIB)


def test_the_reserve_is_never_given_away(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError) as caught:
        QuotaDisk(10 * MIB, tmp_path).require(tmp_path, 6 * MIB + 1, reserve=4 * MIB)
    assert "needs 6.0 MiB" in caught.value.message
    assert "delete finished jobs or free some space" in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert caught.value.metadata == {"needed_bytes": str(6 * MIB + 1), "free_bytes": str(6 * MIB)}


def test_a_quota_counts_what_lies_in_its_folder(tmp_path: Path) -> None:
    disk = QuotaDisk(100)
    (tmp_path / "a").write_bytes(bytes(60))
    assert disk.free_bytes(tmp_path) == 40
    (tmp_path / "b").write_bytes(bytes(60))
    assert disk.free_bytes(tmp_path) == 0


def test_a_write_on_a_really_full_disk_is_a_full_disk(small_disk: Path) -> None:
    with pytest.raises(DiskFullError, match="disk is full"), disk_errors():
        (small_disk / "file").write_bytes(bytes(2 * MIB))


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, DiskFullError), (errno.EDQUOT, DiskFullError), (errno.EIO, InternalError)],
)
def test_every_way_of_being_full_is_a_full_disk(number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught, disk_errors():
        raise OSError(number, os.strerror(number), "/var/lib/secret")
    assert "/var/lib/secret" not in str(caught.value)


def test_a_folder_counts_each_file_once_and_follows_no_link(tmp_path: Path) -> None:
    folder, outside = tmp_path / "job", tmp_path / "outside"
    (folder / "stems").mkdir(parents=True)
    outside.mkdir()
    (outside / "big").write_bytes(bytes(1000))
    (folder / "stems" / "a.wav").write_bytes(bytes(10))
    os.link(folder / "stems" / "a.wav", folder / "second name")
    (folder / "b").write_bytes(bytes(5))
    (folder / "away").symlink_to(outside)
    (folder / "big").symlink_to(outside / "big")
    (folder / "broken").symlink_to(tmp_path / "nothing")
    assert folder_bytes(folder) == 15
    assert folder_bytes(folder / "away") == 0
    assert folder_bytes(folder / "b") == 0
    assert folder_bytes(tmp_path / "none") == 0


def test_a_link_is_a_second_name(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"x" * 10)
    link_or_copy(source, target, QuotaDisk(10, tmp_path))
    assert target.samefile(source)
    with pytest.raises(FileExistsError):
        link_or_copy(source, target, QuotaDisk(10, tmp_path))
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "none", tmp_path / "c", QuotaDisk(10, tmp_path))


def test_between_file_systems_it_is_a_copy(small_disk: Path, tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"x" * 1000)
    link_or_copy(source, small_disk / "a", FileSystemDisk())
    assert (small_disk / "a").read_bytes() == source.read_bytes()
    source.write_bytes(bytes(2 * MIB))
    with pytest.raises(DiskFullError):
        link_or_copy(source, small_disk / "b", FileSystemDisk())
    assert not (small_disk / "b").exists()
    assert shutil.disk_usage(small_disk).used > 0
