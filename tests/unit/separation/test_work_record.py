"""A journal is taken up only as far as it can be read and only by the work that wrote it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.work_record import FinishedRange, WorkRecord

WORK = {"boot": "b1", "mix": [10, 44_100]}
FIRST = FinishedRange(0, 5, (1, 2))
SECOND = FinishedRange(5, 9, (3, 4))


def journal(path: Path) -> Path:
    """Two segments done."""
    record = WorkRecord(path, WORK)
    record.commit(0, [FIRST], [FIRST])
    record.commit(1, [SECOND], [SECOND])
    record.close()
    return path


def found(path: Path, work: dict[str, object] = WORK) -> tuple[list[tuple[int, int]], list[FinishedRange]]:
    record = WorkRecord(path, work)
    record.close()
    return list(record.done), record.found_ready


def test_what_was_recorded_is_found_again(tmp_path: Path) -> None:
    path = journal(tmp_path / "journal")
    record = WorkRecord(path, WORK)
    assert (list(record.done), record.found_final, record.found_ready) == (
        [(0, 2)],
        [FIRST, SECOND],
        [FIRST, SECOND],
    )
    # Nothing is final before it was compared with the files.
    assert not record.final
    record.keep_only(RangeSet([(1, 2)]), RangeSet([(5, 9)]))
    record.close()
    assert found(path)[0] == [(1, 2)]


def test_a_lost_segment_is_not_done(tmp_path: Path) -> None:
    record = WorkRecord(tmp_path / "journal", WORK)
    record.commit(0, [], [])
    record.commit(1, [], [], lost=[0])
    assert list(record.done) == [(1, 2)]
    record.close()
    assert found(tmp_path / "journal")[0] == [(1, 2)]


@pytest.mark.parametrize("work", [{"boot": "b2", "mix": [10, 44_100]}, {"boot": "b1", "mix": [11, 44_100]}])
def test_a_journal_of_another_boot_or_of_other_work_counts_as_absent(
    tmp_path: Path, work: dict[str, object]
) -> None:
    path = journal(tmp_path / "journal")
    assert found(path, work) == ([], [])
    assert found(path) == ([], []), "the new work has taken its place"


def test_a_journal_that_must_not_be_trusted_counts_as_absent(tmp_path: Path) -> None:
    record = WorkRecord(journal(tmp_path / "journal"), WORK, trusted=False)
    record.close()
    assert not record.done


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: bytes(len(content)),
        lambda content: b"{}\n" + content,
        lambda content: content[: content.index(b"\n")],
        lambda content: b"\xff\xfe" + content,
    ],
)
def test_a_journal_whose_head_cannot_be_read_counts_as_absent(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = journal(tmp_path / "journal")
    path.write_bytes(damage(path.read_bytes()))
    assert found(path) == ([], [])


@pytest.mark.parametrize(
    "tail",
    [
        b'{"final":[],"ready":[],"done":[[0,',
        bytes(100),
        b"[]\n",
        b'{"final":[[0]],"ready":[],"done":[]}\n',
        b'{"final":[],"ready":[],"done":5}\n',
    ],
)
def test_a_line_that_cannot_be_read_ends_the_journal_and_the_next_one_follows_the_good_ones(
    tmp_path: Path, tail: bytes
) -> None:
    path = journal(tmp_path / "journal")
    good = path.read_bytes()
    path.write_bytes(good + tail + b'{"final":[],"ready":[],"done":[[0,9]]}\n')
    record = WorkRecord(path, WORK)
    assert list(record.done) == [(0, 2)]
    record.commit(2, [], [])
    record.close()
    assert path.read_bytes() == good + b'{"final":[],"ready":[],"done":[[0,3]]}\n'


def test_a_disk_without_room_records_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = journal(tmp_path / "journal")
    record = WorkRecord(path, WORK)
    size = path.stat().st_size
    signal = pytest.importorskip("signal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        with pytest.raises(OSError, match="too large"):
            record.commit(2, [FIRST], [FIRST])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert (path.stat().st_size, list(record.done)) == (size, [(0, 2)])
    record.close()
