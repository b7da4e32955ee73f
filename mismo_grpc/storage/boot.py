"""Which boot of the machine this is: files that were not synced are trusted only within the boot that wrote them."""

from __future__ import annotations

from pathlib import Path

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
"""Linux draws it at each boot (random(4))."""


def boot_id() -> str:
    """The id of this boot; "" where the system does not tell, which no stored id equals."""
    try:
        return BOOT_ID_FILE.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
