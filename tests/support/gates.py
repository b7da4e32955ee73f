"""Real parts that a test can hold still for a moment: the device before a segment, the disk before the waveforms."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

from mismo_grpc.separation.device import Device, InferenceSpec, Samples, SegmentInput
from mismo_grpc.storage.disk import FileSystemDisk

HELD_SECONDS = 60.0


class Gate:
    """Lets through as many as were allowed, or all once open; counts who came. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._permits = 0
        self._open = True
        self._arrived = 0
        self.passed = 0

    def close(self) -> None:
        """Nobody passes from now on."""
        with self._changed:
            self._open, self._permits = False, 0

    def open(self) -> None:
        """All pass."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def allow(self, count: int) -> None:
        """That many more pass."""
        with self._changed:
            self._permits += count
            self._changed.notify_all()

    def enter(self) -> None:
        """Waits until this one may pass."""
        with self._changed:
            self._arrived += 1
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._open or self._permits > 0, HELD_SECONDS):
                raise TimeoutError("a gate was never opened")
            if not self._open:
                self._permits -= 1
            self.passed += 1
            self._changed.notify_all()

    async def passed_at_least(self, count: int) -> None:
        """Until that many have passed."""

        def wait() -> None:
            with self._changed:
                assert self._changed.wait_for(lambda: self.passed >= count, HELD_SECONDS)

        await asyncio.to_thread(wait)

    async def someone_waits(self) -> None:
        """Until someone stands before the closed gate."""

        def wait() -> None:
            with self._changed:
                assert self._changed.wait_for(lambda: self._arrived > self.passed, HELD_SECONDS)

        await asyncio.to_thread(wait)


class GatedDevice:
    """The real device behind a gate."""

    def __init__(self, device: Device, gate: Gate) -> None:
        self._device = device
        self._gate = gate
        self.name = device.name
        self.max_batch = device.max_batch
        self.pool = device.pool
        self.info = device.info
        self.close = device.close

    def run(self, inference: InferenceSpec, segments: Sequence[SegmentInput]) -> list[Samples]:
        self._gate.enter()
        return self._device.run(inference, segments)


class GatedDisk(FileSystemDisk):
    """The real disk; asking for the room of the waveforms, among the last steps of a job, passes a gate."""

    def __init__(self) -> None:
        self.gate = Gate()

    def require(self, path: Path, needed: int, reserve: int = 0) -> None:
        """See Disk."""
        if (path / "stems.json").exists():
            self.gate.enter()
        super().require(path, needed, reserve)
