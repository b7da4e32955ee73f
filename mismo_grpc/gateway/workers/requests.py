"""Checks the bodies of `POST /analyze` and `POST /generate`; null stands for a field that is left out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from mismo_grpc.errors import InvalidFieldError, MismoError
from mismo_grpc.gateway.json_fields import (
    json_object,
    number_of,
    refuse_unknown,
    text_of,
    texts_of,
    whole_number_of,
)
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.jobs.job import (
    Delivery,
    DeliveryMode,
    JobOptions,
    JobRequest,
    Source,
    SourceKind,
    Stage,
    check_blob_prefix,
    check_job_id,
)

ANALYZE_FIELDS = ("audio_file_id", "blob_uri", "callback_url")
GENERATE_FIELDS = ("generation_request_id", "audio_file_id", "target_stems", "parameters", "callback_url")
PARAMETERS = (
    "target_bpm",
    "duration_seconds",
    "style",
    "chord_progression",
    "key",
    "prompt",
    "temperature",
    "random_seed",
    "generator",
)
ANALYSED = (Stage.STEMS, Stage.BASIC_FEATURES, Stage.SECTIONS, Stage.CHORDS)
_PREFIX = "parameters."
_CHORDS_APART = re.compile(r"\s*[-|,;\s]\s*")
_GENERATION = "options.generation."
_FIELDS = {
    "source.blob_uri": "blob_uri",
    "options.generation.target_stems": "target_stems",
    "options.generation.duration": "parameters.duration_seconds",
}

CheckUrl = Callable[[str], object]
"""Raises InvalidFieldError for a callback URL that the server never calls."""


def analyze_request(body: bytes, check_url: CheckUrl) -> JobRequest:
    """The job of `POST /analyze`; raises RequestError, InvalidFieldError."""
    fields = json_object(body)
    refuse_unknown(fields, ANALYZE_FIELDS)
    job_id = _id(fields, "audio_file_id")
    uri = text_of(fields, "blob_uri", required=True)
    return JobRequest(
        source=Source(SourceKind.BLOB, uri),
        options=JobOptions(ANALYSED, blob_prefix=_folder(job_id, "audio_file_id")),
        job_id=job_id,
        delivery=Delivery(_callback_url(fields, check_url), DeliveryMode.BLOB),
    )


def generate_request(body: bytes, check_url: CheckUrl) -> JobRequest:
    """The job of `POST /generate`; raises RequestError, InvalidFieldError.

    Without a random_seed the request's id gives one, so that the same request gives the same stems.
    """
    fields = json_object(body)
    refuse_unknown(fields, GENERATE_FIELDS)
    job_id = _id(fields, "generation_request_id")
    _folder(job_id, "generation_request_id")
    prefix = _folder(_id(fields, "audio_file_id"), "audio_file_id")
    given = fields.get("parameters")
    if given is not None and not isinstance(given, dict):
        raise InvalidFieldError("parameters must be an object", field="parameters")
    parameters = cast("dict[str, Any]", given or {})
    refuse_unknown(parameters, PARAMETERS, _PREFIX)
    seed = int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4]) >> 1
    default = GenerationOptions(("other",))
    with named_as_here():
        options = GenerationOptions(
            target_stems=tuple(name.lower() for name in texts_of(fields, "target_stems")),
            target_bpm=number_of(parameters, "target_bpm", default.target_bpm, prefix=_PREFIX),
            seconds=number_of(parameters, "duration_seconds", default.seconds, prefix=_PREFIX),
            style=text_of(parameters, "style", prefix=_PREFIX),
            chord_progression=_chords(parameters),
            key=text_of(parameters, "key", prefix=_PREFIX),
            prompt=text_of(parameters, "prompt", prefix=_PREFIX),
            temperature=number_of(parameters, "temperature", default.temperature, prefix=_PREFIX),
            random_seed=whole_number_of(parameters, "random_seed", seed, prefix=_PREFIX),
            generator=text_of(parameters, "generator", prefix=_PREFIX),
        )
    return JobRequest(
        source=Source(SourceKind.NONE, ""),
        options=JobOptions((Stage.GENERATION,), generation=options, blob_prefix=prefix),
        job_id=job_id,
        delivery=Delivery(_callback_url(fields, check_url), DeliveryMode.BLOB),
    )


@contextmanager
def named_as_here(job_id: str = "") -> Generator[None]:
    """Makes errors use this API's name of their field; `job_id` is the field that gives the job its id."""
    try:
        yield
    except MismoError as error:
        field = error.field or ""
        here = _FIELDS.get(field)
        if here is None and field.startswith(_GENERATION):
            here = _PREFIX + field.removeprefix(_GENERATION)
        if field == "job_id" and job_id:
            here = job_id
        if here is not None:
            error.message = error.message.replace(field, here)
            error.field = here
        raise


def _id(fields: Mapping[str, Any], name: str) -> str:
    value = text_of(fields, name, required=True)
    try:
        check_job_id(value)
    except MismoError as error:
        error.message = error.message.replace("job_id", name, 1)
        error.field = name
        raise
    return value


def _folder(value: str, name: str) -> str:
    """The id as a folder of the container, which must not begin with a dot."""
    try:
        check_blob_prefix(value)
    except InvalidFieldError as error:
        raise InvalidFieldError(
            f"{name} must not begin with a dot: it becomes a folder in the blob container", field=name
        ) from error
    return value


def _callback_url(fields: Mapping[str, Any], check_url: CheckUrl) -> str:
    url = text_of(fields, "callback_url")
    if url:
        check_url(url)
    return url


def _chords(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """The chords of a list, or of a text such as "C - G - Am - F"."""
    value = parameters.get("chord_progression")
    if isinstance(value, str):
        return tuple(chord for chord in _CHORDS_APART.split(value) if chord)
    return texts_of(parameters, "chord_progression", prefix=_PREFIX)
