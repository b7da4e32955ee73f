"""Reads and checks the fields of JSON bodies; errors name the field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from mismo_grpc.errors import InvalidFieldError, RequestError

MAX_NAME_CHARS = 64
MAX_NUMBER_CHARS = 40


def json_object(body: bytes | str) -> dict[str, Any]:
    """The object of a JSON body; raises RequestError."""
    try:
        given = parse_json(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON ({json_fault(error)})") from error
    if not isinstance(given, dict):
        raise RequestError("the body must be a JSON object")
    return cast("dict[str, Any]", given)


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text; raises ValueError or RecursionError."""
    return json.loads(text, parse_int=_whole, parse_float=_fraction)


def _whole(digits: str) -> int:
    # Converting a very long number would take minutes; no field takes one.
    return int(digits) if len(digits) <= MAX_NUMBER_CHARS else 10**MAX_NUMBER_CHARS


def _fraction(digits: str) -> float:
    return float(digits) if len(digits) <= MAX_NUMBER_CHARS else math.inf


def json_fault(error: Exception) -> str:
    """Why a text is not JSON."""
    return str(error)[:200] if isinstance(error, ValueError) else "nested too deeply"


def refuse_unknown(given: Mapping[str, object], known: Sequence[str], prefix: str = "") -> None:
    """Raises InvalidFieldError for a field that is not `known`; `prefix` comes before the names in its text."""
    for name in given:
        if name not in known:
            field = f"{prefix}{name[:MAX_NAME_CHARS]}".encode(errors="backslashreplace").decode()
            raise InvalidFieldError(
                f"{field} is unknown; there are {', '.join(prefix + other for other in known)}", field=field
            )


def text_of(fields: Mapping[str, Any], name: str, *, required: bool = False, prefix: str = "") -> str:
    """A text, "" if it is missing, null or empty. Raises InvalidFieldError if it is `required` or no text."""
    value, field = fields.get(name), f"{prefix}{name}"
    if value is None or value == "":
        if required:
            raise InvalidFieldError(f"{field} is missing", field=field)
        return ""
    if not isinstance(value, str):
        raise InvalidFieldError(f"{field} must be a string", field=field)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidFieldError(
            f"{field} holds half of a surrogate pair, which is no character; send whole ones", field=field
        ) from error
    return value


def number_of(fields: Mapping[str, Any], name: str, default: float, *, prefix: str = "") -> float:
    """A number, `default` if it is missing or null; raises InvalidFieldError."""
    value, field = fields.get(name), f"{prefix}{name}"
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidFieldError(f"{field} must be a number", field=field)
    return float(value)


def whole_number_of(fields: Mapping[str, Any], name: str, default: int, *, prefix: str = "") -> int:
    """A whole number, `default` if it is missing or null; raises InvalidFieldError."""
    value, field = fields.get(name), f"{prefix}{name}"
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidFieldError(f"{field} must be a whole number", field=field)
    return value


def texts_of(fields: Mapping[str, Any], name: str, *, prefix: str = "") -> tuple[str, ...]:
    """A list of texts, empty if it is missing or null; raises InvalidFieldError."""
    value, field = fields.get(name), f"{prefix}{name}"
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in cast("list[object]", value)):
        raise InvalidFieldError(f"{field} must be a list of strings", field=field)
    return tuple(cast("list[str]", value))
