"""The outbox: delivers every stored callback, in order within a job, concurrently across jobs.

Callbacks are stored with the jobs, so a crash loses none. An attempt that a crash interrupts is not counted and is
repeated; a receiver may therefore get a callback twice and can detect that by `X-Mismo-Callback-ID`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import structlog

from mismo_grpc.completion import run_to_completion
from mismo_grpc.delivery.attempts import Outcome, RetryPolicy, Verdict
from mismo_grpc.delivery.body import Bodies
from mismo_grpc.delivery.json_body import Body
from mismo_grpc.delivery.sender import Sender
from mismo_grpc.errors import ArtifactNotFoundError, MismoError
from mismo_grpc.jobs.callbacks import CallbackRow, CallbackState
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.results.runs import Runs

log = structlog.get_logger(__name__)

SLOTS = 8
"""The most callbacks sent at once."""
SLOTS_AN_AUTHORITY = 6
"""The most callbacks sent at once to one host and port, so that a hanging receiver leaves slots for others."""
DUE_AT_ONCE = 32
"""Due callbacks read in one step: more than SLOTS, so that at least one can start if any can."""
IDLE_SECONDS = 60.0
"""Longest wait between two searches: if the clock is set forward, due callbacks are found after at most this time."""
STORE_RETRY_SECONDS = 2.0


class Outbox:
    """Sends the callbacks of the repository's store: call `start`, then `stop`, on the event loop.

    It calls `on_outcome` with "delivered", "retried" or "failed" after every attempt whose outcome is stored, and
    `on_bytes` with the length of every delivered body.
    """

    def __init__(
        self,
        repository: JobRepository,
        runs: Runs,
        bodies: Bodies,
        sender: Sender,
        policy: RetryPolicy,
        on_outcome: Callable[[str], None] = lambda _: None,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._repository = repository
        self._runs = runs
        self._bodies = bodies
        self._sender = sender
        self._policy = policy
        self._on_outcome = on_outcome
        self._on_bytes = on_bytes
        self._woken = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._slots_taken: Counter[str] = Counter()
        self._ended: set[str] = set()
        """Callbacks whose attempts ended during a search: the search may still return them as due."""

    @property
    def sending_count(self) -> int:
        """The number of callbacks being sent."""
        return len(self._sending)

    def start(self) -> None:
        """Starts sending callbacks as they become due, including those stored before a restart."""
        self._repository.on_callbacks.append(self.wake)
        self._running = asyncio.create_task(self._run(), name="outbox")

    def wake(self) -> None:
        """Makes the outbox search for due callbacks now."""
        self._woken.set()

    async def stop(self, grace: float) -> None:
        """Starts no more attempts; cancels those that run after `grace` seconds, to repeat them after a restart."""
        if self._running is None:
            return
        running, self._running = self._running, None
        self._repository.on_callbacks.remove(self.wake)
        running.cancel()
        try:
            await asyncio.wait((running,))
            if self._sending:
                await asyncio.wait(list(self._sending.values()), timeout=max(0.0, grace))
        finally:
            tasks = list(self._sending.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                pause = await self._start_due()
            except Exception:
                # An unexpected error must not end the delivery of callbacks.
                log.error("the outbox cannot search for due callbacks; it tries again", exc_info=True)
                pause = STORE_RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    async def _start_due(self) -> float:
        """Starts due callbacks while slots are free; returns the seconds until the next search is needed."""
        if len(self._sending) >= SLOTS:
            # The next attempt that ends wakes the outbox.
            return IDLE_SECONDS
        repository, now = self._repository, self._repository.now()
        while await self._start_batch(now):
            pass
        soon = await repository.read(repository.store.next_callback_time, now)
        return IDLE_SECONDS if soon is None else min(max(0.0, soon - repository.now()), IDLE_SECONDS)

    async def _start_batch(self, now: float) -> bool:
        """Starts one batch of due callbacks; returns whether another search may find more that can start."""
        full = [authority for authority, count in self._slots_taken.items() if count >= SLOTS_AN_AUTHORITY]
        self._ended.clear()
        due = await self._repository.read(self._repository.store.due_callbacks, now, DUE_AT_ONCE, full)
        begun = 0
        for row in due:
            authority = row.authority
            taken = row.callback_id in self._sending or row.callback_id in self._ended
            if taken or self._slots_taken[authority] >= SLOTS_AN_AUTHORITY:
                continue
            if len(self._sending) >= SLOTS:
                return False
            self._start(row, authority)
            begun += 1
        return begun > 0 and len(due) == DUE_AT_ONCE

    def _start(self, row: CallbackRow, authority: str) -> None:
        task = asyncio.create_task(self._deliver(row), name=f"callback {row.callback_id}")
        self._sending[row.callback_id] = task
        self._slots_taken[authority] += 1

        def ended(_: asyncio.Task[None]) -> None:
            del self._sending[row.callback_id]
            self._ended.add(row.callback_id)
            self._slots_taken[authority] -= 1
            if not self._slots_taken[authority]:
                del self._slots_taken[authority]
            self.wake()

        task.add_done_callback(ended)

    async def _deliver(self, row: CallbackRow) -> None:
        with self._runs.held(row.run_id):
            outcome = await self._attempt(row)
        # No await in between: the outcome of a finished attempt is stored even if the server stops now.
        await self._store_outcome(row, outcome)

    async def _attempt(self, row: CallbackRow) -> Outcome:
        try:
            with await self._body(row) as body:
                outcome = await self._sender.attempt(row, body)
                if outcome.verdict is Verdict.DELIVERED:
                    self._on_bytes(body.length)
                return outcome
        except ArtifactNotFoundError as error:
            return Outcome(Verdict.GIVE_UP, error.message)
        except (MismoError, OSError) as error:
            return Outcome(Verdict.TRY_AGAIN, f"the body cannot be built ({error})")
        except Exception:
            log.error("a callback failed unexpectedly", job_id=row.job_id, stage=row.stage, exc_info=True)
            return Outcome(Verdict.TRY_AGAIN, "the server failed to send it; its log says why")

    async def _body(self, row: CallbackRow) -> Body:
        job = await self._repository.find(row.job_id)
        if job is None or job.run_id != row.run_id:
            raise ArtifactNotFoundError("the job was deleted, or has run again")
        return await self._bodies.callback(job, row.stage, row.created_at)

    async def _store_outcome(self, row: CallbackRow, outcome: Outcome) -> None:
        updated = self._policy.after(row, outcome, self._repository.now())
        while True:
            try:
                stored = await run_to_completion(
                    self._repository.must_write(self._repository.store.save_callback, updated)
                )
                break
            except MismoError as error:
                log.error(
                    "the outcome of a callback cannot be stored; it is tried again",
                    job_id=row.job_id,
                    reason=error.message,
                )
                await asyncio.sleep(STORE_RETRY_SECONDS)
        if stored:
            self._log_outcome(updated)

    def _log_outcome(self, row: CallbackRow) -> None:
        about = {"job_id": row.job_id, "stage": row.stage, "attempt": row.attempts, "to": row.authority}
        if row.state is CallbackState.DELIVERED:
            log.info("callback delivered", **about)
            self._on_outcome("delivered")
        elif row.state is CallbackState.PENDING:
            seconds = round(row.next_attempt_at - self._repository.now(), 1)
            log.warning(
                "callback not delivered; it is tried again",
                reason=row.last_error,
                in_seconds=seconds,
                **about,
            )
            self._on_outcome("retried")
        else:
            log.error(
                "callback failed for good; its stems can still be fetched", reason=row.last_error, **about
            )
            self._on_outcome("failed")
