"""Which failures are tried again, when, and which stages have to wait for it."""

from __future__ import annotations

import random

import pytest

from mismo_grpc.errors import (
    AnalysisCrashedError,
    BlobAccessDeniedError,
    BlobChangedError,
    BlobContainerNotFoundError,
    BlobNotFoundError,
    BlobStoreUnavailableError,
    CorruptAudioError,
    DiskFullError,
    InvalidFieldError,
    MismoError,
    SourceNotFoundError,
)
from mismo_grpc.jobs.job import (
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
from mismo_grpc.stages.retries import (
    JITTER,
    LONGEST_DELAY_SECONDS,
    RETRIES,
    StageRetries,
    next_attempt,
    only_waits,
    seconds_left,
)
from mismo_grpc.stages.stage import Retry
from mismo_grpc.wire_forms import WIRE

DECODE, STEMS, WAVEFORMS, LOUDNESS = Stage.DECODE, Stage.STEMS, Stage.WAVEFORMS, Stage.LOUDNESS
PENDING, RUNNING, SUCCEEDED, FAILED = (
    StageState.PENDING,
    StageState.RUNNING,
    StageState.SUCCEEDED,
    StageState.FAILED,
)


def delays(retries: StageRetries, error: MismoError, own: tuple[Retry, ...] = ()) -> list[float]:
    """All delays until it is given up."""
    found: list[float] = []
    while (delay := retries.delay(own, error, len(found) + 1)) is not None:
        found.append(delay)
    return found


def test_an_outage_of_the_store_is_tried_again_up_to_the_limit_and_at_least_every_five_minutes() -> None:
    found = delays(StageRetries(), BlobStoreUnavailableError("away"))
    assert found == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0, 300.0, 300.0]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BlobAccessDeniedError("no"), [15.0, 30.0, 60.0, 120.0]),
        (BlobContainerNotFoundError("no"), [15.0, 30.0, 60.0, 120.0]),
        (BlobChangedError("no"), [1.0, 2.0, 4.0]),
    ],
)
def test_each_class_of_error_has_its_own_delays(error: MismoError, expected: list[float]) -> None:
    assert delays(StageRetries(), error) == expected


@pytest.mark.parametrize(
    "error",
    [
        CorruptAudioError("x"),
        InvalidFieldError("x"),
        BlobNotFoundError("x"),
        SourceNotFoundError("x"),
        DiskFullError("x"),
    ],
)
def test_bad_input_and_a_full_disk_are_not_tried_again(error: MismoError) -> None:
    assert delays(StageRetries(), error) == []


def test_the_retries_of_a_stage_come_before_the_table_and_obey_the_limit() -> None:
    own = (Retry((AnalysisCrashedError, BlobChangedError), times=5, first_delay=3.0),)
    assert delays(StageRetries(), BlobChangedError("x"), own) == [3.0, 6.0, 12.0, 24.0, 48.0]
    assert delays(StageRetries(most=2), AnalysisCrashedError("x"), own) == [3.0, 6.0]
    assert delays(StageRetries(most=0), BlobStoreUnavailableError("x"), own) == []


def test_the_delays_are_scaled() -> None:
    assert delays(StageRetries(most=3, scale=0.5), BlobStoreUnavailableError("x")) == [1.0, 2.0, 4.0]
    assert delays(StageRetries(most=2, scale=0.0), BlobStoreUnavailableError("x")) == [0.0, 0.0]
    assert delays(StageRetries(most=1, scale=1e6), BlobStoreUnavailableError("x")) == [300.0]


def test_jobs_that_failed_together_do_not_come_back_together() -> None:
    retries = StageRetries(random=random.Random(1).random)
    found = [retries.delay((), BlobStoreUnavailableError("x"), 8) or 0.0 for _ in range(100)]
    assert len(set(found)) == 100
    assert all(256.0 * (1 - JITTER) <= delay <= 256.0 * (1 + JITTER) for delay in found)
    assert max(found) - min(found) > 256.0 * JITTER
    longest = StageRetries(random=lambda: 1.0)
    assert longest.delay((), BlobStoreUnavailableError("x"), 12) == LONGEST_DELAY_SECONDS


def test_a_cause_that_is_tried_again_may_pass_also_for_clients() -> None:
    """Else the job would not become a dead letter once the retries are used up."""
    assert all(WIRE[error].retryable for retry in RETRIES for error in retry.errors)


def test_a_wait_ends_at_its_time_and_also_if_the_clock_was_set_back() -> None:
    assert seconds_left(110.0, 100.0) == 10.0
    assert seconds_left(90.0, 100.0) == 0.0
    assert seconds_left(100.0 + LONGEST_DELAY_SECONDS + 1.0, 100.0) == 0.0


def test_a_stage_waits_with_the_stages_that_it_comes_after() -> None:
    assert only_waits([DECODE, STEMS, WAVEFORMS], {DECODE})
    assert only_waits([STEMS, WAVEFORMS, Stage.CHARACTERISTICS], {STEMS})
    assert not only_waits([STEMS, LOUDNESS], {STEMS})
    assert not only_waits([STEMS], set())


def a_job(*stages: StageStatus) -> Job:
    return Job(
        "job",
        "5" * 32,
        1,
        JobState.RUNNING,
        Priority.NORMAL,
        Source(SourceKind.PATH, "/a.wav"),
        JobOptions(tuple(status.stage for status in stages)),
        {},
        "m",
        1.0,
        stages=stages,
    )


def waits(stage: Stage, until: float = 50.0) -> StageStatus:
    return StageStatus(stage, PENDING, attempts=1, next_attempt_at=until)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ((StageStatus(DECODE), StageStatus(STEMS)), None),
        ((waits(DECODE), StageStatus(STEMS), StageStatus(LOUDNESS)), 50.0),
        ((StageStatus(DECODE, SUCCEEDED), waits(STEMS, 60.0), StageStatus(WAVEFORMS), waits(LOUDNESS)), 50.0),
        ((StageStatus(DECODE, SUCCEEDED), StageStatus(STEMS, FAILED), waits(LOUDNESS)), 50.0),
        ((StageStatus(DECODE, SUCCEEDED), StageStatus(STEMS, RUNNING), waits(LOUDNESS)), None),
        ((StageStatus(DECODE, SUCCEEDED), StageStatus(STEMS), waits(LOUDNESS)), None),
        # Nobody needs the track any more.
        ((StageStatus(DECODE), StageStatus(STEMS, FAILED), waits(Stage.ANNOTATION)), 50.0),
    ],
)
def test_a_job_goes_on_at_once_unless_all_that_is_left_waits(
    stages: tuple[StageStatus, ...], expected: float | None
) -> None:
    assert next_attempt(a_job(*stages)) == expected
