"""A file system in memory that tracks what is durable: the minimum that Linux's file systems guarantee, and no more.

Content. A file's content is durable up to its last fsync or fdatasync. For each file with unsynced writes, a power cut
draws one of these outcomes:

- the old content and size: nothing had been written back;
- the new size, without the writes: ext4 and xfs allocate late, so the size can be durable before the data;
- the new size, and some of the unsynced pages of 4 KiB: the kernel writes pages back in any order;
- a size between, and some of the pages: ext4 increases the size as pages are written back.

A page that was not written back has its last durable content; zeros if it had none, or if a truncation has freed its
old blocks since. A page is written completely or not at all, as sectors guarantee.

Names. Creating, renaming, linking and removing are durable after an fsync of the directory. Of the unsynced operations
of a directory a prefix persists, in order: file systems with a journal (ext4, xfs, btrfs) keep that order, and the
length of the prefix is random. A rename from one directory into another is a single operation: it persists as a whole,
and only after all earlier operations in both directories, so a file is never lost from both. Creating and removing a
directory count as operations in that directory too: nothing persists in a directory that does not persist, and no
directory is removed before the removals from it persist. Between directories that share no operation no order is
guaranteed, as in POSIX.

An fsync of a new file or directory makes its own creation durable, with all earlier operations in its directory and in
the directories above: ext4, xfs and btrfs do so (the inode and its name are in one transaction, and btrfs logs the
names of new ancestors). It does not make a later rename or link of it durable.

Times, owners and modes are not part of the model: they survive.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

PAGE = 4096


class Inode:
    """An inode; `mode` includes the type, `times` are access, modification and change in ns."""

    def __init__(self, number: int, mode: int) -> None:
        self.number = number
        self.mode = mode
        self.times = [time.time_ns()] * 3
        self.links = 0
        self.born: Operation | None = None

    @property
    def size(self) -> int:
        return 0


class Symlink(Inode):
    def __init__(self, number: int, target: str) -> None:
        super().__init__(number, stat.S_IFLNK | 0o777)
        self.target = target

    @property
    def size(self) -> int:
        return len(os.fsencode(self.target))


class Directory(Inode):
    def __init__(self, number: int, mode: int) -> None:
        super().__init__(number, stat.S_IFDIR | mode)
        self.names: dict[str, Inode] = {}
        self.durable: dict[str, Inode] = {}


class File(Inode):
    def __init__(self, number: int, mode: int) -> None:
        super().__init__(number, stat.S_IFREG | mode)
        self.data = bytearray()
        self._durable_size = 0
        self._old: dict[int, bytes] = {}
        """The durable content of the pages that were changed since the last sync."""
        self._freed: set[int] = set()
        """Those of these pages whose blocks a truncation has freed."""
        self._least_size = 0
        """Whether it was changed since the last sync."""

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def unsynced(self) -> bool:
        return bool(self._old) or self.size != self._durable_size

    def write(self, content: bytes, offset: int) -> None:
        end = offset + len(content)
        self._remember(offset, end)
        if end > self.size:
            self.data.extend(bytes(end - self.size))
        self.data[offset:end] = content
        self._touch()

    def truncate(self, size: int) -> None:
        if size < self.size:
            self._remember(size, self.size)
            self._freed.update(range(-(-size // PAGE), -(-self.size // PAGE)))
            self._least_size = min(self._least_size, size)
            del self.data[size:]
        else:
            self.data.extend(bytes(size - self.size))
        self._touch()

    def _remember(self, start: int, end: int) -> None:
        for page in range(start // PAGE, -(-end // PAGE)):
            if page not in self._old:
                self._old[page] = bytes(self.data[page * PAGE : min((page + 1) * PAGE, self._durable_size)])

    def _touch(self) -> None:
        self.times[1] = self.times[2] = time.time_ns()

    def sync(self) -> None:
        self._durable_size = self._least_size = self.size
        self._old.clear()
        self._freed.clear()

    def cut(self, draw: Random) -> None:
        """Replaces the content with the outcome of a power cut."""
        if not self.unsynced:
            return
        durable = self.data[: self._durable_size].ljust(self._durable_size, b"\0")
        for page, content in self._old.items():
            durable[page * PAGE : page * PAGE + len(content)] = content
        outcome = draw.choice(("old", "without the writes", "some pages", "a size between"))
        if outcome == "old":
            self.data = durable
        else:
            size, share = self.size, draw.random()
            if outcome == "a size between":
                steps = -(-(size - self._least_size) // PAGE)
                size = min(size, self._least_size + PAGE * draw.randint(0, steps))
            found = durable[:size].ljust(size, b"\0")
            for page in sorted(self._old):
                place = slice(page * PAGE, min((page + 1) * PAGE, size))
                if place.start >= size:
                    break
                if outcome != "without the writes" and draw.random() < share:
                    found[place] = self.data[place]
                elif page in self._freed:
                    found[place] = bytes(place.stop - place.start)
            self.data = found
        self.sync()


@dataclass(eq=False)
class Operation:
    """A change of names as one unit: for each directory and name the new inode, None for a removed name."""

    edits: list[tuple[Directory, str, Inode | None]]
    touches: set[Directory] = field(default_factory=set[Directory])

    def persist(self) -> None:
        for folder, name, inode in self.edits:
            if inode is None:
                folder.durable.pop(name, None)
            else:
                folder.durable[name] = inode
            if inode is not None and inode.born is self:
                inode.born = None


InodeT = TypeVar("InodeT", bound=Inode)


class Tree:
    """All files of the file system, `total_bytes` at most; raises OSError as the system calls do."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._numbers = 1
        self.root = Directory(1, 0o755)
        self._pending: list[Operation] = []

    # Looking

    def find(self, path: str) -> Inode:
        inode: Inode = self.root
        for name in path.split("/"):
            if name:
                if not isinstance(inode, Directory):
                    raise error(errno.ENOTDIR)
                if name not in inode.names:
                    raise error(errno.ENOENT)
                inode = inode.names[name]
        return inode

    def directory(self, path: str) -> Directory:
        inode = self.find(path)
        if not isinstance(inode, Directory):
            raise error(errno.ENOTDIR)
        return inode

    def _place(self, path: str) -> tuple[Directory, str]:
        parent, _, name = path.rpartition("/")
        return self.directory(parent), name

    def reachable(self) -> Iterable[Inode]:
        """Every inode that has a name, once."""
        seen: dict[int, Inode] = {}
        waiting: list[Inode] = [self.root]
        while waiting:
            inode = waiting.pop()
            if inode.number not in seen:
                seen[inode.number] = inode
                if isinstance(inode, Directory):
                    waiting += inode.names.values()
        return seen.values()

    def used_bytes(self) -> int:
        return sum(inode.size for inode in self.reachable() if isinstance(inode, File))

    def require(self, more_bytes: int) -> None:
        """Raises ENOSPC if `more_bytes` more bytes do not fit."""
        if more_bytes > 0 and self.used_bytes() + more_bytes > self.total_bytes:
            raise error(errno.ENOSPC)

    # Changing names

    def create(self, path: str, mode: int) -> File:
        return self._add(path, File(self._next(), mode & 0o7777))

    def mkdir(self, path: str, mode: int) -> Directory:
        return self._add(path, Directory(self._next(), mode & 0o7777))

    def symlink(self, path: str, target: str) -> Symlink:
        return self._add(path, Symlink(self._next(), target))

    def link(self, path: str, existing: str) -> None:
        folder, name = self._free(path)
        self._do(Operation([(folder, name, self.find(existing))]))

    def unlink(self, path: str) -> None:
        folder, name = self._place(path)
        if isinstance(self.find(path), Directory):
            raise error(errno.EISDIR)
        self._do(Operation([(folder, name, None)]))

    def rmdir(self, path: str) -> None:
        folder, name = self._place(path)
        self._do(Operation([(folder, name, None)], {self._empty(path)}))

    def rename(self, old: str, new: str) -> None:
        (source, source_name), (target, target_name) = self._place(old), self._place(new)
        inode, replaced = self.find(old), target.names.get(target_name)
        if replaced is inode:
            return
        # A moved or replaced directory contains its parent's name (..), so it changes too.
        touches = {inode} if isinstance(inode, Directory) else set[Directory]()
        if isinstance(replaced, Directory):
            if not isinstance(inode, Directory):
                raise error(errno.EISDIR)
            touches.add(self._empty(new))
        elif replaced is not None and isinstance(inode, Directory):
            raise error(errno.ENOTDIR)
        self._do(Operation([(source, source_name, None), (target, target_name, inode)], touches))

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers

    def _free(self, path: str) -> tuple[Directory, str]:
        folder, name = self._place(path)
        if name in folder.names:
            raise error(errno.EEXIST)
        return folder, name

    def _empty(self, path: str) -> Directory:
        folder = self.directory(path)
        if folder.names:
            raise error(errno.ENOTEMPTY)
        return folder

    def _add(self, path: str, inode: InodeT) -> InodeT:
        folder, name = self._free(path)
        inode.born = Operation([(folder, name, inode)], {inode} if isinstance(inode, Directory) else set())
        self._do(inode.born)
        return inode

    def _do(self, operation: Operation) -> None:
        for folder, name, inode in operation.edits:
            if name in folder.names:
                folder.names.pop(name).links -= 1
            if inode is not None:
                folder.names[name] = inode
                inode.links += 1
            folder.times[1] = folder.times[2] = time.time_ns()
            operation.touches.add(folder)
        self._pending.append(operation)

    # What is durable

    def sync(self, inode: Inode) -> None:
        """fsync: makes a file's content and creation durable, or a directory's names and creation."""
        if isinstance(inode, File):
            inode.sync()
        wanted = {inode.born} if inode.born is not None else set[Operation]()
        if isinstance(inode, Directory):
            wanted |= {operation for operation in self._pending if inode in operation.touches}
        touched: set[Directory] = set()
        for operation in reversed(self._pending):
            if operation in wanted or touched & operation.touches:
                wanted.add(operation)
                touched |= operation.touches
        self._persist(wanted)

    def sync_all(self) -> None:
        """Makes everything durable, as an orderly shutdown does."""
        self._persist(set(self._pending))
        for inode in self.reachable():
            if isinstance(inode, File):
                inode.sync()

    def _persist(self, wanted: set[Operation]) -> None:
        for operation in self._pending:
            if operation in wanted:
                operation.persist()
        self._pending = [operation for operation in self._pending if operation not in wanted]

    def cut(self, draw: Random) -> None:
        """Changes the tree to what is found after a power cut; no file may be open."""
        self._persist(self._draw_persisted(draw))
        self._pending.clear()
        self._return_to_the_durable_names()
        for inode in sorted(self.reachable(), key=lambda inode: inode.number):
            inode.born = None
            if isinstance(inode, File):
                inode.cut(draw)

    def _draw_persisted(self, draw: Random) -> set[Operation]:
        counts = Counter(folder for operation in self._pending for folder in operation.touches)
        left = {f: draw.randint(0, counts[f]) for f in sorted(counts, key=lambda folder: folder.number)}
        kept: set[Operation] = set()
        for operation in self._pending:
            if all(left[folder] > 0 for folder in operation.touches):
                kept.add(operation)
                for folder in operation.touches:
                    left[folder] -= 1
            else:
                for folder in operation.touches:
                    left[folder] = 0
        return kept

    def _return_to_the_durable_names(self) -> None:
        waiting: list[Inode] = [self.root]
        seen: set[int] = set()
        self.root.links = 0
        while waiting:
            inode = waiting.pop()
            inode.links += 1
            if inode.number in seen:
                continue
            seen.add(inode.number)
            inode.links = 1
            if isinstance(inode, Directory):
                inode.names = dict(inode.durable)
                waiting += inode.names.values()


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
