"""The outcome of one attempt to deliver a callback, and the next state that follows; pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from mismo_grpc.jobs.callbacks import CallbackRow, CallbackState

MAX_REASON_CHARS = 300
PASSING_REFUSALS = frozenset({404, 408, 409, 421, 425, 429})
"""Client errors (4xx) that are worth another attempt: the receiver is still starting, or overloaded."""


class Verdict(StrEnum):
    """How an attempt ended."""

    DELIVERED = "delivered"
    TRY_AGAIN = "try again"
    GIVE_UP = "give up"


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended and, if it failed, why; the reason contains no secret and no query string."""

    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True)
class RetryPolicy:
    """Allows `retries` attempts after the first: one after `delay` seconds, each further one after twice the wait."""

    retries: int = 3
    delay: float = 2.0

    def after(self, row: CallbackRow, outcome: Outcome, now: float) -> CallbackRow:
        """Returns the callback's state after an attempt that ended at `now` (seconds since the epoch)."""
        attempts = row.attempts + 1
        state, next_attempt_at = CallbackState.PENDING, row.next_attempt_at
        if outcome.verdict is Verdict.DELIVERED:
            state = CallbackState.DELIVERED
        elif outcome.verdict is Verdict.GIVE_UP or attempts > self.retries:
            state = CallbackState.FAILED
        else:
            next_attempt_at = now + self.delay * 2.0 ** (attempts - 1)
        return replace(
            row,
            state=state,
            attempts=attempts,
            next_attempt_at=next_attempt_at,
            last_error=outcome.reason[:MAX_REASON_CHARS],
        )


def outcome_of_status(status: int) -> Outcome:
    """Returns the outcome of an attempt that the receiver answered with this HTTP status."""
    if 200 <= status < 300:
        return Outcome(Verdict.DELIVERED)
    if 300 <= status < 400:
        return Outcome(
            Verdict.GIVE_UP, f"answered {status}; redirects are not followed: give the final address"
        )
    if status == 413:
        return Outcome(
            Verdict.GIVE_UP, "answered 413; raise the receiver's limit on bodies, or fetch the stems"
        )
    if 400 <= status < 500 and status not in PASSING_REFUSALS:
        return Outcome(Verdict.GIVE_UP, f"answered {status}")
    return Outcome(Verdict.TRY_AGAIN, f"answered {status}")
