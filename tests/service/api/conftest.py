"""Clients of the Demucs web server: its REST API over real HTTP, and the real client of Socket.IO in Node."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.service.conftest import Server
from tests.support.calls import PATIENCE
from tests.support.tracks import track_bytes

FOLDER = Path(__file__).resolve().parents[2] / "socketio"
SCRIPT = FOLDER / "browser.js"
CLIENT = FOLDER / "node_modules" / "socket.io-client" / "package.json"


def client_of(server: Server) -> httpx2.AsyncClient:
    """A client of the server's HTTP port."""
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.app.http_port}", timeout=PATIENCE)


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(server) as client:
        yield client


def audio(seconds: float = 2.0, *, seed: int = 1, name: str = "song.wav") -> dict[str, Any]:
    """The file of an upload."""
    return {"audio_file": (name, track_bytes(seconds, seed=seed), "audio/wav")}


async def uploaded(http: httpx2.AsyncClient, seconds: float = 2.0, *, seed: int = 1, **fields: Any) -> str:
    """The id of a job that an upload has made."""
    answer = await http.post("/api/upload", files=audio(seconds, seed=seed), data=fields)
    assert answer.status_code == 202, answer.text
    return answer.json()["job_id"]


async def status_of(http: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    answer = await http.get(f"/api/status/{job_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ended(http: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    """The status of a job once it has ended."""
    async with asyncio.timeout(PATIENCE):
        for _ in itertools.count():
            status = await status_of(http, job_id)
            if status["status"] not in ("queued", "processing"):
                return status
            await asyncio.sleep(0.02)
    raise AssertionError


@dataclass
class Browser:
    """socket.io-client in a process of Node, which is told what to do line by line and tells what happens."""

    process: asyncio.subprocess.Process
    seen: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def read(self) -> None:
        """Collects what happens, until the process ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._news:
                self.seen.append(json.loads(line))
                self._news.notify_all()

    def do(self, what: str, *arguments: Any) -> None:
        """`emit EVENT DATA`, `close`, `cut` (breaks the transport), `open`."""
        assert self.process.stdin is not None
        self.process.stdin.write((json.dumps([what, *arguments]) + "\n").encode())

    def emit(self, event: str, *data: Any) -> None:
        self.do("emit", event, *data)

    async def saw(self, wanted: Callable[[dict[str, Any]], bool], after: int = 0) -> dict[str, Any]:
        """The first thing of this kind that happened, from the `after`-th on."""

        def found() -> dict[str, Any] | None:
            return next(filter(wanted, self.seen[after:]), None)

        try:
            async with asyncio.timeout(PATIENCE), self._news:
                await self._news.wait_for(lambda: found() is not None)
        except TimeoutError:
            raise AssertionError(f"never seen; there were {self.seen}") from None
        first = found()
        assert first is not None
        return first

    async def event(self, name: str, after: int = 0, **fields: Any) -> dict[str, Any]:
        """The data of the first event of that name with these fields."""
        return (
            await self.saw(
                lambda each: each["event"] == name and fields.items() <= (each["data"] or {}).items(), after
            )
        )["data"]

    @property
    def progress(self) -> list[dict[str, Any]]:
        """All `progress` events."""
        return [each["data"] for each in self.seen if each["event"] == "progress"]


StartBrowser = Callable[..., Awaitable[Browser]]


@pytest.fixture
async def browse() -> AsyncIterator[StartBrowser]:
    """Starts browsers: `await browse(port, transports=["polling"], follow=job_id)`.

    With `follow` one subscribes to the job at every connect, as pages do.
    """
    node = shutil.which("node")
    if node is None or not CLIENT.exists():
        reason = "socket.io-client is not installed in tests/socketio: make socketio, which needs Node 20"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    async with AsyncExitStack() as stack:

        async def start(port: int, **options: Any) -> Browser:
            process = await asyncio.create_subprocess_exec(
                str(node),
                str(SCRIPT),
                f"http://127.0.0.1:{port}/progress",
                json.dumps(options),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={"PATH": os.environ["PATH"]},
            )
            browser = Browser(process)
            reading = asyncio.create_task(browser.read())

            async def end() -> None:
                if process.returncode is None:
                    process.kill()
                await process.wait()
                await reading

            stack.push_async_callback(end)
            return browser

        yield start
