"""What the forgetful file system guarantees, and that it guarantees no more."""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

import pytest

from tests.powercut.model import PAGE, File, Tree

SEEDS = range(200)
OLD, NEW = b"old!" * PAGE, b"new!" * PAGE
"""Four pages each."""


def tree() -> Tree:
    return Tree(1 << 30)


def content(tree: Tree, path: str) -> bytes:
    found = tree.find(path)
    assert isinstance(found, File)
    return bytes(found.data)


def names(tree: Tree, path: str = "/") -> set[str]:
    return set(tree.directory(path).names)


def write(tree: Tree, path: str, data: bytes, *, synced: bool = False) -> File:
    file = tree.create(path, 0o644)
    file.write(data, 0)
    if synced:
        tree.sync(file)
    return file


def outcomes(prepare: Callable[[Tree], None], look: Callable[[Tree], object]) -> set[object]:
    """Returns what `look` finds after cuts with many seeds."""
    seen: set[object] = set()
    for seed in SEEDS:
        disk = tree()
        prepare(disk)
        disk.cut(Random(seed))
        seen.add(look(disk))
    return seen


def test_a_synced_file_survives_with_its_name_and_the_folders_above() -> None:
    def prepare(disk: Tree) -> None:
        disk.mkdir("/a", 0o755)
        disk.mkdir("/a/b", 0o755)
        write(disk, "/a/b/file", NEW, synced=True)

    assert outcomes(prepare, lambda disk: content(disk, "/a/b/file")) == {NEW}


def test_a_new_file_may_be_absent_empty_zero_short_half_written_or_whole() -> None:
    def look(disk: Tree) -> object:
        if "file" not in names(disk):
            return "absent"
        found = content(disk, "/file")
        pages = [found[place : place + PAGE] for place in range(0, len(found), PAGE)]
        assert all(page in (bytes(PAGE), NEW[:PAGE]) for page in pages)
        if not found:
            return "empty"
        if len(found) < len(NEW):
            return "short"
        return {0: "zero", len(pages): "whole"}.get(sum(map(any, pages)), "half written")

    seen = outcomes(lambda disk: void(write(disk, "/file", NEW)), look)
    assert seen == {"absent", "empty", "zero", "short", "half written", "whole"}


def void(_: object) -> None:
    return None


def test_an_overwrite_leaves_old_and_new_pages_and_never_zeros() -> None:
    def prepare(disk: Tree) -> None:
        write(disk, "/file", OLD, synced=True).write(NEW, 0)

    seen = outcomes(prepare, lambda disk: content(disk, "/file"))
    assert {OLD, NEW} < seen
    for found in seen:
        assert isinstance(found, bytes)
        assert {found[place : place + PAGE] for place in range(0, len(OLD), PAGE)} <= {OLD[:PAGE], NEW[:PAGE]}


def test_what_was_not_written_since_the_last_sync_is_never_touched() -> None:
    def prepare(disk: Tree) -> None:
        write(disk, "/file", OLD, synced=True).write(b"x", 2 * PAGE)

    for found in outcomes(prepare, lambda disk: content(disk, "/file")):
        assert isinstance(found, bytes)
        assert found[: 2 * PAGE] == OLD[: 2 * PAGE]
        assert found[2 * PAGE : 3 * PAGE] in (OLD[:PAGE], b"x" + OLD[1:PAGE])
        assert found[3 * PAGE :] == OLD[:PAGE]


def test_a_file_that_is_emptied_and_written_anew_may_be_empty_or_zero() -> None:
    def prepare(disk: Tree) -> None:
        file = write(disk, "/file", OLD, synced=True)
        file.truncate(0)
        file.write(NEW, 0)

    seen = outcomes(prepare, lambda disk: content(disk, "/file"))
    assert {OLD, NEW, b"", bytes(len(NEW))} <= seen


def test_room_that_was_set_aside_reads_as_zeros() -> None:
    def prepare(disk: Tree) -> None:
        file = disk.create("/file", 0o644)
        file.truncate(len(NEW))
        disk.sync(file)
        file.write(NEW[:PAGE], PAGE)

    seen = outcomes(prepare, lambda disk: content(disk, "/file"))
    assert seen == {bytes(4 * PAGE), bytes(PAGE) + NEW[:PAGE] + bytes(2 * PAGE)}


@pytest.mark.parametrize("synced", [False, True])
def test_a_rename_holds_once_its_folder_is_synced(synced: bool) -> None:
    def prepare(disk: Tree) -> None:
        write(disk, "/file", OLD, synced=True)
        write(disk, "/temporary", NEW, synced=True)
        disk.rename("/temporary", "/file")
        if synced:
            disk.sync(disk.root)

    seen = outcomes(prepare, lambda disk: (frozenset(names(disk)), content(disk, "/file")))
    undone = (frozenset({"file", "temporary"}), OLD)
    assert seen == {(frozenset({"file"}), NEW)} | (set() if synced else {undone})


def test_a_folders_operations_persist_in_their_order() -> None:
    def prepare(disk: Tree) -> None:
        for number in range(4):
            disk.create(f"/{number}", 0o644)
        disk.unlink("/0")

    seen = outcomes(prepare, lambda disk: "".join(sorted(names(disk))))
    assert seen == {"", "0", "01", "012", "0123", "123"}


def test_what_was_removed_may_come_back() -> None:
    def prepare(disk: Tree) -> None:
        write(disk, "/file", OLD, synced=True)
        disk.unlink("/file")

    assert outcomes(prepare, lambda disk: frozenset(names(disk))) == {frozenset(), frozenset({"file"})}


def test_a_move_between_folders_happens_in_both_or_in_neither() -> None:
    def prepare(disk: Tree) -> None:
        disk.mkdir("/from", 0o755)
        write(disk, "/from/file", OLD, synced=True)
        disk.mkdir("/to", 0o755)
        disk.rename("/from/file", "/to/file")
        disk.rmdir("/from")

    def look(disk: Tree) -> object:
        return sum("file" in names(disk, f"/{folder}") for folder in names(disk))

    assert outcomes(prepare, look) == {1}


def test_a_sync_of_one_folder_takes_what_came_before_in_the_other() -> None:
    def prepare(disk: Tree) -> None:
        disk.mkdir("/from", 0o755)
        disk.mkdir("/to", 0o755)
        disk.create("/from/first", 0o644)
        disk.create("/from/file", 0o644)
        disk.rename("/from/file", "/to/file")
        disk.create("/from/later", 0o644)
        disk.sync(disk.directory("/to"))

    seen = outcomes(prepare, lambda disk: (frozenset(names(disk, "/from")), frozenset(names(disk, "/to"))))
    assert seen == {
        (frozenset({"first"}), frozenset({"file"})),
        (frozenset({"first", "later"}), frozenset({"file"})),
    }


def test_a_link_is_a_name_of_its_own() -> None:
    def prepare(disk: Tree) -> None:
        file = write(disk, "/file", OLD, synced=True)
        disk.link("/other", "/file")
        disk.unlink("/file")
        disk.sync(disk.root)
        assert file.links == 1

    assert outcomes(prepare, lambda disk: (frozenset(names(disk)), content(disk, "/other"))) == {
        (frozenset({"other"}), OLD)
    }


def test_after_a_cut_what_is_found_is_durable() -> None:
    for seed in SEEDS:
        disk = tree()
        write(disk, "/file", NEW)
        disk.symlink("/link", "file")
        disk.cut(Random(seed))
        found = {name: bytes(i.data) if isinstance(i, File) else i for name, i in disk.root.names.items()}
        disk.cut(Random(seed + 1))
        assert {
            name: bytes(i.data) if isinstance(i, File) else i for name, i in disk.root.names.items()
        } == found


def test_one_seed_gives_one_outcome() -> None:
    def after(seed: int) -> dict[str, bytes]:
        disk = tree()
        for number in range(10):
            write(disk, f"/{number}", NEW)
        disk.cut(Random(seed))
        return {name: content(disk, f"/{name}") for name in names(disk)}

    assert all(after(seed) == after(seed) for seed in SEEDS)
    assert len({str(after(seed)) for seed in SEEDS}) > 100


def test_all_is_durable_after_a_whole_sync() -> None:
    def prepare(disk: Tree) -> None:
        disk.mkdir("/folder", 0o755)
        write(disk, "/folder/file", NEW)
        disk.sync_all()

    assert outcomes(prepare, lambda disk: content(disk, "/folder/file")) == {NEW}


MISTAKES: dict[int, list[Callable[[Tree], object]]] = {
    errno.ENOENT: [lambda disk: disk.find("/none")],
    errno.ENOTDIR: [lambda disk: disk.find("/file/below"), lambda disk: disk.rename("/folder", "/file")],
    errno.EEXIST: [lambda disk: disk.create("/file", 0), lambda disk: disk.link("/folder", "/file")],
    errno.EISDIR: [lambda disk: disk.unlink("/folder"), lambda disk: disk.rename("/file", "/folder")],
    errno.ENOTEMPTY: [lambda disk: disk.rmdir("/folder"), lambda disk: disk.rename("/empty", "/folder")],
    errno.ENOSPC: [lambda disk: disk.require(1 << 30)],
}


def test_mistakes_are_refused_as_by_any_file_system() -> None:
    disk = tree()
    write(disk, "/file", OLD)
    disk.mkdir("/empty", 0o755)
    disk.mkdir("/folder", 0o755)
    disk.create("/folder/file", 0o644)
    for number, calls in MISTAKES.items():
        for call in calls:
            with pytest.raises(OSError, match=r".") as refused:
                call(disk)
            assert refused.value.errno == number
