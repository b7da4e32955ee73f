"""Opens pages of a server in Chromium, with the browser client and tools for tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, Route

from tests.support.calls import PATIENCE

STATIC = Path(__file__).resolve().parents[2] / "mismo_grpc" / "gateway" / "static"
BUNDLE = STATIC / "vendor" / "mismo-client.js"
TOOLS = Path(__file__).parent / "tools.js"


@dataclass
class Tab:
    """A page; `problems` are the errors in its console and the exceptions that nothing caught."""

    page: Page
    problems: list[str] = field(default_factory=list[str])

    async def run(self, script: str, argument: Any = None) -> Any:
        """Runs the body of an async function in the page; it sees `m` (the client's module), `t` (tools.js), `arg`."""
        return await self.page.evaluate(f"(arg) => (async ({{m, t}}) => {{ {script} }})(window)", argument)


@asynccontextmanager
async def tab(browser: Browser, port: int, **context: Any) -> AsyncGenerator[Tab]:
    """A page of the server's origin with the vendored client and the tools of the tests."""
    files = {
        "/-/mismo-client.js": ("text/javascript", BUNDLE.read_text("utf-8")),
        "/-/tools.js": ("text/javascript", TOOLS.read_text("utf-8")),
        "/favicon.ico": ("image/png", ""),
    }

    async def serve(route: Route) -> None:
        path = "/" + route.request.url.split("/", 3)[3]
        kind, body = files[path]
        await route.fulfill(content_type=kind, body=body)

    opened = await browser.new_context(**context)
    try:
        page = await opened.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        found = Tab(page)

        def on_console(message: ConsoleMessage) -> None:
            if message.type == "error":
                found.problems.append(message.text)

        page.on("console", on_console)
        page.on("pageerror", lambda error: found.problems.append(str(error)))
        for path in files:
            await page.route(f"**{path}", serve)
        # A document that comes from the server itself: to Chromium, one that a test makes up is from the public
        # Internet, from where nobody may connect to this machine.
        await page.goto(f"http://127.0.0.1:{port}/health")
        await page.evaluate(
            "async () => { window.m = await import('/-/mismo-client.js'); window.t = await import('/-/tools.js'); }"
        )
        yield found
    finally:
        await opened.close()
