"""Gates between a test and a task in another process, and modules that workers import."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def fifo(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a named pipe: a gate between the test and a task."""

    def make(name: str) -> Path:
        os.mkfifo(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a module of that text; answers its name, by which workers can import it."""

    def make(text: str) -> str:
        (tmp_path / "made_by_a_test.py").write_text(text)
        return "made_by_a_test"

    monkeypatch.syspath_prepend(tmp_path)
    return make
