"""Mounts a test's folder on a file system that loses unsynced data at a power cut."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZE_BYTES = 4 << 30


def missing() -> str:
    """Returns why the file system cannot be mounted here; "" if it can."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs /dev/fuse, readable and writable"
    if ctypes.util.find_library("fuse3") is None or shutil.which("fusermount3") is None:
        return "needs libfuse3-3 and fuse3 (Debian's packages)"
    return ""


class ForgetfulDisk:
    """Mounts the file system at `folder`, which it creates, in a process of its own; `seed` decides what is lost."""

    def __init__(self, folder: Path, seed: int, size_bytes: int = SIZE_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        command = [sys.executable, "-m", "tests.powercut.forgetful", str(folder)]
        command += ["--seed", str(seed), "--bytes", str(size_bytes)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._expect_mounted()

    def cut(self) -> None:
        """Simulates a power cut: each unsynced change may be lost. No process may have files open."""
        self._send_command("cut")
        self._expect_mounted()

    def sync_all(self) -> None:
        """Makes everything durable; no file may be open."""
        self._send_command("sync")
        self._expect_mounted()

    def close(self) -> None:
        """Unmounts the file system, also with open files; its content is lost."""
        if self._process.poll() is None:
            self._process.communicate(timeout=10)

    def _send_command(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")

    def _expect_mounted(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line == "mounted\n", f"the file system ended: {self._process.wait(10)}"
