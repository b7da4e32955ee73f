"""Checks the body of `POST /jobs`, as JSON or as a form, field by field; errors name the wrong field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from mismo_grpc.errors import InvalidFieldError, InvalidJobIdError, NotSupportedYetError, RequestError
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
MAX_DEPTH_CHARS = 64
_NO_OPTIONS = (Stage.DECODE, Stage.ANNOTATION, Stage.GENERATION, Stage.BLOB_UPLOAD)
OPTIONS = {stage_name(row.stage): row for row in TABLE if row.stage not in _NO_OPTIONS}
"""Each option requests the stage of its name."""
SHARED_FIELDS = ("track_hash", "options", "callback_url", "stem_delivery_mode", "priority")
JSON_FIELDS = ("file_path", *SHARED_FIELDS)
FORM_FIELDS = ("file", *SHARED_FIELDS)
PRIORITIES = {"low": Priority.LOW, "normal": Priority.NORMAL, "high": Priority.HIGH}


@dataclass(frozen=True)
class Submission:
    """A submit without its source; `file_path` is None if the form contains the track."""

    track_hash: str
    delivery: Delivery
    priority: Priority
    file_path: str | None
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

    @property
    def path_source(self) -> Source:
        """The source of a submit that names a path."""
        return Source(SourceKind.PATH, self.file_path or "")


def from_json(body: bytes, check_url: Callable[[str], object]) -> Submission:
    """Reads a JSON submit; raises RequestError or InvalidFieldError.

    `check_url` raises for a callback URL that the server never calls.
    """
    try:
        given = _json(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON ({_reason(error)})") from error
    if not isinstance(given, dict):
        raise RequestError("the body must be a JSON object")
    fields = cast("dict[str, Any]", given)
    if "file" in fields:
        raise InvalidFieldError(
            "file: send the track as multipart/form-data, or name it in file_path", field="file"
        )
    _refuse_unknown(fields, JSON_FIELDS, "")
    path = _text(fields, "file_path", required=True)
    return _submission(fields, fields.get("options"), path, check_url)


def from_form(fields: Mapping[str, str], has_file: bool, check_url: Callable[[str], object]) -> Submission:
    """Reads the text fields of a multipart submit; raises RequestError or InvalidFieldError."""
    if "file_path" in fields:
        both = (
            "file and file_path exclude each other; send one"
            if has_file
            else "a form carries the track in file"
        )
        raise InvalidFieldError(f"file_path: {both}, or send file_path as JSON", field="file_path")
    _refuse_unknown(fields, FORM_FIELDS, "")
    if not has_file:
        raise InvalidFieldError("file is missing: the part that carries the track", field="file")
    options: object = None
    if fields.get("options"):
        try:
            options = _json(fields["options"])
        except (ValueError, RecursionError) as error:
            raise InvalidFieldError(f"options is not JSON ({_reason(error)})", field="options") from error
    return _submission(dict(fields), options, None, check_url)


def _submission(
    fields: Mapping[str, Any], options: object, path: str | None, check_url: Callable[[str], object]
) -> Submission:
    track_hash = _text(fields, "track_hash", required=True)
    try:
        check_job_id(track_hash)
    except InvalidJobIdError as error:
        raise InvalidJobIdError(
            error.message.replace("job_id", "track_hash", 1), field="track_hash"
        ) from error
    stages = _stages_of(options)
    mode = _choice(
        fields, "stem_delivery_mode", {mode.value: mode for mode in DeliveryMode}, DeliveryMode.POLL
    )
    priority = _choice(fields, "priority", PRIORITIES, Priority.NORMAL)
    url = _text(fields, "callback_url", required=False)
    if url:
        check_url(url)
    elif mode is DeliveryMode.CALLBACK:
        raise InvalidFieldError(
            "callback_url is missing, and stem_delivery_mode callback sends the stems there",
            field="callback_url",
        )
    return Submission(track_hash, Delivery(url, mode), priority, path, stages)


def _stages_of(options: object) -> tuple[Stage, ...]:
    """The requested stages; the stems if there are no options."""
    if options is None:
        return (Stage.STEMS,)
    if not isinstance(options, dict):
        raise InvalidFieldError('options must be an object, such as {"stems": true}', field="options")
    given = cast("dict[str, Any]", options)
    _refuse_unknown(given, tuple(OPTIONS), "options.")
    for name, value in given.items():
        if not isinstance(value, bool):
            raise InvalidFieldError(f"options.{name} must be true or false", field=f"options.{name}")
    if not given:
        return (Stage.STEMS,)
    asked = [row for name, row in OPTIONS.items() if given.get(name)]
    for row in asked:
        if not row.offered:
            field = f"options.{stage_name(row.stage)}"
            raise NotSupportedYetError(f"{field} is {row.reason}", field=field)
    if not asked:
        raise InvalidFieldError('options asks for nothing; send {"stems": true}', field="options")
    return tuple(row.stage for row in asked)


def _refuse_unknown(given: Mapping[str, object], known: tuple[str, ...], prefix: str) -> None:
    for name in given:
        if name not in known:
            field = f"{prefix}{name[:MAX_DEPTH_CHARS]}".encode(errors="backslashreplace").decode()
            raise InvalidFieldError(
                f"{field} is unknown; there are {', '.join(prefix + other for other in known)}", field=field
            )


def _text(fields: Mapping[str, Any], name: str, *, required: bool) -> str:
    value = fields.get(name)
    if value is None or value == "":
        if required:
            raise InvalidFieldError(f"{name} is missing", field=name)
        return ""
    if not isinstance(value, str):
        raise InvalidFieldError(f"{name} must be a string", field=name)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidFieldError(
            f"{name} holds half of a surrogate pair, which is no character; send whole ones", field=name
        ) from error
    return value


def _choice(fields: Mapping[str, Any], name: str, known: Mapping[str, T], default: T) -> T:
    value = fields.get(name)
    if value is None or value == "":
        return default
    if not isinstance(value, str) or value not in known:
        raise InvalidFieldError(f"{name} must be one of {', '.join(known)}", field=name)
    return known[value]


def _json(text: bytes | str) -> Any:
    # No field is a number, and converting a very long number would take minutes.
    return json.loads(text, parse_int=lambda _: 0, parse_float=lambda _: 0.0)


def _reason(error: Exception) -> str:
    return str(error)[:200] if isinstance(error, ValueError) else "nested too deeply"
