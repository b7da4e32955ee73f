"""Free space of a folder, durable writes, and the error that a client gets for a full disk."""

from __future__ import annotations

import errno
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mismo_grpc.errors import DiskFullError, disk_error

MIB = 1 << 20

_NO_HARD_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})


class Disk(ABC):
    """Knows how much space is free for files."""

    @abstractmethod
    def free_bytes(self, path: Path) -> int:
        """Returns the bytes that can still be written in the folder `path`; raises OSError if it does not exist."""

    def require(self, path: Path, needed: int, reserve: int = 0) -> None:
        """Raises DiskFullError unless `needed` bytes fit into the folder and leave `reserve` bytes free."""
        free = self.free_bytes(path)
        if free - reserve < needed:
            usable = max(0, free - reserve)
            raise DiskFullError(
                f"this needs {_mib(needed)} on the server's disk, which has {_mib(usable)} left besides its "
                f"reserve of {_mib(reserve)}: delete finished jobs or free some space, then try again",
                metadata={"needed_bytes": str(needed), "free_bytes": str(usable)},
            )


class FileSystemDisk(Disk):
    """The file system that a folder is on."""

    def free_bytes(self, path: Path) -> int:
        """See Disk."""
        return shutil.disk_usage(path).free


class QuotaDisk(Disk):
    """A disk for tests: the folder `root` can hold `limit` bytes; without `root`, each folder can."""

    def __init__(self, limit: int, root: Path | None = None) -> None:
        self.limit = limit
        self._root = root

    def free_bytes(self, path: Path) -> int:
        """See Disk."""
        return max(0, self.limit - folder_bytes(self._root or path))


def folder_bytes(folder: Path) -> int:
    """Returns the total bytes of the files below a folder; a file with several hard links counts once.

    Symbolic links are not followed. 0 if there is no such folder; files that vanish meanwhile are ignored.
    """
    return sum(_file_sizes(folder).values())


def _file_sizes(folder: Path) -> dict[tuple[int, int], int]:
    sizes: dict[tuple[int, int], int] = {}
    waiting = [os.fspath(folder)]
    if folder.is_symlink():
        return sizes
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        stat = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        sizes[stat.st_dev, stat.st_ino] = stat.st_size
        except (FileNotFoundError, NotADirectoryError):
            continue
    return sizes


def sync(path: Path) -> None:
    """Flushes a file's content, or a folder's entries, to the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def synced_file(path: Path) -> Generator[BinaryIO]:
    """Opens a new file to write; its content is synced when the block ends. Its name needs a `sync` of the folder.

    Raises OSError. After any error the file is removed.
    """
    try:
        with path.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def link_or_copy(source: Path, target: Path, disk: Disk, reserve: int = 0) -> None:
    """Creates a hard link to a file, or a synced copy if the file system supports no hard links.

    Raises OSError (FileNotFoundError if the source is gone, FileExistsError); DiskFullError if there is no room for
    a copy.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
    else:
        return
    disk.require(target.parent, source.stat().st_size, reserve)
    try:
        shutil.copyfile(source, target)
        sync(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


@contextmanager
def disk_errors() -> Generator[None]:
    """Converts an OSError raised in the block: to DiskFullError for a full disk or quota, else to InternalError."""
    try:
        yield
    except OSError as error:
        raise disk_error(error) from error


def _mib(count: int) -> str:
    return f"{count / MIB:.1f} MiB"
