"""A real Chromium beside a whole server in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.browser.support import chromium
from tests.service.conftest import models, music, plain_log, process, server, start

__all__ = ["models", "music", "plain_log", "process", "server", "start"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these start servers."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.service)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window; skipped where there is none, but not in CI."""
    async with chromium() as running:
        yield running
