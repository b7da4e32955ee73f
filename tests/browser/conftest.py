"""A real Chromium for tests of the pages, and whole servers as tests/service has them."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.service.conftest import models, music, plain_log, process, server, start
from tests.support.calls import PATIENCE

__all__ = ["models", "music", "plain_log", "process", "server", "start"]

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--autoplay-policy=no-user-gesture-required"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these start servers."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.service)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running Chromium's debugging port. It outlives the event loops of the tests."""
    program = shutil.which("chromium")
    if program is None:
        assert not os.environ.get("CI"), "there is no chromium"
        pytest.skip("Chromium is not installed: apt-get install chromium")
    profile = tmp_path_factory.mktemp("chromium")
    command = [program, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = profile / "DevToolsActivePort"
        for _ in itertools.takewhile(lambda _: not _written(port_file), range(int(PATIENCE * 20))):
            assert process.poll() is None, "Chromium has ended"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port_file.read_text().splitlines()[0]}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _written(port_file: Path) -> bool:
    return port_file.exists() and port_file.read_text().count("\n") >= 1


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """The running Chromium, for one test."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(chromium)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab of its own profile."""
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()
