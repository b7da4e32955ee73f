"""What a client says when the server says no, and when it asks again."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo.analysis.v1 import job_pb2, stage_pb2
from mismo_client import (
    AsyncClient,
    ClientOptions,
    FieldViolation,
    MismoRpcError,
    RetryPolicy,
    StreamCorruptError,
)
from mismo_client.errors import STATUS_DETAILS_KEY, JobFailedError
from mismo_client.retry import LONGEST_RETRY_INFO, Attempts, Pace
from tests.unit.client.peer import Peer
from tests.unit.client.peer_status import rich_error


def failed_call(code: grpc.StatusCode, details: str, status: bytes | None = None) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata((STATUS_DETAILS_KEY, status)) if status else grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=details)


def test_rich_details_are_decoded() -> None:
    status = rich_error(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", "the queue is full", retry_delay=2.5, capacity="256"
    )
    error = MismoRpcError.of(failed_call(grpc.StatusCode.RESOURCE_EXHAUSTED, "x", status.SerializeToString()))
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert (error.retry_delay, error.metadata) == (2.5, {"capacity": "256"})
    assert str(error) == "the queue is full (QUEUE_FULL)"
    assert error.worth_retrying


def test_a_field_at_fault_is_named_once() -> None:
    status = rich_error(
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "shifts must be 0 to 20", field="shifts"
    )
    error = MismoRpcError.of(failed_call(grpc.StatusCode.INVALID_ARGUMENT, "x", status.SerializeToString()))
    assert error.field_violations == (FieldViolation("shifts", "shifts must be 0 to 20"),)
    assert str(error) == "shifts must be 0 to 20 (INVALID_FIELD)"
    other = MismoRpcError(
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "no", field_violations=[FieldViolation("a", "b")]
    )
    assert str(other) == "no; a: b (INVALID_FIELD)"


def test_a_status_without_details_is_an_error_too_and_one_line() -> None:
    error = MismoRpcError.of(failed_call(grpc.StatusCode.UNAVAILABLE, "failed to connect\n to all addresses"))
    assert str(error) == "failed to connect to all addresses (UNAVAILABLE)"
    assert (error.reason, error.retry_delay) == ("", None)
    assert error.worth_retrying
    assert str(MismoRpcError(grpc.StatusCode.UNKNOWN, "", "")) == "UNKNOWN (UNKNOWN)"


def test_a_message_past_the_size_limit_is_not_sent_again() -> None:
    error = MismoRpcError.of(
        failed_call(grpc.StatusCode.RESOURCE_EXHAUSTED, "received message larger than max")
    )
    assert not error.worth_retrying


@pytest.mark.parametrize(
    ("code", "reason", "broken"),
    [
        (grpc.StatusCode.CANCELLED, "", True),
        (grpc.StatusCode.INTERNAL, "", True),
        (grpc.StatusCode.INTERNAL, "INTERNAL", False),
        (grpc.StatusCode.NOT_FOUND, "", False),
    ],
)
def test_a_stream_is_taken_for_broken_only_without_a_reason(
    code: grpc.StatusCode, reason: str, broken: bool
) -> None:
    assert MismoRpcError(code, reason, "x").broken_stream is broken


def test_the_error_of_a_job_is_told_in_the_same_form() -> None:
    job = job_pb2.Job(
        job_id="a",
        state=job_pb2.JOB_STATE_FAILED,
        error=stage_pb2.JobError(
            code=13, reason="SEPARATION_FAILED", message="segment 3", metadata={"n": "3"}
        ),
    )
    error = JobFailedError(job)
    assert str(error) == "job a failed: segment 3 (SEPARATION_FAILED)"
    assert error.error is not None
    assert error.error.metadata == {"n": "3"}
    assert (
        str(JobFailedError(job_pb2.Job(job_id="b", state=job_pb2.JOB_STATE_CANCELLED))) == "job b cancelled"
    )


@given(st.integers(1, 40), st.floats(0, 1))
def test_waits_grow_stay_bounded_and_never_vanish(failures: int, fraction: float) -> None:
    policy = RetryPolicy()
    delay = policy.delay(failures, fraction)
    assert policy.initial / 2 <= delay <= policy.longest
    assert delay <= policy.initial * policy.factor ** (failures - 1)
    assert policy.delay(failures + 1, fraction) >= delay


class Waits:
    """A sleep that only writes down."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.told: list[tuple[str, float]] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def pace(self) -> Pace:
        return Pace(self.sleep, lambda: 1.0, lambda error, delay: self.told.append((str(error), delay)))


AWAY = MismoRpcError(grpc.StatusCode.UNAVAILABLE, "", "away")


async def test_attempts_are_bounded_and_progress_counts_them_anew() -> None:
    waits = Waits()
    attempts = Attempts(waits.pace(), RetryPolicy(attempts=3, initial=1))
    await attempts.after(AWAY)
    await attempts.after(AWAY)
    attempts.progressed()
    await attempts.after(AWAY)
    await attempts.after(AWAY)
    with pytest.raises(MismoRpcError, match="away"):
        await attempts.after(AWAY)
    assert waits.slept == [1, 2, 1, 2]
    assert waits.told == [("away (UNAVAILABLE)", delay) for delay in waits.slept]


async def test_a_stream_that_was_connected_once_is_worth_more_patience() -> None:
    waits = Waits()
    attempts = Attempts(waits.pace(), RetryPolicy(attempts=2), RetryPolicy(attempts=5))
    attempts.connected()
    for _ in range(4):
        await attempts.after(AWAY, stream=True)
    with pytest.raises(MismoRpcError):
        await attempts.after(AWAY, stream=True)


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (3600.0, LONGEST_RETRY_INFO), (0.0, 0.1)])
async def test_a_server_that_says_when_to_come_back_is_believed_within_reason(
    asked: float, waited: float
) -> None:
    waits = Waits()
    busy = MismoRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", "full", retry_delay=asked)
    await Attempts(waits.pace(), RetryPolicy()).after(busy)
    assert waits.slept == [waited]


async def test_what_cannot_succeed_is_not_tried_again() -> None:
    waits = Waits()
    attempts = Attempts(waits.pace(), RetryPolicy())
    for error in (
        MismoRpcError(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", "no"),
        MismoRpcError(grpc.StatusCode.INTERNAL, "", "cut off, but no stream"),
        JobFailedError(job_pb2.Job()),
    ):
        with pytest.raises(type(error)):
            await attempts.after(error)
    assert waits.slept == []
    await attempts.after(StreamCorruptError("garbled"))
    assert len(waits.slept) == 1


async def test_a_submit_is_sent_again_under_the_same_request_id(peer: Peer) -> None:
    waits = Waits()
    peer.submit_errors.extend(
        [
            rich_error(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING", "shutting down", retry_delay=3),
            rich_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", "full", retry_delay=4),
        ]
    )
    options = ClientOptions(sleep=waits.sleep, random=lambda: 0.0, new_id=lambda: "id-1")
    async with AsyncClient(peer.target, options=options) as client:
        answer = await client.submit(
            "/music/a.wav", model="peer_model", playhead=90.25, stems=["vocals"], overlap=0.0
        )
    assert waits.slept == [3, 4]
    assert [submit.request_id for submit in peer.submits] == ["id-1"] * 3
    assert not answer.deduplicated
    sent = peer.submits[0]
    assert sent.source.path == "/music/a.wav"
    assert sent.options.stems.playhead.ToMilliseconds() == 90_250
    assert sent.options.stems.HasField("overlap")
    assert list(sent.options.stems.stem_names) == ["vocals"]


async def test_a_server_that_is_not_there_is_given_up(quick: ClientOptions) -> None:
    async with AsyncClient("127.0.0.1:1", options=quick) as client:
        with pytest.raises(MismoRpcError) as caught:
            await client.info()
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


async def test_a_refused_submit_is_not_sent_again(peer: Peer, client: AsyncClient) -> None:
    peer.submit_errors.append(
        rich_error(grpc.StatusCode.PERMISSION_DENIED, "SOURCE_PATH_FORBIDDEN", "outside")
    )
    with pytest.raises(MismoRpcError, match="SOURCE_PATH_FORBIDDEN"):
        await client.submit("/etc/passwd")
    assert len(peer.submits) == 1
