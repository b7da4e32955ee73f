"""A process with many browsers that follow one job, each over a connection of its own.

`python -m benchmarks.cases.browsers.browser_process KIND URL JOB BROWSERS` prints a line once all of them follow the
job, and a JSON object at SIGTERM: how many events each browser received since that line, and how many browsers ended.

They speak what a browser's client speaks (Engine.IO 4 and Socket.IO 5, or calls over WebSocket), without JavaScript.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence

import httpx2
from websockets.asyncio.client import connect

from mismo.analysis.v1.job_service_pb2 import WatchJobsRequest, WatchJobsResponse

NAMESPACE = "/progress"
EVENT, PING, PONG = f"42{NAMESPACE},", "2", "3"
SEPARATOR = "\x1e"
PATIENCE_SECONDS = 60.0


class Browsers:
    """The events that all browsers have received."""

    def __init__(self, count: int) -> None:
        self.received = [0] * count
        self._unopened = set(range(count))
        self.all_follow = asyncio.Event()

    def on_event(self, number: int) -> None:
        """A browser has received a progress event; with its first one it follows the job."""
        self.received[number] += 1
        self._unopened.discard(number)
        if not self._unopened:
            self.all_follow.set()


Follow = Callable[[str, str, Callable[[], None]], Coroutine[None, None, None]]


async def follow_by_polling(url: str, job_id: str, on_event: Callable[[], None]) -> None:
    """Follows a job by long polls."""
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as http:
        path = "/socket.io/?EIO=4&transport=polling"
        opened = (await http.get(path)).raise_for_status().text
        path += f"&sid={json.loads(opened[1:])['sid']}"

        async def post(packet: str) -> None:
            (await http.post(path, content=packet)).raise_for_status()

        await post(f"40{NAMESPACE},")
        await post(_subscribe(job_id))
        while True:
            answer = (await http.get(path)).raise_for_status()
            for packet in answer.text.split(SEPARATOR):
                if packet == PING:
                    await post(PONG)
                elif packet.startswith(EVENT):
                    on_event()


async def follow_by_websocket(url: str, job_id: str, on_event: Callable[[], None]) -> None:
    """Follows a job over a WebSocket."""
    address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
    async with connect(address, compression=None) as socket:
        await socket.recv()
        await socket.send(f"40{NAMESPACE},")
        await socket.recv()
        await socket.send(_subscribe(job_id))
        async for packet in socket:
            if packet == PING:
                await socket.send(PONG)
            elif isinstance(packet, str) and packet.startswith(EVENT):
                on_event()


def _subscribe(job_id: str) -> str:
    return EVENT + json.dumps(["subscribe", {"job_id": job_id}])


async def follow_by_watch_jobs(url: str, job_id: str, on_event: Callable[[], None]) -> None:
    """Follows all jobs with WatchJobs over a WebSocket, as the page does."""
    address = url.replace("http", "ws", 1) + "/ws/mismo.analysis.v1.JobService/WatchJobs"
    async with connect(address, compression=None, max_size=None) as socket:
        await socket.send(WatchJobsRequest().SerializeToString())
        async for message in socket:
            if not isinstance(message, bytes):
                raise ValueError(message)
            if WatchJobsResponse.FromString(message).progress.job_id == job_id:
                on_event()


KINDS: dict[str, Follow] = {
    "Socket.IO, polling": follow_by_polling,
    "Socket.IO, websocket": follow_by_websocket,
    "WatchJobs over WebSocket": follow_by_watch_jobs,
}
"""The ways to follow a job; another one is a function more."""


async def main(kind: str, url: str, job_id: str, count: int) -> None:
    """Follows, waits for SIGTERM, reports; raises TimeoutError."""
    browsers, over = Browsers(count), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    tasks = [
        asyncio.create_task(KINDS[kind](url, job_id, lambda n=number: browsers.on_event(n)))
        for number in range(count)
    ]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await browsers.all_follow.wait()
    before = list(browsers.received)
    print("following", flush=True)
    await over.wait()
    ended = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    received = [now - then for now, then in zip(browsers.received, before, strict=True)]
    print(json.dumps({"received": received, "ended": len(ended)}))


def arguments(values: Sequence[str]) -> tuple[str, str, str, int]:
    """Parses the command line."""
    kind, url, job_id, count = values
    return kind, url, job_id, int(count)


if __name__ == "__main__":
    asyncio.run(main(*arguments(sys.argv[1:])))
