"""Every example of docs/workers.md has the fields, and the kinds of values, of a real body."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2

from mismo_grpc.gateway.workers.requests import ANALYZE_FIELDS, GENERATE_FIELDS, PARAMETERS
from tests.service.conftest import Server
from tests.service.workers.conftest import AudioFiles
from tests.support.http import Receiver
from tests.support.tracks import track_bytes

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "workers.md").read_text()
(
    ANALYZE,
    ANALYZE_ACCEPTED,
    ANALYSIS_CALLBACK,
    GENERATE,
    GENERATE_ACCEPTED,
    GENERATION_CALLBACK,
    REFUSED,
) = map(json.loads, re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
CLIENT_HEADERS = {"host", "user-agent", "accept", "connection", "content-type", "content-length"}


def shape(value: Any) -> Any:
    """The names of fields, in order, and the kinds of values; of a list that of its first element."""
    match value:
        case dict():
            return {name: shape(each) for name, each in value.items()}
        case list():
            return [shape(value[0])] if value else []
        case bool() | str() | None:
            return type(value).__name__
        case _:
            return "number"


def test_the_requests_have_all_fields() -> None:
    assert tuple(ANALYZE) == ANALYZE_FIELDS
    assert tuple(GENERATE) == GENERATE_FIELDS
    assert tuple(GENERATE["parameters"]) == PARAMETERS


async def test_an_analysis_is_answered_and_told_as_documented(
    http: httpx2.AsyncClient, worker: Server, audio_files: AudioFiles, api: Receiver
) -> None:
    await audio_files.store.write("a.wav", track_bytes(12.0))
    body = ANALYZE | {"blob_uri": audio_files.url("a.wav"), "callback_url": api.url}
    answer = await http.post("/analyze", json=body)
    assert answer.status_code == 202
    assert shape(answer.json()) == shape(ANALYZE_ACCEPTED)
    (post,) = await api.received()
    assert list(post.body) == list(ANALYSIS_CALLBACK)
    told = post.body
    # Whether a track of tones has a beat or a key is not the point: null is documented for both.
    for name, value in ANALYSIS_CALLBACK["analysis"].items():
        assert name in told["analysis"]
        if told["analysis"][name]:
            assert shape(told["analysis"][name]) == shape(value), name
    assert list(told["analysis"]) == list(ANALYSIS_CALLBACK["analysis"])
    assert shape(told["stems"]) == shape(ANALYSIS_CALLBACK["stems"])
    assert (told["status"], told["error"]) == ("completed", None)
    headers = {name for name in post.headers if name not in CLIENT_HEADERS}
    assert headers == {"x-mismo-job-id", "x-mismo-stage", "x-mismo-callback-id", "x-mismo-attempt"}
    for header in headers:
        assert f"`{header}`" in PAGE.lower()
    documented = re.findall(r"`\{audio_file_id\}/([^{}`]+)", PAGE)
    names = [name.partition("/")[2] for name in await audio_files.names() if "/" in name]
    assert {name.partition("/")[0] for name in names} == {"stems", "analysis"}
    assert {"stems/", "analysis/", "analysis/annotation.jams"} <= set(documented)


async def test_a_generation_is_answered_and_told_as_documented(
    http: httpx2.AsyncClient, audio_files: AudioFiles, api: Receiver
) -> None:
    body = GENERATE | {"callback_url": api.url}
    answer = await http.post("/generate", json=body)
    assert answer.status_code == 202
    assert shape(answer.json()) == shape(GENERATE_ACCEPTED)
    (post,) = await api.received()
    assert shape(post.body) == shape(GENERATION_CALLBACK)
    assert list(post.body) == list(GENERATION_CALLBACK)
    assert post.headers["x-mismo-stage"] == "generation"
    used = {name: value for name, value in GENERATION_CALLBACK["parameters"].items() if name != "random_seed"}
    assert {name: post.body["parameters"][name] for name in used} == used
    # Made from the id, so the page can name it.
    assert post.body["parameters"]["random_seed"] == GENERATION_CALLBACK["parameters"]["random_seed"]
    folder = f"{body['audio_file_id']}/generated/{body['generation_request_id']}/"
    assert {name for name in await audio_files.names() if name.startswith(folder)} == {
        f"{folder}{stem}.wav" for stem in body["target_stems"]
    }
    others = {name for name in await audio_files.names() if not name.startswith(folder)}
    place = f"{body['audio_file_id']}/analysis/generated/{body['generation_request_id']}/"
    assert others
    assert all(name.startswith(place) for name in others)


async def test_a_refusal_is_as_documented(http: httpx2.AsyncClient) -> None:
    body = GENERATE | {"parameters": {"target_bpm": 500}}
    answer = await http.post("/generate", json=body)
    assert (answer.status_code, answer.json()) == (422, REFUSED)
