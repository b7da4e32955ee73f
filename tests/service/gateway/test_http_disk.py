"""A slow disk holds one request up, never the event loop."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mismo_grpc.gateway
from tests.service.conftest import Server
from tests.service.gateway.test_gateway import client_of, ended, request_for
from tests.support.tracks import track_bytes, write_track

GATEWAY = str(Path(mismo_grpc.gateway.__file__).parent)
CALLS = (
    *("open", "stat", "lstat", "unlink", "rename", "replace", "mkdir", "rmdir", "listdir", "scandir", "link"),
    *("symlink", "readlink", "statvfs", "pread", "fsync", "fdatasync", "ftruncate", "copy_file_range"),
)


def from_a_route() -> bool:
    return any(frame.f_code.co_filename.startswith(GATEWAY) for frame, _ in traceback.walk_stack(None))


async def test_no_route_waits_for_the_disk_on_the_event_loop(
    server: Server, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_thread = threading.current_thread()
    on_loop: set[str] = set()
    elsewhere: set[str] = set()

    def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*args: Any, **options: Any) -> Any:
            # asyncio's debug mode looks at the files of the code.
            if isinstance(args[0], int) or str(args[0]).startswith(str(tmp_path)):
                if threading.current_thread() is not loop_thread:
                    elsewhere.add(name)
                elif from_a_route():
                    on_loop.add(f"{name} {args[0]}")
            return call(*args, **options)

        return watching

    async with client_of(server) as http:
        for name in CALLS:
            monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
        asked = request_for(write_track(music / "track.wav"), track_hash="a", stem_delivery_mode="path")
        (await http.post("/jobs", json=asked)).raise_for_status()
        form = {"data": {"track_hash": "b"}, "files": {"file": ("track.wav", track_bytes())}}
        (await http.post("/jobs", **form)).raise_for_status()
        for job in ("a", "b"):
            await ended(http, job)
            for path in ("stems", "stems?mode=callback", "stems/bass.wav", "stems.zip", "stems.json"):
                (await http.get(f"/jobs/{job}/{path}")).raise_for_status()
            (await http.get(f"/jobs/{job}/artifacts/waveform-bass.json")).raise_for_status()
        for path in ("/jobs", "/health", "/ready", "/metrics", "/docs"):
            (await http.get(path)).raise_for_status()
        for job in ("a", "b"):
            (await http.delete(f"/jobs/{job}")).raise_for_status()
        monkeypatch.undo()
    assert {"open", "pread", "stat"} <= elsewhere
    assert on_loop == set()
