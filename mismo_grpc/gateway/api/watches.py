"""Watches jobs for all clients of Socket.IO: one watch of a job, however many clients follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import structlog

from mismo_grpc.completion import wait_ended
from mismo_grpc.errors import MismoError, TooManyStreamsError
from mismo_grpc.gateway.api.outgoing import EventPacket
from mismo_grpc.gateway.api.views import progress_view
from mismo_grpc.jobs.event_log import Ended, Heartbeat, JobView
from mismo_grpc.jobs.job import Job, JobState
from mismo_grpc.orchestration.service import Jobs
from mismo_grpc.wire_forms import wire

log: structlog.stdlib.BoundLogger = structlog.get_logger("mismo_grpc.gateway")

MAX_SUBSCRIPTIONS = 16
"""The most jobs that one client follows at once."""
SHORTEST_INTERVAL_SECONDS = 0.1
_HEARTBEAT_SECONDS = 3600.0

Send = Callable[[str, EventPacket], Awaitable[bool]]
Share = Callable[[str], float]


@dataclass(eq=False)
class _Watch:
    """The watch of one job, and the clients that follow it."""

    job_id: str
    clients: set[str] = field(default_factory=set[str])
    task: asyncio.Task[None] | None = None


class Watches:
    """All watches; on the event loop.

    `send` sends to a client, and returns False if it is gone. `share` is the time by which a client lengthens the
    interval between two events of a job (seconds), so that the cost of all its clients a second is bounded.
    """

    def __init__(self, jobs: Callable[[], Jobs], send: Send, share: Share) -> None:
        self._jobs = jobs
        self._send = send
        self._share = share
        self._watches: dict[str, _Watch] = {}

    def subscriptions(self, client: str) -> int:
        """How many jobs a client follows."""
        return sum(client in watch.clients for watch in self._watches.values())

    @property
    def count(self) -> int:
        """How many jobs are watched."""
        return len(self._watches)

    async def subscribe(self, client: str, job_id: str) -> None:
        """Sends a job's progress to a client, now and at every change until the job has ended.

        Raises JobNotFoundError, TooManyStreamsError.
        """
        jobs = self._jobs()
        job = await jobs.get(job_id)
        if job.state.ended:
            await self._tell_end([client], jobs.view(job))
            return
        watch = self._watches.get(job_id)
        follows = watch is not None and client in watch.clients
        if not follows and self.subscriptions(client) >= MAX_SUBSCRIPTIONS:
            raise TooManyStreamsError(
                f"a client can follow {MAX_SUBSCRIPTIONS} jobs at once; emit unsubscribe for one of them"
            )
        if watch is None:
            watch = self._watches[job_id] = _Watch(job_id)
            watch.clients.add(client)
            # Its first event tells the client where the job is.
            watch.task = asyncio.create_task(self._run(watch), name=f"live progress of {job_id}")
            return
        watch.clients.add(client)
        await self._publish(watch, [client], _progress(jobs, jobs.view(job)))

    def unsubscribe(self, client: str, job_id: str) -> None:
        """Sends a job's progress to the client no more."""
        watch = self._watches.get(job_id)
        if watch is not None:
            self._remove(watch, client)

    def leave(self, client: str) -> None:
        """Ends all subscriptions of a client."""
        for watch in list(self._watches.values()):
            self._remove(watch, client)

    async def close(self) -> None:
        """Ends all watches."""
        tasks = [watch.task for watch in self._watches.values() if watch.task is not None]
        for task in tasks:
            task.cancel()
        self._watches.clear()
        if tasks:
            await wait_ended(tasks)

    def _remove(self, watch: _Watch, client: str) -> None:
        watch.clients.discard(client)
        if not watch.clients and watch.task is not None:
            self._forget(watch)
            watch.task.cancel()

    def _forget(self, watch: _Watch) -> None:
        if self._watches.get(watch.job_id) is watch:
            del self._watches[watch.job_id]

    async def _run(self, watch: _Watch) -> None:
        try:
            await self._follow(watch)
        except MismoError as error:
            self._forget(watch)
            await self._tell(watch.clients, error_packet(watch.job_id, error))
        except Exception as error:
            self._forget(watch)
            log.error("a job cannot be watched any more", job_id=watch.job_id, exc_info=error)
            await self._tell(watch.clients, failure_packet(watch.job_id))
        finally:
            self._forget(watch)

    async def _follow(self, watch: _Watch) -> None:
        jobs = self._jobs()
        newest: Job | None = None
        told: dict[str, Any] | None = None
        events = jobs.watch(watch.job_id, 0, "", _HEARTBEAT_SECONDS, SHORTEST_INTERVAL_SECONDS)
        async with aclosing(events) as following:
            async for event in following:
                if isinstance(event.body, Ended):
                    self._forget(watch)
                    await self._tell_end(watch.clients, event.body.view)
                    return
                if isinstance(event.body, JobView):
                    newest = event.body.job
                if newest is None or isinstance(event.body, Heartbeat):
                    continue
                view = jobs.view(newest)
                newest = view.job
                if newest.revision < event.revision:
                    # The job has ended meanwhile, and the last event follows.
                    continue
                state = progress_view(jobs, view)
                if state != told:
                    told = state
                    await self._publish(
                        watch, list(watch.clients), EventPacket("progress", state, watch.job_id)
                    )
                    await asyncio.sleep(max(SHORTEST_INTERVAL_SECONDS, sum(map(self._share, watch.clients))))

    async def _publish(self, watch: _Watch, clients: Iterable[str], event: EventPacket) -> None:
        for client in await self._tell(clients, event):
            self._remove(watch, client)

    async def _tell_end(self, clients: Iterable[str], view: JobView) -> None:
        followers = list(clients)
        await self._tell(followers, _progress(self._jobs(), view))
        job = view.job
        if job.state is JobState.FAILED and job.error is not None:
            failure = {"job_id": job.job_id, "message": job.error.message, "code": job.error.reason}
            await self._tell(followers, EventPacket("error", failure))

    async def _tell(self, clients: Iterable[str], event: EventPacket) -> list[str]:
        """Sends an event to clients; returns those that are gone."""
        return [client for client in list(clients) if not await self._send(client, event)]


def error_packet(job_id: str | None, error: MismoError) -> EventPacket:
    """The event `error` for a refused or failed request."""
    return EventPacket("error", {"job_id": job_id, "message": error.message, "code": wire(error).reason})


def failure_packet(job_id: str | None) -> EventPacket:
    """The event `error` for a failure of the server."""
    message = "the server failed on this request; its log says why"
    return EventPacket("error", {"job_id": job_id, "message": message, "code": "INTERNAL"})


def _progress(jobs: Jobs, view: JobView) -> EventPacket:
    return EventPacket("progress", progress_view(jobs, view), view.job.job_id)
