"""Writes requirements.lock and a lock for each extra that the Makefile installs: the versions that pip chooses now.

The locks are plain `name==version` lines, so pip gets each file from the index that it is configured for
(docs/decisions/001-plain-lock.md). Packages that only the CUDA build of torch requires are left out: torch pins them
itself, and a machine without a GPU must not download them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE = ROOT / "requirements.lock"
EXTRAS = ("analysis", "plot", "generation", "bench", "dev")
"""The extras with a lock, in the order in which they are resolved: a version that an earlier one has is kept."""

HEADER = "# Written by `make lock` from pyproject.toml; do not edit.\n"
_CUDA_ONLY = re.compile(r"^(nvidia-|cuda-|triton$)")
_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def resolve(target: str, constraint: Path | None = None) -> dict[str, str]:
    """Returns what pip would install for `target` in an empty environment: {normalised name: public version}.

    Raises subprocess.CalledProcessError if the ranges have no solution.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed"]
        command += ["--report", report.name]
        if constraint is not None:
            command += ["--constraint", str(constraint)]
        subprocess.run([*command, target], cwd=ROOT, check=True)
        installed = json.loads(Path(report.name).read_text())["install"]
    picked = {entry["metadata"]["name"]: entry["metadata"]["version"] for entry in installed}
    return {
        normalised(name): public(version)
        for name, version in picked.items()
        if normalised(name) != "mismo-grpc" and not _CUDA_ONLY.match(normalised(name))
    }


def normalised(name: str) -> str:
    """Normalises a project's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def public(version: str) -> str:
    """Returns a version without its local part: `2.13.0+cpu` and `2.13.0+cu130` become `2.13.0`."""
    return version.partition("+")[0]


def locked_names(lines: Iterable[str]) -> set[str]:
    """Returns the normalised names in a lock (or a list of requirements)."""
    matches = (_NAME.match(line) for line in lines if not line.startswith(("#", "-")))
    return {normalised(match.group()) for match in matches if match}


def render(pins: dict[str, str], *includes: str) -> str:
    """Returns the text of a lock file."""
    lines = [f"-r {name}" for name in includes]
    lines += [f"{name}=={version}" for name, version in sorted(pins.items())]
    return HEADER + "\n".join(lines) + "\n"


def lock_of(extra: str) -> Path:
    """Returns the lock of an extra, which has what the extra adds to the base."""
    return ROOT / f"requirements-{extra}.lock"


def main() -> None:
    """Resolves the base, then the extras on top of it.

    Raises SystemExit if an extra needs another version of a package of the base.
    """
    base = resolve(".")
    BASE.write_text(render(base))
    print(f"{BASE.name}: {len(base)} packages")
    pinned = dict(base)
    for extra in EXTRAS:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraint:
            constraint.write(render(pinned))
            constraint.flush()
            found = resolve(f".[{extra}]", constraint=Path(constraint.name))
        changed = {name for name in base if found.get(name) != base[name]}
        if changed:
            sys.exit(f"the extra {extra} changes versions of the base: {', '.join(sorted(changed))}")
        added = {name: version for name, version in found.items() if name not in base}
        lock_of(extra).write_text(render(added, BASE.name))
        pinned |= added
        print(f"{lock_of(extra).name}: {len(added)} more")


if __name__ == "__main__":
    main()
