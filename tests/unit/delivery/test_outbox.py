"""The outbox over a real store: nothing is lost, nothing out of order, nobody waits for somebody else's server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mismo_grpc.delivery.attempts import RetryPolicy
from mismo_grpc.delivery.body import Bodies
from mismo_grpc.delivery.guard import UrlGuard
from mismo_grpc.delivery.outbox import SLOTS, SLOTS_AN_AUTHORITY, Outbox
from mismo_grpc.delivery.resolver import Resolver
from mismo_grpc.delivery.sender import Sender
from mismo_grpc.errors import StoreError
from mismo_grpc.jobs.callbacks import CallbackRow, CallbackState
from mismo_grpc.jobs.event_log import JobEventLog
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import DeliveryMode, Job, JobState
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.results.runs import Runs
from tests.unit.delivery.finished_jobs import a_job, waveforms, write_stems
from tests.unit.delivery.receiver import (
    PATIENCE,
    Receiver,
    Visit,
    answering,
    deaf,
    hanging,
    resetting,
)


class House:
    """One server's worth of callbacks in a folder: store, repository, outbox."""

    def __init__(
        self,
        folder: Path,
        retries: int = 3,
        delay: float = 0.001,
        timeout: float = PATIENCE,
        secret: str = "",
    ) -> None:
        self.jobs_dir = folder / "jobs"
        self.jobs_dir.mkdir(exist_ok=True)
        self.time = 0.0
        self.store = SqliteJobStore(folder / "jobs.db")
        self.repository = JobRepository(self.store, self.now)
        self.runs = Runs(self.jobs_dir)
        self.outcomes: list[str] = []
        self._changed = asyncio.Condition()
        self._telling: set[asyncio.Task[None]] = set()
        self.outbox = Outbox(
            self.repository,
            self.runs,
            Bodies(self.runs, waveforms),
            Sender(UrlGuard(Resolver()), timeout=timeout, secret=secret, now=self.now),
            RetryPolicy(retries, delay),
            self._on_outcome,
        )

    def now(self) -> float:
        return asyncio.get_running_loop().time() + self.time

    def _on_outcome(self, outcome: str) -> None:
        async def tell() -> None:
            async with self._changed:
                self._changed.notify_all()

        self.outcomes.append(outcome)
        task = asyncio.create_task(tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def told(self, *outcomes: str) -> None:
        """Waits until the attempts have ended like this, in whatever order."""

        def enough() -> bool:
            return sorted(self.outcomes) == sorted(outcomes)

        try:
            async with asyncio.timeout(PATIENCE), self._changed:
                await self._changed.wait_for(enough)
        except TimeoutError:
            assert self.outcomes == list(outcomes)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for what is told to nobody."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0)

    async def finish(self, job: Job, frames: int = 100) -> dict[str, bytes]:
        """Accepts a job that has ended, as one is whose result was there already."""
        files = write_stems(self.jobs_dir, job, frames) if job.state is JobState.SUCCEEDED else {}
        await self.accept(job)
        return files

    async def accept(self, job: Job) -> None:
        await self.repository.accept(job, "", "")
        self.repository.tell_callbacks()

    def rows(self, job_id: str) -> list[CallbackRow]:
        return self.store.callbacks_of(job_id)

    async def close(self) -> None:
        await self.outbox.stop(0.0)
        self.repository.close()


@asynccontextmanager
async def house_in(folder: Path, **how: Any) -> AsyncGenerator[House]:
    house = House(folder, **how)
    try:
        yield house
    finally:
        await house.close()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[House]:
    async with house_in(tmp_path) as opened:
        yield opened


def told_of(visits: Sequence[Visit]) -> list[dict[str, Any]]:
    return [json.loads(visit.body) for visit in visits]


def ids(visits: Sequence[Visit]) -> list[str]:
    return [visit.headers["x-mismo-callback-id"] for visit in visits]


# Delivery


async def test_the_end_of_a_job_is_told_as_soon_as_it_is_stored(house: House) -> None:
    async with Receiver() as receiver:
        house.outbox.start()
        running = a_job(url=receiver.url, state=JobState.RUNNING)
        files = write_stems(house.jobs_dir, running)
        await house.repository.accept(running, "", "")
        active = ActiveJob(running, JobEventLog(1))
        await house.repository.record(active, lambda job: job, EventKind.UPDATED)
        assert house.rows("track") == []
        await house.repository.record(
            active,
            lambda job: replace(job, state=JobState.SUCCEEDED, stages=a_job().stages),
            EventKind.TERMINAL,
        )
        await house.told("delivered")
        [body] = told_of(receiver.visits)
    assert body["status"] == "completed"
    assert {name: base64.b64decode(text) for name, text in body["data"]["stems"].items()} == files
    [row] = house.rows("track")
    assert (row.state, row.attempts, row.last_error) == (CallbackState.DELIVERED, 1, "")
    assert house.store.jobs_with_pending_callbacks() == frozenset()


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
async def test_a_job_without_a_result_is_told_too(house: House, state: JobState) -> None:
    async with Receiver() as receiver:
        house.outbox.start()
        await house.finish(a_job(url=receiver.url, state=state, layout=None))
        await house.told("delivered")
        [body] = told_of(receiver.visits)
    assert body["status"] == "failed"
    assert set(body["error"]) == {"code", "message"}


async def test_a_job_that_named_no_url_is_told_to_nobody(house: House) -> None:
    house.outbox.start()
    await house.finish(a_job(url=""))
    assert house.rows("track") == []
    assert house.outbox.sending_count == 0


async def test_what_fails_is_tried_again_under_the_same_id(house: House) -> None:
    async with Receiver(answering(500), resetting, answering(200)) as receiver:
        house.outbox.start()
        await house.finish(a_job(url=receiver.url))
        await house.told("retried", "retried", "delivered")
        assert [visit.headers["x-mismo-attempt"] for visit in receiver.visits] == ["1", "2", "3"]
        assert len(set(ids(receiver.visits))) == 1
        # The same bytes each time: also the timestamp is that of the end, not of the attempt.
        assert receiver.visits[0].body == receiver.visits[2].body


async def test_after_the_last_attempt_it_is_failed_logged_and_kept(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with house_in(tmp_path, retries=2) as house, Receiver(answering(500)) as receiver:
            house.outbox.start()
            await house.finish(a_job(url=f"{receiver.url}?token=hush"))
            await house.told("retried", "retried", "failed")
            [row] = house.rows("track")
            assert (house.runs.files("track-1").stem("vocals")).exists()
    assert (row.state, row.attempts, row.last_error) == (CallbackState.FAILED, 3, "answered 500")
    assert len(receiver.visits) == 3
    [error] = [line for line in logs if line["log_level"] == "error"]
    assert (error["job_id"], error["stage"], error["reason"]) == ("track", "stems", "answered 500")
    assert "hush" not in str(logs)


async def test_a_refusal_is_final_at_once(house: House) -> None:
    async with Receiver(answering(413)) as receiver:
        house.outbox.start()
        await house.finish(a_job(url=receiver.url))
        await house.told("failed")
        [row] = house.rows("track")
        assert (row.state, row.attempts) == (CallbackState.FAILED, 1)
        assert "413" in row.last_error


async def test_a_forbidden_address_is_final_at_once(house: House) -> None:
    house.outbox.start()
    await house.finish(a_job(url="http://169.254.169.254/latest/meta-data"))
    await house.told("failed")
    assert "callbacks never go there" in house.rows("track")[0].last_error


async def test_stems_that_are_gone_are_final_at_once(house: House) -> None:
    async with Receiver() as receiver:
        await house.finish(a_job(url=receiver.url))
        (house.runs.files("track-1").stem("vocals")).unlink()
        house.outbox.start()
        await house.told("failed")
        assert "gone" in house.rows("track")[0].last_error
        assert receiver.visits == []


async def test_a_retry_waits_for_its_time(tmp_path: Path) -> None:
    async with (
        house_in(tmp_path, delay=3600.0) as house,
        Receiver(answering(500), answering(200)) as receiver,
    ):
        house.outbox.start()
        await house.finish(a_job(url=receiver.url))
        await house.told("retried")
        assert house.rows("track")[0].next_attempt_at > house.now() + 3500
        house.outbox.wake()
        house.time += 3601.0
        house.outbox.wake()
        await house.told("retried", "delivered")


async def test_a_broken_body_fault_costs_one_attempt_not_the_outbox(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Receiver() as receiver:
        faults = [RuntimeError("a fault of ours"), OSError(5, "Input/output error")]
        whole = Bodies.callback

        async def faulty(self: Bodies, job: Job, stage: str, at: float) -> Any:
            if faults:
                raise faults.pop(0)
            return await whole(self, job, stage, at)

        monkeypatch.setattr(Bodies, "callback", faulty)
        house.outbox.start()
        await house.finish(a_job(url=receiver.url))
        await house.told("retried", "retried", "delivered")
        assert [visit.headers["x-mismo-attempt"] for visit in receiver.visits] == ["3"]


# Order and company


async def three_callbacks(house: House, url: str) -> None:
    job = a_job(url=url, mode=DeliveryMode.POLL)
    write_stems(house.jobs_dir, job)
    now = house.now()
    rows = [CallbackRow(f"c{n}", job.job_id, job.run_id, "stems", url, now, now) for n in (1, 2, 3)]
    await house.repository.write(house.store.accept, job, "", "", now, rows)
    house.repository.tell_callbacks()


async def test_within_a_job_the_order_is_kept_through_failures(house: House) -> None:
    async with Receiver(answering(503), answering(503), answering(200)) as receiver:
        house.outbox.start()
        await three_callbacks(house, receiver.url)
        await house.told("retried", "retried", "delivered", "delivered", "delivered")
        assert ids(receiver.visits) == ["c1", "c1", "c1", "c2", "c3"]
        assert receiver.most_open == 1


async def test_a_callback_that_failed_for_good_lets_the_next_one_go(house: House) -> None:
    async with Receiver(answering(400), answering(200)) as receiver:
        house.outbox.start()
        await three_callbacks(house, receiver.url)
        await house.told("failed", "delivered", "delivered")
        assert ids(receiver.visits) == ["c1", "c2", "c3"]


async def test_a_receiver_that_hangs_holds_up_no_other_job(house: House) -> None:
    async with Receiver(hanging) as stuck, Receiver() as fine:
        house.outbox.start()
        for number in range(SLOTS + 2):
            await house.finish(a_job(f"stuck{number}", url=stuck.url, mode=DeliveryMode.POLL))
        await stuck.visited(SLOTS_AN_AUTHORITY)
        for number in range(4):
            await house.finish(a_job(f"fine{number}", url=fine.url, mode=DeliveryMode.POLL))
        await house.told(*["delivered"] * 4)
        assert stuck.most_open == len(stuck.visits) == SLOTS_AN_AUTHORITY
        assert house.outbox.sending_count == SLOTS_AN_AUTHORITY


@pytest.mark.parametrize("waiting_first", [True, False])
async def test_however_many_wait_for_a_receiver_that_hangs_the_others_are_told(
    house: House, waiting_first: bool
) -> None:
    """Also those that were all due before the outbox started."""
    async with Receiver(hanging) as stuck, Receiver() as fine:
        if not waiting_first:
            house.outbox.start()
        for number in range(300):
            await house.finish(a_job(f"stuck{number}", url=f"{stuck.url}?n={number}", mode=DeliveryMode.POLL))
        for number in range(4):
            await house.finish(a_job(f"fine{number}", url=fine.url, mode=DeliveryMode.POLL))
        if waiting_first:
            house.outbox.start()
        await house.told(*["delivered"] * 4)
        await stuck.visited(SLOTS_AN_AUTHORITY)
        assert stuck.most_open == len(stuck.visits) == SLOTS_AN_AUTHORITY


async def test_what_waited_for_a_slot_goes_out_when_there_is_one(house: House) -> None:
    go_on = asyncio.Event()

    async def waiting(visit: Visit) -> None:
        await visit.read_body()
        await go_on.wait()
        await visit.answer(200)

    async with Receiver(waiting) as receiver:
        house.outbox.start()
        for number in range(2 * SLOTS):
            await house.finish(a_job(f"job{number}", url=receiver.url, mode=DeliveryMode.POLL))
        await receiver.visited(SLOTS_AN_AUTHORITY)
        go_on.set()
        await house.told(*["delivered"] * 2 * SLOTS)
        assert receiver.most_open == SLOTS_AN_AUTHORITY
        assert len(set(ids(receiver.visits))) == len(receiver.visits) == 2 * SLOTS


async def test_every_callback_goes_out_once_however_many_come_at_once(house: House) -> None:
    async with Receiver() as receiver:
        house.outbox.start()
        jobs = [a_job(f"job{n}", url=receiver.url, mode=DeliveryMode.POLL) for n in range(60)]
        await asyncio.gather(*(house.finish(job) for job in jobs))
        await house.told(*["delivered"] * 60)
        assert len(set(ids(receiver.visits))) == len(receiver.visits) == 60


async def test_files_are_held_while_they_are_sent(house: House) -> None:
    async with Receiver(hanging) as receiver:
        house.outbox.start()
        await house.finish(a_job(url=receiver.url))
        await receiver.visited(1)
        assert house.runs.held_runs == {"track-1"}
    await house.outbox.stop(0.0)
    assert house.runs.held_runs == frozenset()


# Jobs that come and go meanwhile


async def test_a_job_that_is_deleted_takes_its_callback_along(house: House) -> None:
    async with Receiver(deaf) as receiver:
        house.outbox.start()
        await house.finish(a_job(url=receiver.url), frames=500_000)
        await receiver.visited(1)
        assert await house.repository.write(house.store.delete, "track", 5.0)
    # The receiver is gone too: the attempt fails, and there is no row left to say so on.
    await house.until(lambda: house.outbox.sending_count == 0)
    assert house.outcomes == []


async def test_a_new_run_tells_of_itself_alone(house: House) -> None:
    async with Receiver(answering(500), answering(200)) as receiver:
        house.outbox.start()
        first = a_job(url=receiver.url, mode=DeliveryMode.POLL)
        await house.finish(first)
        again = replace(first, run_id="track-2")
        await house.finish(again)
        await house.until(
            lambda: (
                house.rows("track")[0].state is CallbackState.DELIVERED and house.outbox.sending_count == 0
            )
        )
        [row] = house.rows("track")
    assert (row.run_id, row.state) == ("track-2", CallbackState.DELIVERED)


# Stopping and starting


async def test_what_a_stop_cuts_off_was_not_made_and_is_made_again(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house, Receiver(deaf) as receiver:
        house.outbox.start()
        await house.finish(a_job(url=receiver.url), frames=500_000)
        await receiver.visited(1)
        await house.outbox.stop(0.0)
        [row] = house.rows("track")
        assert (row.state, row.attempts, row.last_error) == (CallbackState.PENDING, 0, "")
        assert house.outcomes == []
        port = receiver.port
    async with house_in(tmp_path) as house, Receiver(port=port) as receiver:
        house.outbox.start()
        await house.told("delivered")
        assert ids(receiver.visits) == [row.callback_id]
        assert receiver.visits[0].headers["x-mismo-attempt"] == "1"


async def test_a_stop_gives_what_is_under_way_its_grace(house: House) -> None:
    go_on = asyncio.Event()

    async def waiting(visit: Visit) -> None:
        await visit.read_body()
        await go_on.wait()
        await visit.answer(200)

    async with Receiver(waiting) as receiver:
        house.outbox.start()
        await house.finish(a_job(url=receiver.url))
        await receiver.visited(1)
        stopping = asyncio.ensure_future(house.outbox.stop(PATIENCE))
        await asyncio.sleep(0)
        go_on.set()
        await stopping
    assert house.rows("track")[0].state is CallbackState.DELIVERED


async def test_nothing_is_taken_up_after_a_stop(house: House) -> None:
    async with Receiver() as receiver:
        house.outbox.start()
        await house.outbox.stop(0.0)
        await house.outbox.stop(0.0)
        await house.finish(a_job(url=receiver.url))
        house.outbox.wake()
        assert house.outbox.sending_count == 0
        assert house.rows("track")[0].state is CallbackState.PENDING
        assert receiver.visits == []


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.unit.delivery.test_outbox import House, a_job

async def main():
    house = House(Path(sys.argv[1]))
    house.outbox.start()
    await house.finish(a_job(url=sys.argv[2]))
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_process_loses_no_callback(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    async with Receiver(hanging, answering(200)) as receiver:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            KILLED,
            str(tmp_path),
            receiver.url,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        try:
            await receiver.visited(1)
        finally:
            process.kill()
            await process.wait()
        async with house_in(tmp_path) as house:
            assert house.store.jobs_with_pending_callbacks() == {"track"}
            house.outbox.start()
            await house.told("delivered")
        first, second = receiver.visits
    assert ids([first]) == ids([second])
    assert [first.headers["x-mismo-attempt"], second.headers["x-mismo-attempt"]] == ["1", "1"]
    assert told_of([second])[0]["status"] == "completed"


# A store that fails


async def test_an_outcome_is_stored_when_the_store_works_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mismo_grpc.delivery.outbox.STORE_RETRY_SECONDS", 0.001)
    save, faults = house.store.save_callback, [StoreError("no"), StoreError("still no")]

    def failing(row: CallbackRow) -> bool:
        if faults:
            raise faults.pop(0)
        return save(row)

    monkeypatch.setattr(house.store, "save_callback", failing)
    async with Receiver() as receiver:
        house.outbox.start()
        await house.finish(a_job(url=receiver.url))
        await house.told("delivered")
        assert len(receiver.visits) == 1


async def test_a_store_that_cannot_be_read_for_a_while_ends_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mismo_grpc.delivery.outbox.STORE_RETRY_SECONDS", 0.001)
    look, faults = house.store.due_callbacks, [StoreError("no"), RuntimeError("what?")]

    def failing(now: float, limit: int, full: Collection[str]) -> list[CallbackRow]:
        if faults:
            raise faults.pop(0)
        return look(now, limit, full)

    monkeypatch.setattr(house.store, "due_callbacks", failing)
    async with Receiver() as receiver:
        house.outbox.start()
        await house.finish(a_job(url=receiver.url))
        await house.told("delivered")


async def test_an_answer_of_the_store_that_is_older_than_an_ending_starts_nothing_twice(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = house.repository.read
    delayed: list[list[CallbackRow]] = []

    async def slow_to_hand_over(function: Any, *arguments: Any) -> Any:
        found = await read(function, *arguments)
        if function == house.store.due_callbacks and house.outbox.sending_count and found:
            # Read while the callback was pending, handed over once it is delivered.
            go_on.set()
            await house.until(lambda: house.outbox.sending_count == 0)
            delayed.append(found)
        return found

    go_on = asyncio.Event()

    async def waiting(visit: Visit) -> None:
        await visit.read_body()
        house.outbox.wake()
        await go_on.wait()
        await visit.answer(200)

    monkeypatch.setattr(house.repository, "read", slow_to_hand_over)
    async with Receiver(waiting) as receiver:
        house.outbox.start()
        await house.finish(a_job(url=receiver.url, mode=DeliveryMode.POLL))
        await house.told("delivered")
        await house.finish(a_job("next", url=receiver.url, mode=DeliveryMode.POLL))
        await house.told("delivered", "delivered")
        assert delayed
        assert len(set(ids(receiver.visits))) == len(receiver.visits) == 2
