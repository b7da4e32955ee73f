"""A mounted file system that loses unsynced data at a simulated power cut (its rules: `tests/powercut/model.py`).

`python -m tests.powercut.forgetful FOLDER --seed N --bytes N` mounts it at an empty folder. It reads commands from its
standard input, `cut` (lose unsynced data) and `sync` (make everything durable), and ends when its input ends. It prints
"mounted" at the beginning and after each command. No file may be open at a command: the file system is unmounted, which
also empties the kernel's caches.

Writes reach this process at once, because the kernel does not buffer them (no writeback cache). Writes to a shared
mapping reach it at the latest when the mapping or its process ends, and before an fsync.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import threading
import time
from errno import EBADF, EINVAL, EISDIR, EOPNOTSUPP
from random import Random
from typing import Any

import mfusepy

from tests.powercut.model import PAGE, Directory, File, Inode, Symlink, Tree, error

KEEP_SIZE, PUNCH_HOLE = 1, 2
"""Of fallocate(2)."""
LONGEST_NAME = 255
UNMOUNT_SECONDS, RETRY_SECONDS = 30.0, 0.05


class Session(mfusepy.FUSE):
    """Passes on the handle of an open file where the library drops it; a file without a name has only its handle."""

    def truncate_fuse_3(self, path: bytes | None, length: int, fip: Any) -> int:
        return self.ftruncate(path, length, fip)


class Forgetful(mfusepy.Operations):
    """Implements the system calls on a Tree; one call at a time."""

    use_ns = True
    # Calls on open files have no path, because the file may have been removed.
    flag_nopath = flag_nullpath_ok = True

    def __init__(self, tree: Tree, mounted: threading.Event) -> None:
        self._tree = tree
        self._mounted = mounted
        self._handles: dict[int, Inode] = {}
        self._numbers = itertools.count(1)

    def init(self, path: str) -> None:
        self._mounted.set()

    def _open(self, inode: Inode) -> int:
        handle = next(self._numbers)
        self._handles[handle] = inode
        return handle

    def _inode(self, path: str | None, fh: int | None) -> Inode:
        if fh is not None and fh in self._handles:
            return self._handles[fh]
        if path is None:
            raise error(EBADF)
        return self._tree.find(path)

    def _file(self, fh: int) -> File:
        inode = self._handles[fh]
        if not isinstance(inode, File):
            raise error(EISDIR)
        return inode

    # Attributes

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        inode = self._inode(path, fh)
        access, modified, changed = inode.times
        return {
            "st_ino": inode.number,
            "st_mode": inode.mode,
            "st_nlink": 2 if isinstance(inode, Directory) else inode.links,
            "st_size": inode.size,
            "st_blocks": -(-inode.size // 512),
            "st_blksize": PAGE,
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
            "st_atime": access,
            "st_mtime": modified,
            "st_ctime": changed,
        }

    def chmod(self, path: str, mode: int) -> int:
        inode = self._tree.find(path)
        inode.mode = inode.mode & ~0o7777 | mode & 0o7777
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        if times is not None:
            self._tree.find(path).times[:2] = times
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        blocks = self._tree.total_bytes // PAGE
        free = max(0, blocks - -(-self._tree.used_bytes() // PAGE))
        return {
            "f_bsize": PAGE,
            "f_frsize": PAGE,
            "f_blocks": blocks,
            "f_bfree": free,
            "f_bavail": free,
            "f_namemax": LONGEST_NAME,
        }

    # Names

    def opendir(self, path: str) -> int:
        return self._open(self._tree.directory(path))

    def readdir(self, path: str, fh: int) -> list[Any]:
        folder = self._handles[fh]
        assert isinstance(folder, Directory)
        entries = [(name, {"st_ino": i.number, "st_mode": i.mode}, 0) for name, i in folder.names.items()]
        return [".", "..", *entries]

    def releasedir(self, path: str, fh: int) -> int:
        del self._handles[fh]
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        self._tree.mkdir(path, mode)
        return 0

    def rmdir(self, path: str) -> int:
        self._tree.rmdir(path)
        return 0

    def unlink(self, path: str) -> int:
        self._tree.unlink(path)
        return 0

    def rename(self, old: str, new: str) -> int:
        self._tree.rename(old, new)
        return 0

    def symlink(self, target: str, source: str) -> int:
        # The library's argument `target` is the new name.
        self._tree.symlink(target, source)
        return 0

    def readlink(self, path: str) -> str:
        inode = self._tree.find(path)
        if not isinstance(inode, Symlink):
            raise error(EINVAL)
        return inode.target

    def link(self, target: str, source: str) -> int:
        self._tree.link(target, source)
        return 0

    # Content

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return self._open(self._tree.create(path, mode))

    def open(self, path: str, flags: int) -> int:
        return self._open(self._tree.find(path))

    def release(self, path: str, fh: int) -> int:
        del self._handles[fh]
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return bytes(self._file(fh).data[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        file = self._file(fh)
        self._tree.require(offset + len(data) - file.size)
        file.write(data, offset)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        file = self._inode(path, fh)
        if not isinstance(file, File):
            raise error(EISDIR)
        file.truncate(length)
        return 0

    def fallocate(self, path: str, mode: int, offset: int, size: int, fh: int) -> int:
        file = self._file(fh)
        if mode == KEEP_SIZE | PUNCH_HOLE:
            end = min(offset + size, file.size)
            if offset < end:
                file.write(bytes(end - offset), offset)
        elif mode & ~KEEP_SIZE:
            raise error(EOPNOTSUPP)
        else:
            self._tree.require(offset + size - file.size)
            if not mode and offset + size > file.size:
                file.truncate(offset + size)
        return 0

    def flush(self, path: str, fh: int) -> int:
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._tree.sync(self._handles[fh])
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._tree.sync(self._handles[fh])
        return 0


class Control:
    """Executes commands in a thread, while the main thread serves the file system."""

    def __init__(self, folder: str, tree: Tree, seed: int) -> None:
        self._folder = folder
        self._tree = tree
        self._draw = Random(seed)
        self._mounted = threading.Event()
        self._command = ""

    def run(self) -> None:
        threading.Thread(target=self._execute_commands, daemon=True).start()
        while self._command != "end":
            Session(
                Forgetful(self._tree, self._mounted),
                self._folder,
                foreground=True,
                nothreads=True,
                # A file that is removed while it is open gets no hidden name.
                hard_remove=True,
                use_ino=True,
                # The kernel caches attributes by name; two names of one file could then disagree.
                attr_timeout=0,
            )
            if self._command == "cut":
                self._tree.cut(self._draw)
            elif self._command == "sync":
                self._tree.sync_all()

    def _execute_commands(self) -> None:
        self._print_mounted()
        for command in map(str.strip, sys.stdin):
            self._command = command
            self._unmount()
            self._print_mounted()
        # The process that gave the commands has ended, and may have left files open.
        self._command = "end"
        subprocess.run(["fusermount3", "-u", "-z", self._folder], check=True)
        os._exit(0)

    def _unmount(self) -> None:
        """Unmounts it once no file is open: the workers of a killed server end a moment after it."""
        for _ in range(int(UNMOUNT_SECONDS / RETRY_SECONDS)):
            if subprocess.run(["fusermount3", "-u", self._folder], capture_output=True).returncode == 0:
                return
            time.sleep(RETRY_SECONDS)
        print("a file is still open", file=sys.stderr, flush=True)
        os._exit(1)

    def _print_mounted(self) -> None:
        self._mounted.wait()
        self._mounted.clear()
        print("mounted", flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--bytes", type=int, required=True, help="size of the file system")
    given = parser.parse_args()
    Control(given.folder, Tree(given.bytes), given.seed).run()


if __name__ == "__main__":
    main()
