"""The contract of a job store, the same for the real one and its twin in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mismo_grpc.errors import RequestIdReusedError, StoreError
from mismo_grpc.jobs.callbacks import CallbackRow
from mismo_grpc.jobs.job import Artifact, Job, JobOptions, JobState, Priority, Source, SourceKind, StemOptions
from mismo_grpc.jobs.store.port import EndedResult, JobStore, RequestRow, RunStanding
from mismo_grpc.jobs.store.records import cache_key
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.uploads.record import UploadRow
from tests.support.memory_store import MemoryJobStore


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    opened: JobStore = SqliteJobStore(tmp_path / "jobs.db") if request.param == "sqlite" else MemoryJobStore()
    yield opened
    opened.close()


def a_job(job_id: str = "a", **changes: object) -> Job:
    job = Job(
        job_id=job_id,
        run_id=f"{job_id}-1",
        revision=1,
        state=JobState.QUEUED,
        priority=Priority.NORMAL,
        source=Source(SourceKind.PATH, "/music/a.wav"),
        options=JobOptions(),
        labels={},
        model="htdemucs",
        created_at=100.0,
    )
    return replace(job, **changes)


def accept(store: JobStore, *jobs: Job) -> None:
    for job in jobs:
        store.accept(job, "", "", 0.0)


def ids(jobs: list[Job]) -> list[str]:
    return [job.job_id for job in jobs]


def a_callback(job: Job) -> CallbackRow:
    return CallbackRow(f"c-{job.job_id}", job.job_id, job.run_id, "stems", "http://app/", 1.0, 1.0)


# Jobs


def test_an_accepted_job_is_there_with_its_request(store: JobStore) -> None:
    job = a_job(labels={"deck": "left"})
    store.accept(job, "req", "print", 100.0)
    assert store.get("a") == job
    assert store.find_request("req") == RequestRow("a", "a-1", "print")
    assert store.active() == [job]


def test_what_is_not_there_is_none(store: JobStore) -> None:
    assert store.get("nope") is None
    assert store.find_request("nope") is None
    assert store.find_result("0" * 64, "k") is None
    assert store.has_result_of("0" * 64, 0.0) is False
    assert store.standing_runs() == []
    assert store.ended_results() == []
    assert store.delete("nope", 5.0) is False
    assert store.list() == []


def test_a_saved_change_is_there(store: JobStore) -> None:
    accept(store, a_job())
    changed = a_job(revision=3, state=JobState.RUNNING, started_at=101.0)
    assert store.save(changed) is True
    assert store.get("a") == changed


def test_a_new_run_takes_the_place_of_an_ended_one(store: JobStore) -> None:
    accept(store, a_job(labels={"take": "1"}))
    store.save(a_job(revision=2, state=JobState.FAILED, ended_at=110.0, labels={"take": "1"}))
    again = a_job(run_id="a-2", revision=3, created_at=120.0, labels={"take": "2"})
    accept(store, again)
    assert store.get("a") == again
    assert store.list(labels={"take": "1"}) == []
    assert store.list(labels={"take": "2"}) == [again]


def test_an_active_job_cannot_be_replaced(store: JobStore) -> None:
    accept(store, a_job())
    with pytest.raises(StoreError, match="has not ended"):
        store.accept(a_job(run_id="a-2"), "req", "print", 1.0)
    assert store.get("a") == a_job()
    assert store.find_request("req") is None


def test_a_late_change_of_a_replaced_or_deleted_run_is_not_stored(store: JobStore) -> None:
    accept(store, a_job(state=JobState.CANCELLED))
    accept(store, a_job(run_id="a-2"))
    assert store.save(a_job(run_id="a-1", state=JobState.SUCCEEDED)) is False
    assert store.get("a") == a_job(run_id="a-2")
    store.delete("a", 5.0)
    assert store.save(a_job(run_id="a-2")) is False
    assert store.get("a") is None


def test_a_deleted_job_leaves_its_request_ids_and_what_they_answer_but_nothing_else(store: JobStore) -> None:
    store.accept(a_job(labels={"x": "y"}), "req", "print", 1.0)
    store.put_request("twin", "a", "a-1", "print", 2.0)
    last = a_job(labels={"x": "y"}, revision=2, artifacts=(Artifact("stems.zip", 1 << 40),))
    store.save(last, [a_callback(a_job())])
    at = 1_763_999_999.123456
    assert store.delete("a", at) is True
    assert store.get("a") is None
    assert store.standing_runs() == []
    assert store.callbacks_of("a") == []
    assert store.list(labels={"x": "y"}) == []
    assert store.active() == []
    for request_id in ("req", "twin"):
        answer = store.find_request(request_id)
        assert answer is not None
        assert answer.deleted is not None
        assert answer.deleted.deleted_at == pytest.approx(at, abs=1e-5)
        deleted = replace(last, deleted_at=answer.deleted.deleted_at)
        assert answer == RequestRow("a", "a-1", "print", deleted)


def test_a_deleted_job_stays_what_its_request_id_answers_when_its_job_id_is_used_again(
    store: JobStore,
) -> None:
    store.accept(a_job(), "first", "print", 1.0)
    store.delete("a", 5.0)
    store.accept(a_job(run_id="a-2"), "second", "other print", 6.0)
    store.delete("a", 7.0)
    first, second = store.find_request("first"), store.find_request("second")
    assert (first and first.deleted) == a_job(deleted_at=5.0)
    assert (second and second.deleted) == a_job(run_id="a-2", deleted_at=7.0)


def test_a_deleted_job_is_forgotten_with_its_request_id(store: JobStore) -> None:
    store.accept(a_job(), "req", "print", 10.0)
    store.delete("a", 15.0)
    assert store.forget_requests(10.0) == 0
    assert store.find_request("req") is not None
    assert store.forget_requests(11.0) == 1
    assert store.find_request("req") is None


def test_a_run_that_is_replaced_is_no_deleted_job(store: JobStore) -> None:
    store.accept(a_job(state=JobState.CANCELLED), "req", "print", 1.0)
    store.accept(a_job(run_id="a-2"), "", "", 2.0)
    assert store.find_request("req") == RequestRow("a", "a-1", "print")
    store.delete("a", 5.0)
    answer = store.find_request("req")
    assert (answer and answer.deleted) == a_job(run_id="a-2", deleted_at=5.0), "the job at its newest run"


# Finding jobs


def test_active_jobs_come_oldest_first(store: JobStore) -> None:
    accept(
        store,
        a_job("new", created_at=300.0),
        a_job("old", created_at=100.0, state=JobState.RUNNING),
        a_job("done", created_at=50.0, state=JobState.SUCCEEDED),
        a_job("twin", created_at=100.0),
    )
    assert ids(store.active()) == ["old", "twin", "new"]


def test_ended_results_come_by_the_time_they_ended(store: JobStore) -> None:
    succeeded = a_job("a", state=JobState.SUCCEEDED, ended_at=30.0, expires_at=90.0, result_bytes=1 << 40)
    accept(
        store,
        a_job("b", state=JobState.FAILED, ended_at=20.0),
        a_job("a"),
        a_job("c", state=JobState.CANCELLED, ended_at=10.0),
        a_job("d", state=JobState.SUCCEEDED),
        a_job("e", state=JobState.RUNNING),
    )
    store.save(succeeded)
    assert store.ended_results() == [
        EndedResult("d", "d-1", JobState.SUCCEEDED, 0.0, None, 0),
        EndedResult("c", "c-1", JobState.CANCELLED, 10.0, None, 0),
        EndedResult("b", "b-1", JobState.FAILED, 20.0, None, 0),
        EndedResult("a", "a-1", JobState.SUCCEEDED, 30.0, 90.0, 1 << 40),
    ]
    accept(store, replace(succeeded, run_id="a-2", result_bytes=7))
    assert store.ended_results()[-1].result_bytes == 7, "a cached result has ended as it is accepted"


def test_the_latest_run_of_every_job_is_known(store: JobStore) -> None:
    accept(store, a_job("b"), a_job("a", state=JobState.FAILED), a_job("c", state=JobState.RUNNING))
    accept(store, a_job("a", run_id="a-2"))
    assert store.standing_runs() == [
        RunStanding("a", "a-2", JobState.QUEUED),
        RunStanding("b", "b-1", JobState.QUEUED),
        RunStanding("c", "c-1", JobState.RUNNING),
    ]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, True),
        ({"options": JobOptions(stems=StemOptions(shifts=1))}, True),
        ({"expires_at": 50.5}, True),
        ({"expires_at": 50.0}, False),
        ({"state": JobState.FAILED}, False),
        ({"state": JobState.RUNNING}, False),
        ({"source_sha256": "6" * 64}, False),
    ],
)
def test_any_result_of_a_content_that_still_counts_is_known(
    store: JobStore, changes: dict[str, Any], found: bool
) -> None:
    done = {"state": JobState.SUCCEEDED, "source_sha256": "5" * 64, "ended_at": 20.0}
    accept(store, a_job(**done | changes))
    assert store.has_result_of("5" * 64, 50.0) is found


def test_a_result_is_found_by_content_and_key(store: JobStore) -> None:
    done = {"state": JobState.SUCCEEDED, "source_sha256": "5" * 64}
    older = a_job("older", ended_at=10.0, expires_at=100.0, **done)
    newer = a_job("newer", ended_at=20.0, expires_at=50.0, **done)
    accept(store, older, newer)
    accept(
        store,
        a_job("failed", ended_at=30.0, source_sha256="5" * 64, state=JobState.FAILED),
        a_job("other", ended_at=30.0, source_sha256="6" * 64, state=JobState.SUCCEEDED),
        a_job("shifted", ended_at=30.0, options=JobOptions(stems=StemOptions(shifts=1)), **done),
    )
    key = cache_key(older)
    assert store.find_result("5" * 64, key) == newer
    assert store.find_result("5" * 64, key, 50.0) == older
    assert store.find_result("5" * 64, key, 100.0) is None
    assert store.find_result("7" * 64, key) is None


def test_a_content_that_is_learnt_later_is_found(store: JobStore) -> None:
    accept(store, a_job())
    done = a_job(state=JobState.SUCCEEDED, source_sha256="5" * 64, ended_at=2.0)
    store.save(done)
    assert store.find_result("5" * 64, cache_key(done)) == done


def test_pages_are_newest_first_without_gaps_or_repeats(store: JobStore) -> None:
    jobs = [a_job(f"j{i:02}", created_at=float(i // 3)) for i in range(20)]
    accept(store, *jobs)
    expected = sorted(jobs, key=lambda job: (job.created_at, job.job_id), reverse=True)
    seen: list[Job] = []
    after = None
    while page := store.list(page_size=7, after=after):
        assert len(page) <= 7
        seen += page
        after = (page[-1].created_at, page[-1].job_id)
        # What comes meanwhile is newer than every page to come.
        accept(store, a_job(f"meanwhile{len(seen)}", created_at=1000.0))
    assert seen == expected


TEXTS = st.text(max_size=6)
LABELS = st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=3)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kept=st.lists(st.tuples(st.sampled_from(JobState), LABELS), max_size=8),
    states=st.frozensets(st.sampled_from(JobState)),
    asked=st.data(),
)
def test_filters_find_what_a_plain_loop_finds(
    tmp_path_factory: pytest.TempPathFactory,
    kept: list[tuple[JobState, dict[str, str]]],
    states: frozenset[JobState],
    asked: st.DataObject,
) -> None:
    jobs = [a_job(f"j{i}", state=s, labels=labels, created_at=float(i)) for i, (s, labels) in enumerate(kept)]
    some = [labels for _, labels in kept if labels] or [{"none": "such"}]
    labels = asked.draw(LABELS | st.sampled_from(some))
    expected = [
        job
        for job in reversed(jobs)
        if (not states or job.state in states) and labels.items() <= dict(job.labels).items()
    ]
    file = tmp_path_factory.mktemp("filters") / "jobs.db"
    for store in (MemoryJobStore(), SqliteJobStore(file)):
        accept(store, *jobs)
        assert store.list(states, labels) == expected
        store.close()


# Request ids


def test_a_request_id_means_one_payload(store: JobStore) -> None:
    store.accept(a_job(), "req", "print", 1.0)
    with pytest.raises(RequestIdReusedError) as caught:
        store.accept(a_job("b"), "req", "other print", 2.0)
    assert caught.value.field == "request_id"
    assert store.get("b") is None
    with pytest.raises(RequestIdReusedError):
        store.put_request("req", "b", "b-1", "other print", 2.0)
    assert store.find_request("req") == RequestRow("a", "a-1", "print")


def test_the_same_payload_may_run_again_under_its_request_id(store: JobStore) -> None:
    store.accept(a_job(), "req", "print", 1.0)
    store.delete("a", 5.0)
    store.accept(a_job(run_id="a-2"), "req", "print", 2.0)
    assert store.find_request("req") == RequestRow("a", "a-2", "print")


def test_a_request_that_met_a_running_job_is_remembered(store: JobStore) -> None:
    accept(store, a_job())
    store.put_request("req", "a", "a-1", "print", 1.0)
    assert store.find_request("req") == RequestRow("a", "a-1", "print")


def test_old_request_ids_are_forgotten(store: JobStore) -> None:
    store.accept(a_job("a"), "one", "p", 10.0)
    store.accept(a_job("b"), "two", "p", 20.0)
    assert store.forget_requests(20.0) == 1
    assert store.find_request("one") is None
    assert store.find_request("two") is not None
    assert store.get("a") is not None


# Uploads


def test_uploads_are_kept_found_and_removed(store: SqliteJobStore | MemoryJobStore) -> None:
    begun = UploadRow("u1", "a.wav", 10, "", False, 5.0, "a boot")
    store.put_upload(begun)
    assert store.get_upload("u1") == begun
    assert store.count_unfinished_uploads() == 1
    assert store.find_upload_by_sha256("") is None
    done = replace(begun, sha256="5" * 64, complete=True, touched_at=6.0)
    store.put_upload(done)
    assert store.get_upload("u1") == done
    assert store.count_unfinished_uploads() == 0
    store.put_upload(replace(done, upload_id="u2", touched_at=7.0))
    store.put_upload(replace(done, upload_id="u3", complete=False, touched_at=8.0))
    assert store.find_upload_by_sha256("5" * 64) == replace(done, upload_id="u2", touched_at=7.0)
    assert [row.upload_id for row in store.stale_uploads(8.0)] == ["u1", "u2"]
    older = replace(begun, upload_id="u4", touched_at=7.5)
    store.put_upload(older)
    assert store.unfinished_uploads() == [
        older,
        replace(done, upload_id="u3", complete=False, touched_at=8.0),
    ]
    assert store.delete_upload("u1") is True
    assert store.delete_upload("u1") is False
    assert store.get_upload("u1") is None


# Threads


def test_many_threads_lose_nothing(store: JobStore) -> None:
    """Writers on their own jobs, readers beside them; each sees what it wrote."""
    together = threading.Barrier(6)

    def write(name: str) -> None:
        together.wait()
        for number in range(15):
            job = a_job(f"{name}-{number}", created_at=float(number))
            store.accept(job, f"req-{name}-{number}", "p", 1.0)
            store.save(replace(job, revision=2), [a_callback(job)])
            assert store.get(job.job_id) == replace(job, revision=2)

    def read(_: str) -> None:
        together.wait()
        for _round in range(30):
            for job in store.list(page_size=100):
                # A job and its callbacks are one change.
                assert len(store.callbacks_of(job.job_id)) >= job.revision - 1

    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(write, n) for n in "abcd"] + [threads.submit(read, n) for n in "xy"]:
            done.result()
    assert len(store.active()) == 60


def test_dead_letters_are_listed_alone_in_pages_with_the_other_filters(store: JobStore) -> None:
    failed = [
        a_job(f"f{n}", created_at=float(n), state=JobState.FAILED, dead_letter=n % 2 == 0) for n in range(6)
    ]
    accept(store, *failed, a_job("new", created_at=9.0), a_job("b", labels={"deck": "a"}, created_at=8.0))
    found = store.list(page_size=2, dead_letters=True)
    assert ids(found) == ["f4", "f2"]
    last = found[-1]
    assert ids(store.list(page_size=2, after=(last.created_at, last.job_id), dead_letters=True)) == ["f0"]
    assert store.list([JobState.SUCCEEDED], dead_letters=True) == []
    assert store.list(labels={"deck": "a"}, dead_letters=True) == []
    assert len(store.list()) == 8
    # It has a new run.
    accept(store, replace(failed[4], run_id="f4-2", state=JobState.QUEUED, dead_letter=False))
    assert ids(store.list(dead_letters=True)) == ["f2", "f0"]
    store.save(replace(a_job("new"), state=JobState.FAILED, dead_letter=True, created_at=9.0))
    assert ids(store.list(dead_letters=True)) == ["new", "f2", "f0"]


def test_a_dead_letter_stands_among_the_runs_and_the_ended_results(store: JobStore) -> None:
    accept(
        store,
        a_job("a", state=JobState.FAILED, dead_letter=True, ended_at=9.0, expires_at=90.0, result_bytes=7),
    )
    assert store.standing_runs() == [RunStanding("a", "a-1", JobState.FAILED, True)]
    assert store.ended_results() == [EndedResult("a", "a-1", JobState.FAILED, 9.0, 90.0, 7, True)]
