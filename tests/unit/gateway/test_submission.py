"""What a submit may say, and how each fault is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mismo_grpc.errors import (
    InvalidFieldError,
    InvalidJobIdError,
    MismoError,
    RequestError,
)
from mismo_grpc.gateway.submission import from_form, from_json
from mismo_grpc.jobs.job import Delivery, DeliveryMode, Priority, Source, SourceKind, Stage

CALLBACK = "http://app-server:3000/api/analysis/callback"
SEED = {
    "file_path": "/home/music/library/track.mp3",
    "track_hash": "abc123def456",
    "options": {"stems": True, "basic_features": False, "characteristics": False},
    "callback_url": CALLBACK,
    "stem_delivery_mode": "path",
}


def accept(_: str) -> None:
    """A guard that lets every URL pass."""


def body(**changes: Any) -> bytes:
    fields = {**SEED, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def refusal(parse: Callable[[], object]) -> MismoError:
    with pytest.raises(MismoError) as caught:
        parse()
    return caught.value


def test_the_documented_request() -> None:
    submission = from_json(body(), accept)
    assert submission.delivery == Delivery(CALLBACK, DeliveryMode.PATH)
    assert submission.source is not None
    request = submission.request(submission.source)
    assert (request.job_id, request.priority) == ("abc123def456", Priority.NORMAL)
    assert request.source == Source(SourceKind.PATH, "/home/music/library/track.mp3")


def test_what_is_left_out_has_defaults() -> None:
    submission = from_json(b'{"file_path": "/a.wav", "track_hash": "t"}', accept)
    assert submission.delivery == Delivery("", DeliveryMode.POLL)
    assert submission.priority is Priority.NORMAL


@pytest.mark.parametrize("name", ["low", "normal", "high"])
def test_priorities(name: str) -> None:
    assert from_json(body(priority=name), accept).priority is Priority[name.upper()]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"file_path": ...}, "file_path"),
        ({"file_path": 7}, "file_path"),
        ({"file_path": ["/a"]}, "file_path"),
        ({"track_hash": ...}, "track_hash"),
        ({"track_hash": 5}, "track_hash"),
        ({"track_hash": "../../etc"}, "track_hash"),
        ({"track_hash": ".."}, "track_hash"),
        ({"track_hash": "a/b"}, "track_hash"),
        ({"track_hash": "x" * 129}, "track_hash"),
        ({"options": "stems"}, "options"),
        ({"options": ["stems"]}, "options"),
        ({"options": {"stemz": True}}, "options.stemz"),
        ({"options": {"stems": "true"}}, "options.stems"),
        ({"options": {"stems": 1}}, "options.stems"),
        ({"options": {"stems": False}}, "options"),
        ({"stem_delivery_mode": "carrier pigeon"}, "stem_delivery_mode"),
        ({"stem_delivery_mode": 3}, "stem_delivery_mode"),
        ({"priority": "urgent"}, "priority"),
        ({"callback_url": 8}, "callback_url"),
        ({"callback_url": ..., "stem_delivery_mode": "callback"}, "callback_url"),
        ({"file": "data"}, "file"),
        ({"callbackurl": CALLBACK}, "callbackurl"),
    ],
)
def test_each_fault_names_its_field(changes: dict[str, Any], field: str) -> None:
    error = refusal(lambda: from_json(body(**changes), accept))
    assert isinstance(error, InvalidFieldError)
    assert error.field == field
    assert field in error.message


def test_a_bad_id_has_its_own_reason() -> None:
    assert isinstance(refusal(lambda: from_json(body(track_hash="a b"), accept)), InvalidJobIdError)


@pytest.mark.parametrize(
    "name", ["basic_features", "characteristics", "genre", "transition", "sections", "chords"]
)
def test_each_analysis_is_an_option(name: str) -> None:
    submission = from_json(body(options={"stems": True, name: True}), accept)
    assert set(submission.stages) == {Stage.STEMS, Stage[name.upper()]}


@pytest.mark.parametrize("name", ["decode", "annotation", "generation"])
def test_a_stage_without_an_option_is_refused_as_unknown(name: str) -> None:
    error = refusal(lambda: from_json(body(options={"stems": True, name: True}), accept))
    assert error.field == f"options.{name}"
    assert "options.sections" in error.message


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b"[" * 100_000, b'{"file_path": ' + b"9" * 100_000],
)
def test_what_is_no_json_object(text: bytes) -> None:
    error = refusal(lambda: from_json(text, accept))
    assert type(error) is RequestError
    assert "JSON" in error.message


def test_a_long_number_is_not_converted() -> None:
    error = refusal(lambda: from_json(b'{"file_path": ' + b"9" * 200_000 + b"}", accept))
    assert error.field == "file_path"


def test_the_guard_is_asked() -> None:
    def refuse(url: str) -> None:
        raise InvalidFieldError(f"callback_url: {url}", field="callback_url")

    assert refusal(lambda: from_json(body(), refuse)).field == "callback_url"


def test_a_form() -> None:
    fields = {"track_hash": "t", "options": '{"stems": true}', "callback_url": CALLBACK}
    submission = from_form({**fields, "stem_delivery_mode": "callback", "priority": "high"}, True, accept)
    assert submission.delivery == Delivery(CALLBACK, DeliveryMode.CALLBACK)
    assert submission.source is None


@pytest.mark.parametrize(
    ("changes", "has_file", "field"),
    [
        ({}, False, "file"),
        ({"file_path": "/a"}, True, "file_path"),
        ({"file_path": "/a"}, False, "file_path"),
        ({"options": "{"}, True, "options"),
        ({"options": "[1]"}, True, "options"),
        ({"options": '{"x": true}'}, True, "options.x"),
        ({"track_hash": ""}, True, "track_hash"),
        ({"unheard_of": "1"}, True, "unheard_of"),
    ],
)
def test_each_fault_of_a_form(changes: dict[str, str], has_file: bool, field: str) -> None:
    error = refusal(lambda: from_form({"track_hash": "t", **changes}, has_file, accept))
    assert error.field == field
    assert field in error.message
