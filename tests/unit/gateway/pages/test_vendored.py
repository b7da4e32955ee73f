"""The vendored files: each is listed with its version, licence, source and hash."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

BUILT_HERE = "built here"
"""In the place of a hash: `make test-web` compares the file with its sources."""
VENDOR = Path(__file__).resolve().parents[4] / "mismo_grpc" / "gateway" / "static" / "vendor"


def test_the_table_has_every_vendored_file_with_its_hash() -> None:
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in (VENDOR / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and not re.match(r"\| (file|-)", line) and "---" not in line
    ]
    listed = {row[0]: row for row in rows}
    present = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "README.md"
    }
    assert listed.keys() == present.keys()
    hashes = {name: row[5] for name, row in listed.items() if row[5] != BUILT_HERE}
    assert hashes == {name: present[name] for name in hashes}
    for name, row in listed.items():
        assert all(row), f"{name}: each column needs a value"
