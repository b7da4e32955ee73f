"""Writes requirements.lock and requirements-dev.lock: what pip picks today for the ranges of pyproject.toml.

The locks are plain `name==version` lines, so pip gets each file from wherever it is set up to look
(docs/decisions/001-plain-lock.md). Packages that only the CUDA build of torch asks for are left out: torch
pins those itself, and a machine without a GPU must not fetch them.
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
DEV = ROOT / "requirements-dev.lock"

HEADER = "# Written by `make lock` from pyproject.toml; do not edit.\n"
_CUDA_ONLY = re.compile(r"^(nvidia-|cuda-|triton$)")
_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def resolve(target: str, constraint: Path | None = None) -> dict[str, str]:
    """What pip would install for `target` into an empty environment: normalised name -> public version.

    Raises subprocess.CalledProcessError when the ranges cannot be met together.
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
    """The one spelling of a project's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def public(version: str) -> str:
    """A version without its local part: `2.13.0+cpu` and `2.13.0+cu130` are both `2.13.0`."""
    return version.partition("+")[0]


def locked_names(lines: Iterable[str]) -> set[str]:
    """The normalised names a lock (or a list of requirements) speaks of."""
    matches = (_NAME.match(line) for line in lines if not line.startswith(("#", "-")))
    return {normalised(match.group()) for match in matches if match}


def render(pins: dict[str, str], *includes: str) -> str:
    """The text of a lock file."""
    lines = [f"-r {name}" for name in includes]
    lines += [f"{name}=={version}" for name, version in sorted(pins.items())]
    return HEADER + "\n".join(lines) + "\n"


def main() -> None:
    """Resolves the base, then the dev extra on top of it."""
    base = resolve(".")
    BASE.write_text(render(base))
    dev = resolve(".[dev]", constraint=BASE)
    changed = {name for name in base if dev.get(name) != base[name]}
    if changed:
        sys.exit(f"the dev extra moves packages of the base: {', '.join(sorted(changed))}")
    DEV.write_text(render({name: version for name, version in dev.items() if name not in base}, BASE.name))
    print(f"{BASE.name}: {len(base)} packages; {DEV.name}: {len(dev) - len(base)} more")


if __name__ == "__main__":
    main()
