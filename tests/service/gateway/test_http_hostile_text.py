"""Text that no client means: refused by the field it stands in, never a fault of the server."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import Server
from tests.service.gateway.test_gateway import client_of, error_of, request_for
from tests.support.tracks import track_bytes, write_track

LONE = "\ud800"
"""Half of a pair that stands for one character beyond U+FFFF: JSON can write it, UTF-8 cannot."""
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"file_path": f"/music/{LONE}.wav"}, "file_path"),
        ({"file_path": "/music/\udcff.wav"}, "file_path"),
        ({"track_hash": f"a{LONE}"}, "track_hash"),
        ({"callback_url": f"http://app-server/{LONE}"}, "callback_url"),
        ({"stem_delivery_mode": LONE}, "stem_delivery_mode"),
        ({"priority": LONE}, "priority"),
        ({LONE: 1}, "\\ud800"),
        ({"options": {f"a{LONE}": True}}, "options.a\\ud800"),
        ({"file_path": "/music/\0.wav"}, "file_path"),
        ({"file_path": "/" + "x" * 5000}, None),
        ({"file_path": "/" + "x/" * 5000}, None),
    ],
)
async def test_the_field_is_named(
    server: Server, music: Path, changes: dict[str, Any], field: str | None
) -> None:
    asked = request_for(write_track(music / "track.wav"), **changes)
    if field is None:
        # Below the allowed folder, but longer than a path may be.
        asked["file_path"] = f"{music}{asked['file_path']}"
    async with client_of(server) as http:
        response = await http.post("/jobs", content=json.dumps(asked), headers=JSON)
        assert error_of(response, 404 if field is None else 422)["field"] == (field or "file_path")
        assert (await http.get("/jobs")).json()["jobs"] == []


async def test_the_bytes_of_half_a_pair(server: Server, music: Path) -> None:
    body = json.dumps(request_for(music / "HALF.wav")).encode().replace(b"HALF", b"\xed\xa0\x80")
    async with client_of(server) as http:
        assert error_of(await http.post("/jobs", content=body, headers=JSON), 422)["field"] == "file_path"


async def test_options_of_a_form(server: Server) -> None:
    async with client_of(server) as http:
        form = {"track_hash": "x", "options": json.dumps({LONE: True})}
        response = await http.post("/jobs", data=form, files={"file": ("a.wav", track_bytes())})
        assert error_of(response, 422)["field"] == "options.\\ud800"


async def test_a_link_to_a_name_that_is_no_text(server: Server, music: Path) -> None:
    odd = os.fsencode(music) + b"/\xff.wav"
    Path(os.fsdecode(odd)).write_bytes(track_bytes())
    (music / "link.wav").symlink_to(os.fsdecode(odd))
    async with client_of(server) as http:
        response = await http.post("/jobs", json=request_for(music / "link.wav"))
        assert response.status_code == 200, response.text
        await server.client.succeeded("abc123def456")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page_size=" + "9" * 30, "page_size"),
        ("page_size=-1", "page_size"),
        ("page_size=%ed%a0%80", "page_size"),
        ("page_size=" + "9" * 5000, "page_size"),
        ("status=%ed%a0%80", "status"),
        ("page_token=%ff%ed%a0%80", "page_token"),
        ("page_token=" + base64.urlsafe_b64encode(b'[1, "\\ud800"]').decode(), "page_token"),
        ("page_token=" + base64.urlsafe_b64encode(b"[1" + b"0" * 400 + b', "a"]').decode(), "page_token"),
        ("page_token=" + base64.urlsafe_b64encode(b'[NaN, "a"]').decode(), None),
        ("page_token=" + base64.urlsafe_b64encode(b"[" * 500).decode(), "page_token"),
    ],
)
async def test_queries(server: Server, query: str, field: str | None) -> None:
    async with client_of(server) as http:
        response = await http.get(f"/jobs?{query}")
        if field is None:
            assert response.status_code < 500
        else:
            assert error_of(response, 422)["field"] == field


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/%00",
        "/jobs/%ed%a0%80",
        "/jobs/%ff/stems",
        "/jobs/x/stems/%ed%a0%80.wav",
        "/jobs/x/artifacts/%00",
        "/%ed%a0%80",
    ],
)
async def test_paths(server: Server, path: str) -> None:
    async with client_of(server) as http:
        error_of(await http.get(path), 404)
        if path.count("/") == 2:
            error_of(await http.delete(path), 404)
