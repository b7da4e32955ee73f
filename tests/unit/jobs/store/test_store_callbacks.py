"""Callbacks in a job store: stored with the change that causes them, taken in order, gone with their job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mismo_grpc.jobs.callbacks import CallbackRow, CallbackState, callbacks_due
from mismo_grpc.jobs.job import (
    Delivery,
    Job,
    JobOptions,
    JobState,
    Priority,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
)
from mismo_grpc.jobs.store.port import JobStore
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from tests.support.memory_store import MemoryJobStore

URL = "http://app:3000/callback?token=1"


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    opened: JobStore = SqliteJobStore(tmp_path / "jobs.db") if request.param == "sqlite" else MemoryJobStore()
    yield opened
    opened.close()


def a_job(job_id: str = "a", state: JobState = JobState.RUNNING, url: str = URL, run_id: str = "") -> Job:
    return Job(
        job_id=job_id,
        run_id=run_id or f"{job_id}-1",
        revision=1,
        state=state,
        priority=Priority.NORMAL,
        source=Source(SourceKind.PATH, "/music/a.wav"),
        options=JobOptions(),
        labels={},
        model="htdemucs",
        created_at=100.0,
        delivery=Delivery(url),
    )


def a_row(job_id: str, name: str, at: float = 1.0, run_id: str = "") -> CallbackRow:
    return CallbackRow(name, job_id, run_id or f"{job_id}-1", "stems", URL, at, at)


def names(rows: list[CallbackRow]) -> list[str]:
    return [row.callback_id for row in rows]


# Which changes cause callbacks


def with_states(*states: StageState, asked: tuple[Stage, ...] = (Stage.STEMS,), url: str = URL) -> Job:
    """A job whose stages decode, stems, waveforms and loudness stand so."""
    stages = (Stage.DECODE, Stage.STEMS, Stage.WAVEFORMS, Stage.LOUDNESS)
    job = a_job(state=JobState.RUNNING, url=url)
    return replace(
        job,
        options=JobOptions(asked),
        stages=tuple(StageStatus(stage, state) for stage, state in zip(stages, states, strict=False)),
    )


RUNNING, DONE, FAILED, SKIPPED = (
    StageState.RUNNING,
    StageState.SUCCEEDED,
    StageState.FAILED,
    StageState.SKIPPED,
)
BOTH = (Stage.STEMS, Stage.LOUDNESS)


@pytest.mark.parametrize(
    ("before", "after", "asked", "told"),
    [
        ((DONE, RUNNING, RUNNING), (DONE, DONE, RUNNING), (Stage.STEMS,), []),
        ((DONE, DONE, RUNNING), (DONE, DONE, DONE), (Stage.STEMS,), ["stems"]),
        ((DONE, DONE, RUNNING), (DONE, DONE, FAILED), (Stage.STEMS,), ["stems"]),
        ((DONE, RUNNING, RUNNING), (DONE, FAILED, RUNNING), (Stage.STEMS,), ["stems"]),
        ((DONE, FAILED, RUNNING), (DONE, FAILED, SKIPPED), (Stage.STEMS,), []),
        ((DONE, RUNNING, RUNNING, RUNNING), (DONE, RUNNING, RUNNING, DONE), BOTH, ["loudness"]),
        ((DONE, RUNNING, RUNNING, RUNNING), (DONE, RUNNING, RUNNING, DONE), (Stage.STEMS,), []),
        ((RUNNING, RUNNING, RUNNING, RUNNING), (FAILED, FAILED, FAILED, FAILED), BOTH, ["stems", "loudness"]),
        ((DONE, DONE, DONE, FAILED), (DONE, DONE, DONE, FAILED), BOTH, []),
    ],
)
def test_the_outcome_of_each_asked_stage_is_told_once(
    before: tuple[StageState, ...],
    after: tuple[StageState, ...],
    asked: tuple[Stage, ...],
    told: list[str],
) -> None:
    """That of the stems with the waveforms, which its callback brings."""
    due = callbacks_due(with_states(*before, asked=asked), with_states(*after, asked=asked), 5.0, lambda: "0")
    assert due == tuple(CallbackRow("0", "a", "a-1", name, URL, 5.0, 5.0) for name in told)


def test_a_result_that_was_there_already_is_told_at_once() -> None:
    due = callbacks_due(None, with_states(DONE, DONE, DONE, DONE, asked=BOTH), 5.0, str)
    assert [row.stage for row in due] == ["stems", "loudness"]


def test_stages_without_a_result_of_their_own_are_not_told() -> None:
    job = with_states(DONE, DONE, DONE, asked=(Stage.DECODE, Stage.STEMS, Stage.ANNOTATION))
    job = replace(job, stages=(*job.stages, StageStatus(Stage.ANNOTATION, DONE)))
    assert [row.stage for row in callbacks_due(None, job, 5.0, str)] == ["stems"]


def test_a_job_that_named_no_url_causes_none() -> None:
    assert callbacks_due(None, with_states(DONE, FAILED, url=""), 5.0, str) == ()


# What the store does with them


def test_callbacks_come_with_the_change(store: JobStore) -> None:
    store.accept(a_job(), "", "", 0.0)
    assert store.callbacks_of("a") == []
    assert store.save(a_job(state=JobState.SUCCEEDED), [a_row("a", "c1"), a_row("a", "c2")])
    assert store.callbacks_of("a") == [a_row("a", "c1"), a_row("a", "c2")]
    assert store.jobs_with_pending_callbacks() == {"a"}


def test_a_job_that_is_accepted_as_ended_brings_its_callbacks(store: JobStore) -> None:
    store.accept(a_job(state=JobState.SUCCEEDED), "", "", 0.0, [a_row("a", "c1")])
    assert store.callbacks_of("a") == [a_row("a", "c1")]


def test_the_change_of_a_run_that_is_gone_brings_none(store: JobStore) -> None:
    store.accept(a_job(state=JobState.FAILED), "", "", 0.0)
    store.accept(a_job(run_id="a-2"), "", "", 0.0)
    assert not store.save(a_job(state=JobState.SUCCEEDED), [a_row("a", "late")])
    assert not store.save(a_job("b"), [a_row("b", "never")])
    assert store.callbacks_of("a") == store.callbacks_of("b") == []
    assert store.due_callbacks(9.0, 9) == []


def test_of_a_run_only_the_first_pending_callback_is_due(store: JobStore) -> None:
    store.accept(a_job(), "", "", 0.0, [a_row("a", "a1", 5.0), a_row("a", "a2", 1.0)])
    store.accept(a_job("b"), "", "", 0.0, [a_row("b", "b1", 3.0)])
    assert names(store.due_callbacks(2.0, 9)) == []
    assert names(store.due_callbacks(5.0, 9)) == ["b1", "a1"]
    assert names(store.due_callbacks(5.0, 1)) == ["b1"]
    for over in (CallbackState.DELIVERED, CallbackState.FAILED):
        assert store.save_callback(replace(a_row("a", "a1", 5.0), state=over))
        assert names(store.due_callbacks(5.0, 9)) == ["a2", "b1"]


def test_places_that_are_passed_over_take_no_room_among_those_that_are_due(store: JobStore) -> None:
    for number, host in enumerate(["busy:1", "BUSY:1", "busy:1", "free:1", "busy:2"]):
        row = replace(
            a_row(str(number), f"c{number}", float(number)), url=f"http://{host}/{number}?http://x#y"
        )
        store.accept(a_job(str(number)), "", "", 0.0, [row])
    assert names(store.due_callbacks(9.0, 2)) == ["c0", "c1"]
    assert names(store.due_callbacks(9.0, 2, ["busy:1"])) == ["c3", "c4"]
    assert names(store.due_callbacks(9.0, 2, ["busy:1", "free:1", "other:1"])) == ["c4"]


def test_a_first_callback_that_is_passed_over_holds_back_the_next_of_its_run(store: JobStore) -> None:
    elsewhere = replace(a_row("a", "a2"), url="http://free:1/")
    store.accept(a_job(), "", "", 0.0, [a_row("a", "a1"), elsewhere])
    assert names(store.due_callbacks(9.0, 9, [a_row("a", "a1").authority])) == []


def test_how_a_callback_stands_is_kept(store: JobStore) -> None:
    store.accept(a_job(), "", "", 0.0, [a_row("a", "c1")])
    tried = replace(a_row("a", "c1"), attempts=2, next_attempt_at=7.5, last_error="answered 500 \N{BOMB}")
    assert store.save_callback(tried)
    assert store.callbacks_of("a") == [tried]
    assert store.due_callbacks(7.4, 9) == []
    assert store.due_callbacks(7.5, 9) == [tried]


def test_the_store_knows_when_the_next_callback_is_due(store: JobStore) -> None:
    assert store.next_callback_time(0.0) is None
    store.accept(a_job(), "", "", 0.0, [a_row("a", "c1", 5.0)])
    store.accept(a_job("b"), "", "", 0.0, [a_row("b", "c2", 7.0)])
    assert store.next_callback_time(0.0) == 5.0
    assert store.next_callback_time(5.0) == 7.0
    assert store.next_callback_time(7.0) is None
    store.save_callback(replace(a_row("a", "c1", 5.0), state=CallbackState.FAILED))
    assert store.next_callback_time(0.0) == 7.0


def test_callbacks_go_with_their_job(store: JobStore) -> None:
    row = a_row("a", "c1")
    store.accept(a_job(), "", "", 0.0, [row])
    store.delete("a", 5.0)
    assert store.callbacks_of("a") == []
    assert store.jobs_with_pending_callbacks() == frozenset()
    assert not store.save_callback(replace(row, attempts=1))


def test_callbacks_go_with_a_run_that_is_replaced(store: JobStore) -> None:
    old = a_row("a", "c1")
    store.accept(a_job(state=JobState.SUCCEEDED), "", "", 0.0, [old])
    store.accept(a_job(run_id="a-2", state=JobState.SUCCEEDED), "", "", 0.0, [a_row("a", "c2", run_id="a-2")])
    assert names(store.callbacks_of("a")) == ["c2"]
    assert not store.save_callback(replace(old, state=CallbackState.DELIVERED))


def test_only_pending_callbacks_keep_a_job(store: JobStore) -> None:
    for job_id in "abc":
        store.accept(a_job(job_id), "", "", 0.0, [a_row(job_id, job_id)])
    store.save_callback(replace(a_row("b", "b"), state=CallbackState.DELIVERED))
    store.save_callback(replace(a_row("c", "c"), state=CallbackState.FAILED))
    assert store.jobs_with_pending_callbacks() == {"a"}


def test_a_url_of_any_text_is_kept_as_it_is(store: JobStore) -> None:
    odd = replace(a_row("a", "c1"), url="http://\udc80\0/\N{BOMB}")
    none = replace(a_row("a", "c2"), url="http://[::1/")
    store.accept(a_job(), "", "", 0.0, [odd, none])
    assert store.callbacks_of("a") == [odd, none]
    assert (odd.authority, none.authority) == (r"\udc80\x00", "")
    assert store.due_callbacks(9.0, 9, [odd.authority]) == []
