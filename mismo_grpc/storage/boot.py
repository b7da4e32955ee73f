"""Which start of the machine this is: what was written without a sync is whole only within one."""

from __future__ import annotations

from pathlib import Path

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The id that Linux draws at every start of the machine; "" where there is none: never the same boot."""
    try:
        return BOOT_ID_FILE.read_text(encoding="ascii").strip()
    except OSError:
        return ""
