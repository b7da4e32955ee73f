"""Fails when generated/ is not what buf makes of protos/ today."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def differences(committed: Path, fresh: Path) -> list[str]:
    """Relative paths that are missing, left over or different, sorted, each with what is wrong."""
    ours, theirs = _sources(committed), _sources(fresh)
    found = [f"{path}: missing" for path in theirs.keys() - ours.keys()]
    found += [f"{path}: no .proto makes it" for path in ours.keys() - theirs.keys()]
    found += [f"{path}: stale" for path in ours.keys() & theirs.keys() if ours[path] != theirs[path]]
    return sorted(found)


def _sources(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def main() -> None:
    """Generates next to the checkout and compares."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["buf", "generate", "--output", folder], cwd=ROOT, check=True)
        wrong = differences(ROOT / "generated", Path(folder, "generated"))
    if wrong:
        print("generated/ does not fit protos/; run `make proto` and commit:", file=sys.stderr)
        sys.exit("\n".join(f"  {line}" for line in wrong))
    print("generated/ is fresh")


if __name__ == "__main__":
    main()
