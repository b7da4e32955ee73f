"""The page in tabs that must not complain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, expect

from tests.browser.page.desk import Desk, with_ears
from tests.browser.pages.conftest import axe
from tests.support.calls import PATIENCE

__all__ = ["axe"]

OpenDesk = Callable[..., Awaitable[Desk]]


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Conditions of the page are waited for as long as those of the server."""
    expect.set_options(timeout=PATIENCE * 1000)
    yield
    expect.set_options(timeout=5000)


@pytest.fixture
async def new_desk(browser: Browser) -> AsyncIterator[OpenDesk]:
    """Opens empty tabs, each with a profile of its own or in that of `beside`; none may have complained at the end."""
    desks: list[Desk] = []
    async with AsyncExitStack() as stack:

        async def new_desk(*, beside: Desk | None = None, **context: Any) -> Desk:
            profile: BrowserContext
            if beside is None:
                profile = await browser.new_context(accept_downloads=True, **context)
                stack.push_async_callback(profile.close)
            else:
                profile = beside.page.context
            page = await profile.new_page()
            await with_ears(page)
            desk = Desk(page)
            desks.append(desk)
            return desk

        yield new_desk
        for desk in desks:
            assert desk.complaints == []


@pytest.fixture
async def desk(new_desk: OpenDesk) -> Desk:
    """One tab."""
    return await new_desk()
