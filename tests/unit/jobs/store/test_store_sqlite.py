"""What only a file can do: survive, be damaged, be too new, be in use, be full."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from mismo_grpc.errors import DiskFullError, StoreError
from mismo_grpc.jobs.callbacks import CallbackRow
from mismo_grpc.jobs.job import Artifact, Job, JobOptions, JobState, Priority, Source, SourceKind
from mismo_grpc.jobs.store.port import EndedResult, RequestRow
from mismo_grpc.jobs.store.records import cache_key, job_to_json
from mismo_grpc.jobs.store.sqlite_file import queries
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore


def a_job(job_id: str, location: str = "/music/a.wav") -> Job:
    return Job(
        job_id=job_id,
        run_id=f"{job_id}-1",
        revision=1,
        state=JobState.QUEUED,
        priority=Priority.NORMAL,
        source=Source(SourceKind.PATH, location),
        options=JobOptions(),
        labels={"n": job_id},
        model="m",
        created_at=1.0,
    )


def a_callback(job_id: str) -> CallbackRow:
    return CallbackRow(f"c-{job_id}", job_id, f"{job_id}-1", "stems", "http://app/", 1.0, 1.0)


def filled(path: Path, count: int) -> None:
    store = SqliteJobStore(path)
    for number in range(count):
        store.accept(a_job(f"j{number}"), f"r{number}", "p", 1.0)
    store.close()


def test_everything_is_there_after_it_was_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store = SqliteJobStore(path)
    store.accept(a_job("a"), "req", "p", 1.0)
    row = a_callback("a")
    store.save(a_job("a"), [row])
    store.close()
    store.close()
    assert not path.with_name("jobs.db-wal").exists(), "closing folds the log into the file"
    store = SqliteJobStore(path)
    assert store.active() == [a_job("a")]
    assert store.callbacks_of("a") == [row]
    assert store.find_request("req") is not None
    store.close()


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store_sqlite import SqliteJobStore, a_callback, a_job
store = SqliteJobStore(Path(sys.argv[1]))
number = 0
while True:
    job = a_job(f"j{number}")
    store.accept(job, f"r{number}", "p", 1.0)
    store.save(job, [a_callback(f"j{number}")])
    sys.stdout.write(f"j{number}\\n")
    sys.stdout.flush()
    number += 1
"""


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(25)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    store = SqliteJobStore(path)
    kept = {job.job_id for job in store.active()}
    assert set(acknowledged) <= kept
    assert len(kept) <= len(acknowledged) + 1
    for job_id in acknowledged:
        assert store.find_request(f"r{job_id[1:]}") is not None
        assert store.callbacks_of(job_id) == [a_callback(job_id)]
    store.close()


def test_every_commit_goes_to_the_disk_before_it_is_answered(tmp_path: Path) -> None:
    store = SqliteJobStore(tmp_path / "jobs.db")
    with store._transaction() as writer:
        assert writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert writer.execute("PRAGMA synchronous").fetchone()[0] == 2
    store.close()


def test_a_new_store_keeps_its_name_through_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names_at_sync: list[set[str]] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        real(descriptor)
        assert Path(os.readlink(f"/proc/self/fd/{descriptor}")) == tmp_path
        names_at_sync.append({file.name for file in tmp_path.iterdir()})

    monkeypatch.setattr(os, "fsync", watched)
    store = SqliteJobStore(tmp_path / "jobs.db")
    names = {file.name for file in tmp_path.iterdir()}
    assert "jobs.db" in names
    assert names_at_sync[-1:] == [names], "what was made or removed after the sync could be undone"
    store.close()


def test_a_folder_that_cannot_be_synced_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(
            StoreError, match=r"cannot be opened \(.*Input/output error\); check that its folder"
        ):
            SqliteJobStore(tmp_path / "jobs.db")
    SqliteJobStore(tmp_path / "jobs.db").close()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqliteJobStore(tmp_path / "jobs.db")
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.get("a")
    with pytest.raises(StoreError, match="closed"):
        store.accept(a_job("a"), "", "", 1.0)


def test_two_servers_cannot_share_a_store(tmp_path: Path) -> None:
    first = SqliteJobStore(tmp_path / "jobs.db")
    with pytest.raises(StoreError, match="in use by another server"):
        SqliteJobStore(tmp_path / "jobs.db")
    first.close()
    SqliteJobStore(tmp_path / "jobs.db").close()


@pytest.mark.parametrize(
    "content", [b"this is a text, not a store\n" * 200, random.Random(1).randbytes(8192)]
)
def test_a_file_that_is_no_store_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"jobs\.db is damaged .*move it away"):
        SqliteJobStore(path)
    assert path.read_bytes() == content, "a damaged file is left as it was, for its rescue"
    path.unlink()
    SqliteJobStore(path).close()


def test_damage_in_the_middle_is_found_at_start(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    filled(path, 60)
    content = bytearray(path.read_bytes())
    assert len(content) > 8 * 4096
    # The first page, with the schema, stays whole.
    content[4096:-4096] = bytes(len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        SqliteJobStore(path)


def test_a_torn_end_is_found_at_start(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    filled(path, 60)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreError, match="is damaged"):
        SqliteJobStore(path)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    filled(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="written by a newer version"):
        SqliteJobStore(path)


def written_by(version: int, path: Path, job: Job, **more: object) -> sqlite3.Connection:
    """A file of an earlier schema with one job in it."""
    record = json.loads(job_to_json(job))
    del record["result_bytes"]
    record |= {"run": record.pop("run_id"), "recipe": record.pop("model_fingerprint")}
    record["options"] = record["options"]["stems"]
    if version < 2:
        del record["delivery"]
    columns: dict[str, object] = {
        "job_id": job.job_id,
        "run": job.run_id,
        "state": int(job.state),
        "priority": int(job.priority),
        "created_at": job.created_at,
        "ended_at": job.ended_at,
        "source_sha256": job.source_sha256,
        "source_bytes": 0,
        "cache_key": cache_key(job),
        "record": json.dumps(record),
    }
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    sql = resources.files("mismo_grpc.jobs.store").joinpath("sql")
    for number in range(1, version + 1):
        script = sql.joinpath(f"migration_{number:04}.sql").read_text()
        connection.executescript(f"BEGIN;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")
    insert(connection, "jobs", **columns | more)
    return connection


def insert(connection: sqlite3.Connection, table: str, **columns: object) -> None:
    marks = ", ".join(f":{name}" for name in columns)
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", columns)
    connection.commit()


def test_a_store_of_the_version_before_callbacks_is_taken_over_with_its_jobs(tmp_path: Path) -> None:
    path, job = tmp_path / "jobs.db", a_job("old")
    written_by(1, path, job).close()
    store = SqliteJobStore(path)
    assert store.active() == [job]
    assert store.jobs_with_pending_callbacks() == frozenset()
    row = a_callback("old")
    assert store.save(job, [row])
    store.close()
    store = SqliteJobStore(path)
    assert store.callbacks_of("old") == [row]
    store.close()


def test_a_store_with_an_event_table_is_taken_over_without_it(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    job = replace(a_job("old"), state=JobState.SUCCEEDED, ended_at=9.0, source_sha256="5" * 64)
    connection = written_by(2, path, job, next_event=2, pruned_revision=1)
    insert(connection, "job_labels", label='["n", "old"]', job_id="old")
    for number in range(2):
        insert(connection, "events", job_id="old", number=number, revision=2, time=1.0, kind=4, body="null")
    insert(
        connection,
        "requests",
        request_id="req",
        job_id="old",
        run="old-1",
        fingerprint="p",
        accepted_at=1.0,
    )
    row = a_callback("old")
    values = vars(row) | {"url": json.dumps(row.url), "run": row.run_id}
    del values["run_id"]
    insert(connection, "callbacks", **values)
    connection.close()
    store = SqliteJobStore(path)
    assert store.list(labels={"n": "old"}) == [job]
    assert store.callbacks_of("old") == [row]
    assert store.find_request("req") == RequestRow("old", "old-1", "p")
    assert store.find_result("5" * 64, cache_key(job)) == job
    assert store.ended_results() == [EndedResult("old", "old-1", JobState.SUCCEEDED, 9.0, None, 0)]
    store.accept(a_job("new"), "", "", 1.0)
    store.delete("old", 5.0)
    assert store.callbacks_of("old") == []
    store.close()
    connection = sqlite3.connect(path)
    schema = "\n".join(
        sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql NOT NULL")
    )
    connection.close()
    for gone in ("events", "next_event", "pruned_revision", "jobs_expiring"):
        assert gone not in schema


def test_artifacts_of_before_keep_their_names(tmp_path: Path) -> None:
    path, job = tmp_path / "jobs.db", replace(a_job("old"), state=JobState.SUCCEEDED)
    connection = written_by(5, path, job)
    connection.execute(
        "UPDATE jobs SET record = json_set(record, '$.artifacts', json(?))", ('["stems.json","stems.zip"]',)
    )
    connection.commit()
    connection.close()
    store = SqliteJobStore(path)
    found = store.get("old")
    store.close()
    assert found is not None
    assert found.artifacts == (Artifact("stems.json", 0, ""), Artifact("stems.zip", 0, ""))


def test_a_deleted_job_still_answers_its_request_id_after_a_restart(tmp_path: Path) -> None:
    store = SqliteJobStore(tmp_path / "jobs.db")
    store.accept(a_job("a", "/music/\udc80.wav"), "req", "p", 1.0)
    store.delete("a", 5.0)
    store.close()
    store = SqliteJobStore(tmp_path / "jobs.db")
    row = store.find_request("req")
    store.close()
    assert (row and row.deleted) == replace(a_job("a", "/music/\udc80.wav"), deleted_at=5.0)


URLS = [
    "http://app:3000/callback?token=1",
    "https://App.example/x",
    "http://app",
    "http://app?at=/x",
    "http://[::1]:80#/x",
]


def test_callbacks_of_before_get_their_place(tmp_path: Path) -> None:
    """A file as it was written before callbacks had one."""
    path = tmp_path / "jobs.db"
    folder = resources.files("mismo_grpc.jobs.store").joinpath("sql")
    connection = sqlite3.connect(path)
    for version in (1, 2):
        script = folder.joinpath(f"migration_{version:04}.sql").read_text()
        connection.executescript(f"BEGIN;\n{script}\nPRAGMA user_version={version};\nCOMMIT;")
    rows = [
        CallbackRow(f"c{n}", f"job{n}", f"job{n}-1", "stems", url, 1.0, 1.0) for n, url in enumerate(URLS)
    ]
    for row in rows:
        values = vars(row) | {"url": json.dumps(row.url)}
        values["run"] = values.pop("run_id")
        connection.execute(
            "INSERT INTO jobs"
            " (job_id, run, state, priority, created_at, source_sha256, source_bytes, cache_key, record)"
            " VALUES (:job_id, :run, 3, 2, 1.0, '', 0, '', '{}')",
            values,
        )
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        connection.execute(f"INSERT INTO callbacks ({names}) VALUES ({marks})", values)
    connection.commit()
    connection.close()
    store = SqliteJobStore(path)
    assert store.due_callbacks(9.0, 9) == rows
    for row in rows:
        assert store.due_callbacks(9.0, 9, [row.authority]) == [
            other for other in rows if other.authority != row.authority
        ]
    store.close()


def test_a_place_that_is_passed_over_costs_no_look_at_the_table(tmp_path: Path) -> None:
    store = SqliteJobStore(tmp_path / "jobs.db")
    values = {"now": 1.0, "limit": 9, "passed_over": "[]"}
    with store._transaction() as writer:
        plan = writer.execute("EXPLAIN QUERY PLAN " + queries()["due_callbacks"], values).fetchall()
    steps = [row[3] for row in plan]
    assert "SEARCH due USING INDEX callbacks_pending (next_attempt_at<?)" in steps
    assert not any("TEMP B-TREE" in step or "SCAN due" in step for step in steps)
    store.close()


def test_a_change_that_fails_leaves_no_callback(tmp_path: Path) -> None:
    store = SqliteJobStore(tmp_path / "jobs.db")
    store.accept(a_job("a"), "", "", 1.0)
    row = CallbackRow("c1", "a", "a-1", "stems", "http://app/", 2.0, 2.0)
    with pytest.raises(StoreError):
        store.save(replace(a_job("a"), revision=2), [row, row])
    assert store.callbacks_of("a") == []
    assert store.get("a") == a_job("a")
    store.close()


def test_a_missing_folder_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="check that its folder exists"):
        SqliteJobStore(tmp_path / "none" / "jobs.db")


def test_a_folder_in_its_place_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteJobStore(tmp_path / "jobs.db")


def test_a_full_disk_refuses_the_change_and_keeps_the_rest(tmp_path: Path) -> None:
    store = SqliteJobStore(tmp_path / "jobs.db")
    store.accept(a_job("a"), "", "", 1.0)
    with store._transaction() as writer:
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
    # SQLite's own limit on the file makes the same SQLITE_FULL as a disk without room.
    store._writer.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DiskFullError, match="disk is full"):
        store.accept(a_job("b", "/music/" + "x" * 20_000), "req", "p", 1.0)
    assert store.get("b") is None
    assert store.find_request("req") is None
    store._writer.execute(f"PRAGMA max_page_count={pages + 1000}")
    store.accept(a_job("b"), "req", "p", 1.0)
    assert store.get("a") == a_job("a")
    assert store.get("b") == a_job("b")
    store.close()


def test_a_failure_while_running_tells_no_path(tmp_path: Path) -> None:
    store = SqliteJobStore(tmp_path / "jobs.db")
    store._writer.execute("DROP TABLE requests")
    with pytest.raises(StoreError, match="the job store failed") as caught:
        store.accept(a_job("a"), "req", "p", 1.0)
    assert str(tmp_path) not in str(caught.value)
    assert store.get("a") is None
    store.close()


def test_the_list_of_dead_letters_reads_no_other_job(tmp_path: Path) -> None:
    store = SqliteJobStore(tmp_path / "jobs.db")
    values = {"before_time": 1e9, "before_id": "", "states": None, "labels": "[]", "page_size": 9}
    with store._transaction() as writer:
        plan = writer.execute(f"EXPLAIN QUERY PLAN {queries()['list_dead_letters']}", values).fetchall()
    steps = [row[3] for row in plan]
    assert any("jobs USING INDEX jobs_dead_letters" in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps)
    store.close()


def test_a_store_of_the_version_before_dead_letters_has_none(tmp_path: Path) -> None:
    path, job = tmp_path / "jobs.db", replace(a_job("old"), state=JobState.FAILED, ended_at=9.0)
    written_by(1, path, job).close()
    store = SqliteJobStore(path)
    assert store.list(dead_letters=True) == []
    assert store.save(replace(job, dead_letter=True))
    assert [found.job_id for found in store.list(dead_letters=True)] == ["old"]
    store.close()
