"""Fails when protos/ breaks clients built against the main branch (buf's FILE rules).

It compares with the first of these that exists: the revision named by AGAINST, origin/main, main. If that is the
commit that is checked out, or none exists, it compares with the parent commit, so that a break on main is found by
the commit that makes it. A reference without protos/VERSION, or with another major version in it, is another
contract, which need not be kept (decision 003).
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = ["protos", "buf.yaml"]
VERSION_FILE = "protos/VERSION"


def commit(revision: str) -> str | None:
    """Returns the commit that a revision names, or None."""
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip() or None


def reference() -> str | None:
    """Returns the commit whose contract must be kept, or None if there is none yet.

    Exits if AGAINST names no commit.
    """
    asked = os.environ.get("AGAINST")
    if asked:
        return commit(asked) or sys.exit(f"AGAINST={asked} is no commit of this repository")
    main = commit("origin/main") or commit("main")
    return commit("HEAD^") if main in (None, commit("HEAD")) else main


def contract(revision: str) -> tarfile.TarFile | None:
    """Returns protos/ and buf.yaml of a commit, or None if it has none."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", revision, *CONTRACT], cwd=ROOT, capture_output=True, check=False
    )
    return tarfile.open(fileobj=io.BytesIO(archive.stdout)) if archive.returncode == 0 else None


def major_version(content: str | None) -> str:
    """Returns the major version in the content of protos/VERSION; "0" if there is no such file."""
    return content.strip().split(".")[0] if content else "0"


def version_of(revision: str) -> str | None:
    """Returns the content of protos/VERSION at a commit, or None if it has none."""
    shown = subprocess.run(
        ["git", "show", f"{revision}:{VERSION_FILE}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return shown.stdout if shown.returncode == 0 else None


def main() -> None:
    """Runs `buf breaking` against the files of the reference commit."""
    revision = reference()
    landed = contract(revision) if revision else None
    if revision is None or landed is None:
        print("breaking changes: no earlier contract to compare with, nothing can break")
        return
    ours = major_version((ROOT / VERSION_FILE).read_text())
    theirs = major_version(version_of(revision))
    if ours != theirs:
        print(f"breaking changes: {revision[:12]} has contract {theirs}, this is {ours}; it need not be kept")
        return
    with landed, tempfile.TemporaryDirectory() as folder:
        landed.extractall(folder, filter="data")
        broken = subprocess.run(["buf", "breaking", "--against", folder], cwd=ROOT, check=False)
    if broken.returncode:
        sys.exit(
            f"protos/ breaks clients of {revision[:12]}: add fields and methods, never change or remove them"
        )
    print(f"protos/ keeps the contract of {revision[:12]}")


if __name__ == "__main__":
    main()
