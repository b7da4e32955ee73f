"""Checks the body of `POST /jobs`, as JSON or as a form, field by field; errors name the wrong field."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from mismo_grpc.errors import InvalidFieldError, InvalidJobIdError
from mismo_grpc.gateway.json_fields import json_fault, json_object, parse_json, refuse_unknown, text_of
from mismo_grpc.jobs.callbacks import stage_name
from mismo_grpc.jobs.job import (
    Delivery,
    DeliveryMode,
    JobOptions,
    JobRequest,
    Priority,
    Source,
    SourceKind,
    Stage,
    check_job_id,
)
from mismo_grpc.stages.table import TABLE

T = TypeVar("T")

MAX_JSON_BYTES = 256 << 10
_NO_OPTIONS = (Stage.DECODE, Stage.ANNOTATION, Stage.GENERATION, Stage.BLOB_UPLOAD, Stage.EXPORT)
OPTIONS = {stage_name(row.stage): row for row in TABLE if row.stage not in _NO_OPTIONS}
"""Each option requests the stage of its name."""
SHARED_FIELDS = ("track_hash", "options", "callback_url", "stem_delivery_mode", "priority")
JSON_FIELDS = ("file_path", "blob_uri", *SHARED_FIELDS)
FORM_FIELDS = ("file", *SHARED_FIELDS)
MODES = {mode.value: mode for mode in DeliveryMode if mode is not DeliveryMode.BLOB}
PRIORITIES = {"low": Priority.LOW, "normal": Priority.NORMAL, "high": Priority.HIGH}


@dataclass(frozen=True)
class Submission:
    """A submit; `source` is None if the form contains the track."""

    track_hash: str
    delivery: Delivery
    priority: Priority
    source: Source | None
    stages: tuple[Stage, ...] = (Stage.STEMS,)

    def request(self, source: Source) -> JobRequest:
        """The requested job."""
        fingerprint = hashlib.sha256(repr((self, source)).encode()).hexdigest()
        return JobRequest(
            source=source,
            options=JobOptions(self.stages),
            job_id=self.track_hash,
            priority=self.priority,
            delivery=self.delivery,
            fingerprint=fingerprint,
        )


def from_json(body: bytes, check_url: Callable[[str], object]) -> Submission:
    """Reads a JSON submit; raises RequestError or InvalidFieldError.

    `check_url` raises for a callback URL that the server never calls.
    """
    fields = json_object(body)
    if "file" in fields:
        raise InvalidFieldError(
            "file: send the track as multipart/form-data, or name it in file_path", field="file"
        )
    refuse_unknown(fields, JSON_FIELDS)
    blob, path = text_of(fields, "blob_uri"), text_of(fields, "file_path")
    if blob and path:
        raise InvalidFieldError("blob_uri and file_path exclude each other; send one", field="blob_uri")
    if not blob and not path:
        raise InvalidFieldError("file_path is missing; or send blob_uri", field="file_path")
    source = Source(SourceKind.BLOB, blob) if blob else Source(SourceKind.PATH, path)
    return _submission(fields, fields.get("options"), source, check_url)


def from_form(fields: Mapping[str, str], has_file: bool, check_url: Callable[[str], object]) -> Submission:
    """Reads the text fields of a multipart submit; raises RequestError or InvalidFieldError."""
    if "file_path" in fields:
        both = (
            "file and file_path exclude each other; send one"
            if has_file
            else "a form carries the track in file"
        )
        raise InvalidFieldError(f"file_path: {both}, or send file_path as JSON", field="file_path")
    refuse_unknown(fields, FORM_FIELDS)
    if not has_file:
        raise InvalidFieldError("file is missing: the part that carries the track", field="file")
    options: object = None
    if fields.get("options"):
        try:
            options = parse_json(fields["options"])
        except (ValueError, RecursionError) as error:
            raise InvalidFieldError(f"options is not JSON ({json_fault(error)})", field="options") from error
    return _submission(dict(fields), options, None, check_url)


def _submission(
    fields: Mapping[str, Any], options: object, source: Source | None, check_url: Callable[[str], object]
) -> Submission:
    track_hash = text_of(fields, "track_hash", required=True)
    try:
        check_job_id(track_hash)
    except InvalidJobIdError as error:
        raise InvalidJobIdError(
            error.message.replace("job_id", "track_hash", 1), field="track_hash"
        ) from error
    stages = _stages_of(options)
    mode = _choice(fields, "stem_delivery_mode", MODES, DeliveryMode.POLL)
    priority = _choice(fields, "priority", PRIORITIES, Priority.NORMAL)
    url = text_of(fields, "callback_url")
    if url:
        check_url(url)
    elif mode is DeliveryMode.CALLBACK:
        raise InvalidFieldError(
            "callback_url is missing, and stem_delivery_mode callback sends the stems there",
            field="callback_url",
        )
    return Submission(track_hash, Delivery(url, mode), priority, source, stages)


def _stages_of(options: object) -> tuple[Stage, ...]:
    """The requested stages; the stems if there are no options."""
    if options is None:
        return (Stage.STEMS,)
    if not isinstance(options, dict):
        raise InvalidFieldError('options must be an object, such as {"stems": true}', field="options")
    given = cast("dict[str, Any]", options)
    refuse_unknown(given, tuple(OPTIONS), "options.")
    for name, value in given.items():
        if not isinstance(value, bool):
            raise InvalidFieldError(f"options.{name} must be true or false", field=f"options.{name}")
    if not given:
        return (Stage.STEMS,)
    asked = [row for name, row in OPTIONS.items() if given.get(name)]
    if not asked:
        raise InvalidFieldError('options asks for nothing; send {"stems": true}', field="options")
    return tuple(row.stage for row in asked)


def _choice(fields: Mapping[str, Any], name: str, known: Mapping[str, T], default: T) -> T:
    value = fields.get(name)
    if value is None or value == "":
        return default
    if not isinstance(value, str) or value not in known:
        raise InvalidFieldError(f"{name} must be one of {', '.join(known)}", field=name)
    return known[value]
