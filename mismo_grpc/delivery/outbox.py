"""The outbox: carries every stored callback to its end, in order within a job and side by side across jobs.

What is due stands in the job store, so nothing is lost with the process; an attempt that a crash cuts off was not
made, and is made again. A receiver may therefore get a callback twice: `X-Mismo-Callback-ID` tells.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import structlog

from mismo_grpc.completion import run_to_completion
from mismo_grpc.delivery.attempts import Outcome, RetryPolicy, Verdict
from mismo_grpc.delivery.body import Bodies, Body
from mismo_grpc.delivery.sender import Sender
from mismo_grpc.errors import ArtifactNotFoundError, MismoError
from mismo_grpc.jobs.callbacks import CallbackRow, CallbackState
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.results.runs import Runs

log = structlog.get_logger(__name__)

SLOTS = 8
"""Callbacks under way at once."""
SLOTS_AN_AUTHORITY = 6
"""Of them, to one host and port: one that hangs leaves some for the others."""
LOOKED_AT = 32
"""Due callbacks looked at in one step: more than are under way, so that one of them can begin if any can."""
IDLE_SECONDS = 60.0
"""The time of day may be set forward: then what is due is found by then."""
STORE_RETRY_SECONDS = 2.0


class Outbox:
    """Sends the callbacks of the repository's store: `start`, then `stop`. On the event loop.

    `on_outcome` is told "delivered", "retried" or "failed" of every attempt whose outcome is stored, `on_bytes` the
    length of every body that arrived.
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
        """Those that came to an end while the store was asked: its answer may be older than that."""

    @property
    def sending_count(self) -> int:
        """Callbacks under way."""
        return len(self._sending)

    def start(self) -> None:
        """Takes up what is due, also from before a restart, and whatever comes."""
        self._repository.on_callbacks.append(self.wake)
        self._running = asyncio.create_task(self._run(), name="outbox")

    def wake(self) -> None:
        """Has the outbox look for what is due now."""
        self._woken.set()

    async def stop(self, grace: float) -> None:
        """Takes up nothing more, and cuts off what is still under way after `grace` seconds; it is sent next time."""
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
                pause = await self._take_up()
            except Exception:
                # Whatever it is, callbacks go on.
                log.error("the outbox cannot look for what is due; it tries again", exc_info=True)
                pause = STORE_RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    async def _take_up(self) -> float:
        """Starts what is due as far as there are slots; answers in how many seconds to look again at the latest."""
        if len(self._sending) >= SLOTS:
            # The next one to end wakes us.
            return IDLE_SECONDS
        repository, now = self._repository, self._repository.now()
        while await self._begin_some(now):
            pass
        soon = await repository.read(repository.store.next_callback_time, now)
        return IDLE_SECONDS if soon is None else min(max(0.0, soon - repository.now()), IDLE_SECONDS)

    async def _begin_some(self, now: float) -> bool:
        """Starts what is due to some authorities; answers whether there may be more that can begin."""
        full = [authority for authority, count in self._slots_taken.items() if count >= SLOTS_AN_AUTHORITY]
        self._ended.clear()
        due = await self._repository.read(self._repository.store.due_callbacks, now, LOOKED_AT, full)
        begun = 0
        for row in due:
            authority = row.authority
            taken = row.callback_id in self._sending or row.callback_id in self._ended
            if taken or self._slots_taken[authority] >= SLOTS_AN_AUTHORITY:
                continue
            if len(self._sending) >= SLOTS:
                return False
            self._begin(row, authority)
            begun += 1
        return begun > 0 and len(due) == LOOKED_AT

    def _begin(self, row: CallbackRow, authority: str) -> None:
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
        # No await in between: an attempt that came to its end is stored, also if the server stops now.
        await self._settle(row, outcome)

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
            return Outcome(Verdict.TRY_AGAIN, f"the body cannot be made ({error})")
        except Exception:
            log.error("a callback failed unexpectedly", job_id=row.job_id, stage=row.stage, exc_info=True)
            return Outcome(Verdict.TRY_AGAIN, "the server failed on it; its log says why")

    async def _body(self, row: CallbackRow) -> Body:
        job = await self._repository.find(row.job_id)
        if job is None or job.run_id != row.run_id:
            raise ArtifactNotFoundError("the job was deleted, or has run again")
        return await self._bodies.callback(job, row.stage, row.created_at)

    async def _settle(self, row: CallbackRow, outcome: Outcome) -> None:
        settled = self._policy.after(row, outcome, self._repository.now())
        while True:
            try:
                there = await run_to_completion(
                    self._repository.must_write(self._repository.store.save_callback, settled)
                )
                break
            except MismoError as error:
                log.error(
                    "how a callback went cannot be stored; it is tried again",
                    job_id=row.job_id,
                    reason=error.message,
                )
                await asyncio.sleep(STORE_RETRY_SECONDS)
        if there:
            self._tell(settled)

    def _tell(self, row: CallbackRow) -> None:
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
