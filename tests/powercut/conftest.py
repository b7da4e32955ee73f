"""Skips the power-cut tests on machines that cannot mount their file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.powercut.disk import missing
from tests.service.conftest import models

__all__ = ["models"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips the tests that mount it, with the reason; never in CI, where they must run."""
    reason = missing()
    if not reason or os.environ.get("CI"):
        return
    for item in items:
        if Path(__file__).parent in item.path.parents and item.path.name != "test_model.py":
            item.add_marker(pytest.mark.skip(reason=reason))
