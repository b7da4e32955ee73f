"""A boot has a name of its own, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from mismo_grpc.storage import boot
from mismo_grpc.storage.boot import BOOT_ID_FILE, boot_id


def test_one_boot_has_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "BOOT_ID_FILE", tmp_path / "boot_id")
    (tmp_path / "boot_id").write_text("4f0c0d6e-5a53-4d8e-9e3c-1c1f6f1f5f3b\n")
    assert boot_id() == boot_id() == "4f0c0d6e-5a53-4d8e-9e3c-1c1f6f1f5f3b"


def test_a_system_without_boot_ids_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "BOOT_ID_FILE", tmp_path / "missing")
    assert boot_id() == ""


@pytest.mark.skipif(not BOOT_ID_FILE.exists(), reason="this system has no boot ids")
def test_the_system_s_own_id_is_read() -> None:
    assert boot_id() == BOOT_ID_FILE.read_text().strip() != ""
