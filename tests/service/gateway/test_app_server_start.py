"""The start command that app servers have in them: python -m uvicorn src.app:app, and what they expect of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.service.gateway.test_gateway import ended, gone, request_for, told
from tests.support.calls import PATIENCE, Client
from tests.support.http import receiver
from tests.support.process import ROOT
from tests.support.tracks import write_track


class Spawned:
    """The server as the app server spawns it, in the project's folder, with the environment of the documents."""

    def __init__(self, folder: Path, models: Path, music: Path, **environment: str) -> None:
        self.folder = folder
        self.http_port, self.grpc_port = free_ports(2)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MISMO_")},
            "MISMO_ALLOW_FILE_PATHS": "true",
            "MISMO_ALLOWED_PATH_PREFIXES": json.dumps([str(music)]),
            "MISMO_GRPC_PORT": str(self.grpc_port),
            "MISMO_MODEL_DIRS": json.dumps([str(models)]),
            "MISMO_HUB": "false",
            "MISMO_CPU_THREADS": "1",
            "MISMO_DISK_RESERVE_BYTES": "0",
            "DEMUCS_MODEL": "tiny",
            "DEMUCS_DEVICE": "cpu",
            "JOBS_DIR": str(folder / "jobs"),
            "CALLBACK_RETRY_DELAY": "0.1",
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self.runs = 0

    @property
    def log(self) -> str:
        return (self.folder / f"uvicorn-{self.runs}.log").read_text()

    def _spawn(self) -> None:
        self.runs += 1
        command = [sys.executable, "-m", "uvicorn", "src.app:app"]
        command += ["--host", "127.0.0.1", "--port", str(self.http_port)]
        with (self.folder / f"uvicorn-{self.runs}.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[httpx2.AsyncClient]:
        """Healthy; stopped with SIGTERM at the end, and gone before the app server would send SIGKILL."""
        self._spawn()
        try:
            async with httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{self.http_port}", timeout=PATIENCE
            ) as http:
                await self._healthy(http)
                yield http
                if self.process.poll() is None:
                    self.process.send_signal(signal.SIGTERM)
                    await asyncio.to_thread(self.process.wait, PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(PATIENCE)

    async def _healthy(self, http: httpx2.AsyncClient) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log
            try:
                health = await http.get("/health")
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
                continue
            assert health.status_code == 200
            assert health.json()["status"] == "ok"
            return
        raise AssertionError(self.log)


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture
def spawned(tmp_path: Path, models: Path, music: Path) -> Spawned:
    return Spawned(tmp_path, models, music)


async def test_http_and_grpc_come_up_and_go_down(spawned: Spawned, music: Path) -> None:
    assert (ROOT / "src" / "app.py").is_file()
    track = write_track(music / "track.wav")
    async with spawned.running() as http:
        assert "Application startup complete" in spawned.log
        (await http.post("/jobs", json=request_for(track, stem_delivery_mode="path"))).raise_for_status()
        job = await ended(http)
        assert (job["status"], job["model"]) == ("completed", "tiny")
        data = (await http.get("/jobs/abc123def456/stems")).json()
        assert data["stems"]["bass"] == str(spawned.folder / "jobs" / "abc123def456" / "stems" / "bass.wav")
        client = Client(f"127.0.0.1:{spawned.grpc_port}")
        try:
            assert (await client.succeeded("abc123def456")).model == "tiny"
        finally:
            await client.close()
    # uvicorn passes the signal on once it is done.
    assert spawned.process.returncode in (0, -signal.SIGTERM), spawned.log
    assert '"stopped"' in spawned.log
    assert "Traceback" not in spawned.log


async def test_a_download_does_not_hold_up_the_stop(spawned: Spawned, music: Path) -> None:
    track = write_track(music / "track.wav", 10.0)
    async with spawned.running() as http:
        (await http.post("/jobs", json=request_for(track))).raise_for_status()
        await ended(http)
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        narrow.connect(("127.0.0.1", spawned.http_port))
        reader, writer = await asyncio.open_connection(sock=narrow, limit=4096)
        writer.write(b"GET /jobs/abc123def456/stems.zip HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(1000)
        began = time.monotonic()
        spawned.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(spawned.process.wait, PATIENCE)
        # The app server waits five seconds.
        assert time.monotonic() - began < 5.0
        await gone(writer)


async def test_a_callback_outlives_the_server(spawned: Spawned, music: Path) -> None:
    track = write_track(music / "track.wav")
    (port,) = free_ports(1)
    spawned.environment |= {"CALLBACK_RETRIES": "8", "CALLBACK_RETRY_DELAY": "0.5"}
    asked: dict[str, Any] = request_for(
        track, callback_url=f"http://127.0.0.1:{port}/api", stem_delivery_mode="callback"
    )
    async with spawned.running() as http:
        (await http.post("/jobs", json=asked)).raise_for_status()
        await ended(http)
        spawned.process.kill()
        await asyncio.to_thread(spawned.process.wait, PATIENCE)
    async with receiver(port) as app_server, spawned.running() as http:
        (post,) = await app_server.received()
        assert post.body["status"] == "completed"
        assert post.body["data"]["encoding"] == "base64"
        await told(http, "abc123def456")
        assert (await http.get("/jobs/abc123def456")).json()["callbacks"][0]["status"] == "delivered"


async def test_a_port_that_is_taken_is_told(spawned: Spawned) -> None:
    with socket.create_server(("127.0.0.1", spawned.grpc_port)):
        command = [sys.executable, "-m", "uvicorn", "src.app:app", "--port", str(spawned.http_port)]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, env=spawned.environment, capture_output=True, timeout=PATIENCE
        )
    assert done.returncode != 0
    assert b"cannot listen on" in done.stderr
