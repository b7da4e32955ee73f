"""Bodies of the worker calls: what jobs they become, and how errors name their fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mismo_grpc.errors import InvalidFieldError, JobIdActiveError, MismoError, RequestError
from mismo_grpc.gateway.workers.requests import analyze_request, generate_request, named_as_here
from mismo_grpc.jobs.job import DeliveryMode, SourceKind, Stage

ANALYZE = {"audio_file_id": "song", "blob_uri": "az://audio/a.wav"}
GENERATE = {"generation_request_id": "gen", "audio_file_id": "song", "target_stems": ["Bass", "drums"]}


def body(base: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**base, **changes}).encode()


def any_url(_: str) -> None:
    """Every callback URL is fine."""


def test_an_analysis_becomes_a_job_with_all_analyses_and_the_stems() -> None:
    request = analyze_request(body(ANALYZE, callback_url="http://api/callback"), any_url)
    assert (request.job_id, request.options.blob_prefix) == ("song", "song")
    assert (request.source.kind, request.source.location) == (SourceKind.BLOB, "az://audio/a.wav")
    assert set(request.options.stages) == {
        Stage.STEMS,
        Stage.BASIC_FEATURES,
        Stage.SECTIONS,
        Stage.CHORDS,
    }
    assert (request.delivery.callback_url, request.delivery.mode) == (
        "http://api/callback",
        DeliveryMode.BLOB,
    )


def test_a_generation_becomes_a_job_in_the_folder_of_its_track() -> None:
    parameters = {"target_bpm": 90, "chord_progression": "C - G - Am - F", "duration_seconds": 5}
    request = generate_request(body(GENERATE, parameters=parameters), any_url)
    options = request.options.generation
    assert options is not None
    assert (request.job_id, request.options.blob_prefix) == ("gen", "song")
    assert (request.source.kind, request.options.stages) == (SourceKind.NONE, (Stage.GENERATION,))
    assert (options.target_stems, options.target_bpm, options.seconds) == (("bass", "drums"), 90.0, 5.0)
    assert options.chord_progression == ("C", "G", "Am", "F")


def test_a_request_without_a_seed_gets_the_same_one_each_time_and_another_one_with_another_id() -> None:
    seeds = [
        generate_request(body(GENERATE, generation_request_id=name), any_url).options.generation
        for name in ("gen", "gen", "other")
    ]
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize("nothing", [None, ...])
def test_null_is_a_field_that_is_left_out(nothing: Any) -> None:
    given = {} if nothing is ... else {"parameters": None, "callback_url": None}
    request = generate_request(body(GENERATE, **given), any_url)
    assert request.delivery.callback_url == ""
    assert request == generate_request(body(GENERATE, parameters={}), any_url)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"target_stems": ["bass"] * 100_000}, "target_stems"),
        ({"target_stems": ["x" * 100_000]}, "target_stems"),
        ({"target_stems": ["bass", "BASS"]}, "target_stems"),
        ({"target_stems": [None]}, "target_stems"),
        ({"target_stems": {"bass": 1}}, "target_stems"),
        ({"parameters": {"chord_progression": "C " * 100_000}}, "parameters.chord_progression"),
        ({"parameters": {"duration_seconds": float("inf")}}, "parameters.duration_seconds"),
        ({"parameters": {"target_bpm": float("nan")}}, "parameters.target_bpm"),
        ({"parameters": {"temperature": True}}, "parameters.temperature"),
        ({"generation_request_id": "x" * 129}, "generation_request_id"),
        ({"generation_request_id": "\ud800"}, "generation_request_id"),
        ({"generation_request_id": ".hidden"}, "generation_request_id"),
        ({"audio_file_id": "a\x00b"}, "audio_file_id"),
        ({"audio_file_id": ["song"]}, "audio_file_id"),
    ],
)
def test_hostile_values_are_refused_with_a_short_error_that_names_the_field(
    changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidFieldError) as refusal:
        generate_request(body(GENERATE, **changes), any_url)
    assert refusal.value.field == field
    assert field in refusal.value.message
    assert len(refusal.value.message) < 500


@pytest.mark.parametrize("text", [b"", b"null", b"[" * 100_000, b'{"a":1', b"\xff\xfe", b'"a"'])
def test_a_body_that_is_no_object_is_refused(text: bytes) -> None:
    for parse in (analyze_request, generate_request):
        with pytest.raises(RequestError):
            parse(text, any_url)


def test_a_callback_url_that_is_never_called_is_refused() -> None:
    def refuse(url: str) -> None:
        raise InvalidFieldError(f"callback_url: {url} is private", field="callback_url")

    for parse, base in ((analyze_request, ANALYZE), (generate_request, GENERATE)):
        with pytest.raises(InvalidFieldError, match="is private"):
            parse(body(base, callback_url="http://10.0.0.1/"), refuse)


@pytest.mark.parametrize(
    ("field", "here"),
    [
        ("source.blob_uri", "blob_uri"),
        ("options.generation.duration", "parameters.duration_seconds"),
        ("options.generation.target_stems", "target_stems"),
        ("options.generation.key", "parameters.key"),
        ("job_id", "audio_file_id"),
        ("options.stages", "options.stages"),
    ],
)
def test_errors_of_the_jobs_name_the_fields_of_this_api(field: str, here: str) -> None:
    with pytest.raises(MismoError) as error, named_as_here("audio_file_id"):
        raise JobIdActiveError(f"{field} is wrong", field=field)
    assert (error.value.field, error.value.message) == (here, f"{here} is wrong")
