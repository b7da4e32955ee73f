"""Reads the memory of processes from /proc/PID/status (Linux 4.5 or later)."""

from __future__ import annotations

from pathlib import Path

KIB = 1024


def rss_anon(status: Path) -> int:
    """Returns the anonymous memory of a process in bytes, from its /proc/PID/status."""
    return _field(status, "RssAnon")


def peak_rss() -> int:
    """Returns the largest resident memory of this process so far, in bytes; pages of a mapped file count too."""
    # The maximum of getrusage would include the process that this one was forked from.
    return _field(Path("/proc/self/status"), "VmHWM")


def _field(status: Path, name: str) -> int:
    """A size in bytes. Raises ValueError if the file does not have it."""
    for line in status.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KIB
    raise ValueError(f"{status} has no {name}; Linux 4.5 or later has it")
