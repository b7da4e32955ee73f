"""A simulated second host on this machine, behind a link of limited speed (Linux, root, iproute2)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import CommandError

NAMESPACE = "mismo-bench"
NEAR, FAR = "mismo-near", "mismo-far"
NEAR_ADDRESS, FAR_ADDRESS = "10.77.14.1", "10.77.14.2"


@dataclass(frozen=True)
class Link:
    """A link to another host; a command that begins with `prefix` runs on that host, at `far_address`."""

    prefix: tuple[str, ...]
    near_address: str
    far_address: str

    def received_bytes(self) -> int:
        """Returns the bytes received from the other host so far, as whole Ethernet frames with headers."""
        return int(Path(f"/sys/class/net/{NEAR}/statistics/rx_bytes").read_text())


def missing_for_a_link() -> str:
    """Returns why no link can be created here; "" if one can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    lacking = [name for name in ("ip", "tc") if shutil.which(name) is None]
    return f"needs {' and '.join(lacking)} (iproute2)" if lacking else ""


@asynccontextmanager
async def shaped_link(megabits: int) -> AsyncGenerator[Link]:
    """Creates a link of `megabits` Mbit/s in each direction; raises CommandError if that fails."""
    await _try("ip", "netns", "delete", NAMESPACE)
    shape = ("root", "tbf", "rate", f"{megabits}mbit", "burst", "128kb", "latency", "50ms")
    there = ("ip", "netns", "exec", NAMESPACE)
    try:
        await _do("ip", "netns", "add", NAMESPACE)
        await _do("ip", "link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", NAMESPACE)
        await _do("ip", "address", "add", f"{NEAR_ADDRESS}/30", "dev", NEAR)
        await _do("ip", "link", "set", NEAR, "up")
        await _do(*there, "ip", "address", "add", f"{FAR_ADDRESS}/30", "dev", FAR)
        await _do(*there, "ip", "link", "set", FAR, "up")
        await _do(*there, "ip", "link", "set", "lo", "up")
        await _do("tc", "qdisc", "add", "dev", NEAR, *shape)
        await _do(*there, "tc", "qdisc", "add", "dev", FAR, *shape)
        yield Link(there, NEAR_ADDRESS, FAR_ADDRESS)
    finally:
        await _try("ip", "link", "delete", NEAR)
        await _try("ip", "netns", "delete", NAMESPACE)


async def _do(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode != 0:
        raise CommandError(f"{' '.join(command)}: {said.decode(errors='replace').strip()}")


async def _try(*command: str) -> None:
    with suppress(CommandError):
        await _do(*command)
