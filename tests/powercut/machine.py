"""A server on a machine whose power can be cut."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.powercut.disk import ForgetfulDisk
from tests.support.process import ServerProcess

LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass
class Machine(ServerProcess):
    """A server whose jobs folder loses unsynced data at a `cut`; `seed` decides what is lost."""

    seed: int = 0

    def __post_init__(self) -> None:
        self._boot_id = self.folder / "boot_id"
        self.program = (LAUNCHER, self._boot_id)
        self._disk = ForgetfulDisk(self.jobs_dir, self.seed)
        self._boot()

    def _boot(self) -> None:
        self._boot_id.write_text(f"{uuid.uuid4()}\n")

    def cut(self) -> None:
        """Simulates a power cut and a new boot; does not start the server."""
        self.kill()
        self._disk.cut()
        self._boot()

    def close(self) -> None:
        """Ends the server; its files are lost."""
        super().close()
        self._disk.close()
