"""Fails if generated/ differs from what buf generates from protos/."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def differences(committed: Path, fresh: Path) -> list[str]:
    """Returns the relative paths that are missing, left over or different, sorted, each with the fault."""
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
    """Generates the stubs outside the checkout and compares them."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["buf", "generate", "--output", folder], cwd=ROOT, check=True)
        wrong = differences(ROOT / "generated", Path(folder, "generated"))
    if wrong:
        print("generated/ does not match protos/; run `make proto` and commit:", file=sys.stderr)
        sys.exit("\n".join(f"  {line}" for line in wrong))
    print("generated/ is up to date")


if __name__ == "__main__":
    main()
