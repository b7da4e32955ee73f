"""The changes of a job store: numbered, in order, each job once, removals remembered; the same for both stores."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from mismo_grpc.errors import DiskFullError, StoreError
from mismo_grpc.jobs.callbacks import CallbackRow
from mismo_grpc.jobs.job import JobState
from mismo_grpc.jobs.store import sqlite_store
from mismo_grpc.jobs.store.change_records import Change, ChangePage, RemovedJob
from mismo_grpc.jobs.store.port import JobStore
from mismo_grpc.jobs.store.sqlite_file import queries
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from tests.support.memory_store import MemoryJobStore
from tests.unit.jobs.store.test_store import a_job, accept
from tests.unit.jobs.store.test_store_sqlite import written_by


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    opened: JobStore = SqliteJobStore(tmp_path / "jobs.db") if request.param == "sqlite" else MemoryJobStore()
    yield opened
    opened.close()


def subjects(page: ChangePage) -> list[str]:
    """Job ids in order, those of removed jobs with a minus."""
    return [
        ("-" if isinstance(change.subject, RemovedJob) else "") + change.subject.job_id
        for change in page.changes
    ]


def last(store: JobStore) -> int:
    return store.change_head().last_change


def test_an_empty_store_has_no_changes(store: JobStore) -> None:
    assert store.changes(0) == ChangePage((), 0)
    assert (last(store), store.change_head().forgotten_change) == (0, 0)


def test_a_job_comes_once_in_its_newest_state_at_the_place_of_its_latest_change(store: JobStore) -> None:
    accept(store, a_job("a"), a_job("b"))
    changed = a_job("a", revision=2, state=JobState.RUNNING)
    store.save(changed)
    assert store.changes(0) == ChangePage((Change(2, a_job("b")), Change(3, changed)), 3)
    assert store.changes(2).changes == (Change(3, changed),)
    assert store.changes(3).changes == ()


def test_a_silent_change_is_stored_without_a_number(store: JobStore) -> None:
    accept(store, a_job("a"), a_job("b"))
    silent = a_job("a", revision=2, segments_done=1)
    assert store.save(silent, (), True)
    assert store.changes(0).changes == (Change(1, silent), Change(2, a_job("b")))
    assert last(store) == 2


def test_what_is_not_stored_takes_no_number(store: JobStore) -> None:
    accept(store, a_job("a"))
    assert not store.save(a_job("gone"))
    assert not store.delete("gone", 1.0)
    with pytest.raises(StoreError):
        store.accept(a_job("a", run_id="a-2"), "", "", 1.0)
    assert last(store) == 1


def test_a_removed_job_is_a_change_with_its_labels(store: JobStore) -> None:
    labels = {"deck": "left", "\ud800": 'quote " and \\ and \0'}
    accept(store, a_job("a", labels=labels), a_job("b"))
    assert store.delete("a", 7.0)
    assert store.changes(0).changes == (
        Change(2, a_job("b")),
        Change(3, RemovedJob("a", "a-1", labels, 7.0)),
    )


def test_a_job_that_came_back_is_both_removed_and_there(store: JobStore) -> None:
    accept(store, a_job("a"))
    store.delete("a", 1.0)
    accept(store, a_job("a", run_id="a-2"))
    assert subjects(store.changes(0)) == ["-a", "a"]
    assert subjects(store.changes(2)) == ["a"]


def test_a_new_run_with_other_labels_removes_the_run_before_it(store: JobStore) -> None:
    ended = {"state": JobState.SUCCEEDED}
    accept(store, a_job("a", labels={"deck": "left"}, **ended))
    accept(store, a_job("a", run_id="a-2", labels={"deck": "left", "more": "yes"}, **ended))
    assert subjects(store.changes(0)) == ["a"], "whoever heard of the first run hears of the second"
    accept(store, a_job("a", run_id="a-3", labels={"deck": "right"}))
    left = store.changes(0, labels={"deck": "left"})
    assert [change.subject for change in left.changes] == [
        RemovedJob("a", "a-2", {"deck": "left", "more": "yes"}, 0.0)
    ]
    assert subjects(store.changes(0, labels={"deck": "right"})) == ["a"]


def test_changes_can_be_narrowed(store: JobStore) -> None:
    accept(store, a_job("a", labels={"deck": "left", "set": "1"}), a_job("b", labels={"deck": "left"}))
    accept(store, a_job("c", state=JobState.FAILED, labels={"deck": "left"}), a_job("d"), a_job("e"))
    store.delete("d", 1.0)
    store.delete("a", 1.0)
    assert subjects(store.changes(0, labels={"deck": "left"})) == ["b", "c", "-a"]
    assert subjects(store.changes(0, labels={"deck": "left", "set": "1"})) == ["-a"]
    assert subjects(store.changes(0, labels={"deck": "right"})) == []
    # States are of jobs; a removed one has none.
    assert subjects(store.changes(0, states=[JobState.FAILED])) == ["c", "-d", "-a"]


def test_pages_leave_nothing_out_whether_it_matches_or_not(store: JobStore) -> None:
    for number in range(7):
        accept(store, a_job(f"j{number}", labels={"even": str(number % 2 == 0)}))
    store.delete("j0", 1.0)
    seen: list[str] = []
    position = 0
    while position < 8:
        page = store.changes(position, 8, labels={"even": "True"}, limit=2)
        assert page.position > position
        assert len(page.changes) <= 2
        seen += subjects(page)
        position = page.position
    assert seen == ["j2", "j4", "j6", "-j0"]
    assert store.changes(8, 8).position == 8


def test_a_page_ends_where_it_was_asked_to(store: JobStore) -> None:
    accept(store, a_job("a"), a_job("b"), a_job("c"))
    assert subjects(store.changes(0, 2)) == ["a", "b"]
    assert store.changes(0, 2).position == 2
    assert store.changes(1, 2, labels={"no": "job"}) == ChangePage((), 2)


def test_removed_jobs_are_forgotten_by_age_and_by_number(store: JobStore) -> None:
    accept(store, *(a_job(f"j{number}") for number in range(5)))
    for number in range(5):
        store.delete(f"j{number}", float(number))
    assert store.forget_removed(0.0, 5) == 0
    assert store.change_head().forgotten_change == 0
    assert store.forget_removed(2.0, 5) == 2
    assert store.change_head().forgotten_change == 7
    assert subjects(store.changes(0)) == ["-j2", "-j3", "-j4"]
    assert store.forget_removed(0.0, 1) == 2
    assert subjects(store.changes(0)) == ["-j4"]
    assert store.change_head().forgotten_change == 9
    assert last(store) == 10


def test_this_start_knows_its_last_change_and_no_other_start(store: JobStore) -> None:
    head = store.change_head()
    assert store.last_change_of(head.start_id) == 0
    accept(store, a_job("a"))
    assert store.last_change_of(head.start_id) == 1
    assert store.last_change_of("f" * 16) is None


# What only a file can do


def test_numbers_and_starts_outlast_the_process(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    first = SqliteJobStore(path)
    accept(first, a_job("a"), a_job("b"))
    first.delete("a", 3.0)
    before = first.change_head()
    first.close()
    second = SqliteJobStore(path)
    assert second.last_change_of(before.start_id) == 3
    assert subjects(second.changes(0)) == ["b", "-a"]
    head = second.change_head()
    assert head.start_id != before.start_id
    assert head.last_change == 3
    accept(second, a_job("c"))
    assert second.last_change_of(head.start_id) == 4
    assert second.last_change_of(before.start_id) == 3, "it made none of the later changes"
    second.close()


def test_a_store_that_was_put_back_does_not_know_what_it_lost(tmp_path: Path) -> None:
    path, copy = tmp_path / "jobs.db", tmp_path / "copy.db"
    first = SqliteJobStore(path)
    accept(first, a_job("a"), a_job("b"))
    kept = first.change_head()
    first.close()
    shutil.copy(path, copy)
    lost = SqliteJobStore(path)
    accept(lost, a_job("c"))
    unknown = lost.change_head()
    lost.close()
    shutil.copy(copy, path)
    again = SqliteJobStore(path)
    accept(again, a_job("d"), a_job("e"))
    assert again.last_change_of(unknown.start_id) is None
    assert again.last_change_of(kept.start_id) == kept.last_change
    again.close()


def test_a_copy_of_a_running_store_ends_its_starts_where_it_was_taken(tmp_path: Path) -> None:
    path, copy = tmp_path / "jobs.db", tmp_path / "copy.db"
    running = SqliteJobStore(path)
    accept(running, a_job("a"))
    with sqlite3.connect(path) as reading, sqlite3.connect(copy) as writing:
        reading.backup(writing)
    accept(running, a_job("b"), a_job("c"))
    ahead = running.change_head()
    running.close()
    restored = SqliteJobStore(copy)
    assert restored.last_change_of(ahead.start_id) == 1
    accept(restored, a_job("d"), a_job("e"), a_job("f"))
    assert restored.last_change_of(ahead.start_id) == 1
    restored.close()


def test_few_starts_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "STARTS_KEPT", 2)
    path = tmp_path / "jobs.db"
    starts: list[str] = []
    for _ in range(4):
        store = SqliteJobStore(path)
        starts.append(store.change_head().start_id)
        store.forget_removed(0.0, 5)
        store.close()
    store = SqliteJobStore(path)
    assert [store.last_change_of(start) for start in starts] == [None, None, 0, 0]
    store.close()


def test_the_jobs_of_an_older_store_are_numbered_by_when_they_ended(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    late = a_job("late", state=JobState.SUCCEEDED, created_at=1.0, ended_at=50.0)
    connection = written_by(5, path, late)
    for job_id, created_at in (("running", 40.0), ("young", 60.0)):
        connection.execute(
            "INSERT INTO jobs"
            " (job_id, run, state, priority, created_at, source_sha256, source_bytes, cache_key, record)"
            " SELECT :job_id, run, 1, priority, :created_at, source_sha256, source_bytes, cache_key,"
            " json_set(record, '$.job_id', :job_id) FROM jobs WHERE job_id = 'late'",
            {"job_id": job_id, "created_at": created_at},
        )
    connection.commit()
    connection.close()
    store = SqliteJobStore(path)
    assert subjects(store.changes(0)) == ["running", "late", "young"]
    assert [change.number for change in store.changes(0).changes] == [1, 2, 3]
    accept(store, a_job("new"))
    assert [change.number for change in store.changes(3).changes] == [4]
    store.close()


def test_a_change_that_fails_takes_no_number(tmp_path: Path) -> None:
    store = SqliteJobStore(tmp_path / "jobs.db")
    accept(store, a_job("a"))
    row = CallbackRow("c1", "a", "a-1", "stems", "http://app/", 2.0, 2.0)
    with pytest.raises(StoreError):
        store.save(a_job("a", revision=2), [row, row])
    with store._transaction() as writer:
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        writer.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DiskFullError):
        accept(store, a_job("b", labels={f"{n}": "x" * 200 for n in range(60)}))
    assert store.changes(0).changes == (Change(1, a_job("a")),)
    assert last(store) == 1
    store.close()


def test_changes_are_found_by_their_numbers_without_sorting(tmp_path: Path) -> None:
    store = SqliteJobStore(tmp_path / "jobs.db")
    values = {"after": 1, "until": 9, "states": None, "labels": "[]", "limit": 9}
    with store._transaction() as writer:
        plan = writer.execute("EXPLAIN QUERY PLAN " + queries()["changes"], values).fetchall()
    steps = [row[3] for row in plan]
    assert "SEARCH jobs USING INDEX jobs_changed (change>? AND change<?)" in steps
    assert "SEARCH removed_jobs USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in steps
    assert not any("TEMP B-TREE" in step for step in steps)
    store.close()
