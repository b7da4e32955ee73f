"""What follows from an attempt: the schedule that the app server has always known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mismo_grpc.delivery.attempts import Outcome, RetryPolicy, Verdict, outcome_of_status
from mismo_grpc.jobs.callbacks import CallbackRow, CallbackState

ROW = CallbackRow("c1", "a", "a-1", "stems", "http://app/", 100.0, 100.0)
AGAIN = Outcome(Verdict.TRY_AGAIN, "answered 500")


def test_three_retries_follow_after_2_4_and_8_seconds_and_then_none() -> None:
    row, now, waits = ROW, 100.0, []
    while row.state is CallbackState.PENDING:
        row = RetryPolicy().after(row, AGAIN, now)
        waits.append(row.next_attempt_at - now)
        now = row.next_attempt_at
    assert waits[:3] == [2.0, 4.0, 8.0]
    assert (row.attempts, row.state, row.last_error) == (4, CallbackState.FAILED, "answered 500")


def test_a_delivered_callback_is_done_whatever_came_before() -> None:
    row = RetryPolicy().after(replace(ROW, attempts=2, last_error="x"), Outcome(Verdict.DELIVERED), 1.0)
    assert (row.attempts, row.state, row.last_error) == (3, CallbackState.DELIVERED, "")


def test_what_cannot_be_delivered_is_not_tried_again() -> None:
    row = RetryPolicy().after(ROW, Outcome(Verdict.GIVE_UP, "answered 401"), 1.0)
    assert (row.attempts, row.state, row.last_error) == (1, CallbackState.FAILED, "answered 401")


def test_without_retries_one_attempt_is_all() -> None:
    assert RetryPolicy(retries=0).after(ROW, AGAIN, 1.0).state is CallbackState.FAILED


def test_a_long_reason_is_cut() -> None:
    assert len(RetryPolicy().after(ROW, Outcome(Verdict.TRY_AGAIN, "x" * 9999), 1.0).last_error) == 300


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_answer_of_the_200s_is_a_delivery(status: int) -> None:
    assert outcome_of_status(status).verdict is Verdict.DELIVERED


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308, 400, 401, 403, 405, 410, 413, 415, 422])
def test_refusals_are_final(status: int) -> None:
    outcome = outcome_of_status(status)
    assert outcome.verdict is Verdict.GIVE_UP
    assert str(status) in outcome.reason


@pytest.mark.parametrize("status", [404, 408, 409, 421, 425, 429, 500, 502, 503, 504, 599, 101])
def test_troubles_that_pass_are_waited_for(status: int) -> None:
    assert outcome_of_status(status) == Outcome(Verdict.TRY_AGAIN, f"answered {status}")
