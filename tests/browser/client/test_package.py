"""The package as others get it: packed, installed in an empty folder, type-checked, and run from its README."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route

from tests.browser.support import tab
from tests.service.conftest import Server
from tests.support.tracks import write_track

WEB = Path(__file__).resolve().parents[3] / "clients" / "web"
INSTALL_SECONDS = 100


def completed(command: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder, whether or not it succeeds."""
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )


def run(*command: str, folder: Path) -> str:
    """Runs a command in a folder; fails with what it printed."""
    done = completed(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """An empty folder in which the packed package is installed."""
    if shutil.which("npm") is None or not (WEB / "node_modules").exists():
        why = "needs Node and npm, and `npm ci` in clients/web"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    run("npm", "run", "--silent", "build", folder=WEB)
    packed = run("npm", "pack", "--silent", "--pack-destination", str(tmp_path), folder=WEB).strip()
    page = tmp_path / "page"
    page.mkdir()
    (page / "package.json").write_text('{"private": true, "type": "module"}')
    run("npm", "install", "--prefer-offline", "--no-audit", "--no-fund", f"../{packed}", folder=page)
    return page


def script_of_readme() -> str:
    found = re.search(
        r'<script type="module">\n(.*?)</script>', (WEB / "README.md").read_text("utf-8"), re.DOTALL
    )
    assert found is not None
    return found[1]


async def test_the_page_of_the_readme_type_checks_and_plays(
    server: Server, music: Path, browser: Browser, installed: Path
) -> None:
    script = script_of_readme()
    typed = script.replace('"./mismo-client.js"', '"mismo-web-client"')
    wrong = typed.replace("jobId: job.jobId", "jobId: 5")
    assert wrong != typed
    (installed / "page.ts").write_text(typed)
    (installed / "wrong.ts").write_text(wrong)
    # Not strict: the page of the README does not ask whether its elements are there.
    options = ("--noEmit", "--strict", "false", "--module", "nodenext", "--target", "es2022")
    tsc = str(WEB / "node_modules/.bin/tsc")
    command = (tsc, *options, "page.ts", "wrong.ts")
    found = (await asyncio.to_thread(completed, command, installed)).stdout
    errors = [line for line in found.splitlines() if "error TS" in line]
    # The page fits the types, and what does not fit them would be found.
    assert errors, found
    assert all(line.startswith("wrong.ts") and "not assignable" in line for line in errors), found

    module = (installed / "node_modules/mismo-web-client/dist/mismo-client.js").read_text("utf-8")

    async def serve(route: Route) -> None:
        await route.fulfill(content_type="text/javascript", body=module)

    track = write_track(music / "track.wav", 3.0)
    origin = f"http://127.0.0.1:{server.app.http_port}"
    async with tab(browser, server.app.http_port) as page:
        await page.page.route("**/readme/mismo-client.js", serve)
        await page.page.evaluate(
            """(script) => {
                document.body.innerHTML = '<input type="file"><output></output>';
                const element = document.createElement("script");
                element.type = "module";
                element.textContent = script;
                document.body.append(element);
            }""",
            script.replace("./mismo-client.js", f"{origin}/readme/mismo-client.js").replace(
                "http://192.168.1.5:8000", origin
            ),
        )
        await page.page.set_input_files("input", track)
        await page.run("await t.until(() => document.querySelector('output').value === 'playing')")
        await page.run("await t.until(() => document.querySelector('output').value === 'ended')")
        assert page.problems == []
