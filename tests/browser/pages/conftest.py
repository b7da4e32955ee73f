"""Pages that must not complain: whatever they write to the console is collected."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import ConsoleMessage, Page

AXE = Path(__file__).resolve().parents[1] / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """Errors and warnings of the page so far: exceptions, failed requests, violations of the security policy."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            found.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.fixture
def axe() -> str:
    """axe-core's source; skips the test where it is not installed, but never in CI."""
    if not AXE.exists() and not os.environ.get("CI"):
        pytest.skip("axe-core is not installed: npm ci in tests/browser")
    return AXE.read_text(encoding="utf-8")


async def violations_of(page: Page, axe: str) -> list[str]:
    """The serious and critical violations that axe finds. It runs outside the page's own world and policy."""
    # Colours that are still changing are no colours of the page.
    await page.wait_for_function(
        """() => document.getAnimations().every(
          (each) => each.playState !== "running" || each.effect.getComputedTiming().iterations === Infinity)"""
    )
    await page.evaluate(axe)
    result: dict[str, Any] = await page.evaluate("axe.run()")
    assert result["passes"], "axe has looked at something"
    return [
        f"{each['id']}: {node['html']} ({node['failureSummary']})"
        for each in result["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
