"""Identifies the current boot of the machine: an unsynced file can be trusted only within the boot that wrote it."""

from __future__ import annotations

from pathlib import Path

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Returns Linux's random id of this boot; "" if there is none, which never counts as the same boot."""
    try:
        return BOOT_ID_FILE.read_text(encoding="ascii").strip()
    except OSError:
        return ""
