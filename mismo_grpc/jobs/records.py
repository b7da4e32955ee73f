"""Jobs and events as JSON for the store, and the key under which a result can be used again.

The codec follows the fields of the dataclasses: a field that a record does not have takes its default, a
field that this version does not know is passed over, so records of a neighbouring version can be read.
Enums are stored by name.
"""

from __future__ import annotations

import hashlib
import json
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from mismo_grpc.errors import MismoError, StoreError
from mismo_grpc.jobs.events import Event, EventKind
from mismo_grpc.jobs.job import Job, SeparationOptions, StageStatus
from mismo_grpc.separation.device import DeviceInfo

ReadyRanges = tuple[tuple[int, int], ...]

_Reader = Callable[[Any], object]


def job_to_json(job: Job) -> str:
    """The whole job as one ASCII line of JSON."""
    return _dump(_plain(job))


def job_from_json(record: str) -> Job:
    """The job of a record; raises StoreError if it is none."""
    return cast("Job", _load(Job, record, "job"))


def body_to_json(event: Event) -> str:
    """The body of an event as JSON."""
    return _dump(_plain(event.body))


def event_from_json(revision: int, time: float, kind: int, body: str) -> Event:
    """The event of a stored row; raises StoreError if it is none."""
    try:
        known = EventKind(kind)
    except ValueError:
        raise StoreError(f"a stored event has the unknown kind {kind}; {_REMEDY}") from None
    if known is EventKind.STAGE:
        return Event(revision, time, known, cast("StageStatus", _load(StageStatus, body, "event")))
    ranges = cast("ReadyRanges | None", _load(ReadyRanges | None, body, "event"))
    return Event(revision, time, known, ranges)


def cache_key(job: Job) -> str:
    """Of everything but the source that decides what the stems sound like, lower-case hex.

    Two jobs of the same source content and the same key have the same stem files. The playhead changes only
    the order of the work; `stem_names` is a set here, and empty means all.
    """
    return result_key(job.model, job.options, job.recipe)


def result_key(model: str, options: SeparationOptions, recipe: str = "") -> str:
    """`cache_key` before there is a job; `model` is the one that does the work, `recipe` its weights and arithmetic."""
    parts: dict[str, object] = {
        "model": model,
        "recipe": recipe,
        "stem_names": sorted(set(options.stem_names)),
        "two_stems": options.two_stems,
        "shifts": options.shifts,
        "overlap": float(options.overlap),
        "encoding": options.encoding.name,
        "sample_rate": options.sample_rate,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def recipe_of(fingerprint: str, device: DeviceInfo) -> str:
    """What decides how a model's samples come out besides the options: its weights, the device and the precision."""
    return f"{fingerprint} {device.name} {device.precision}"


_REMEDY = "start the version that wrote it, or move the store's file away to begin with an empty one"


def _dump(plain: object) -> str:
    # ASCII escapes keep lone surrogates and NUL characters away from the database.
    return json.dumps(plain, ensure_ascii=True, separators=(",", ":"))


def _load(kind: object, text: str, what: str) -> object:
    try:
        return _reader(kind)(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, MismoError) as error:
        fault = f"{type(error).__name__}: {error}"
        raise StoreError(f"a stored {what} cannot be read ({fault}); {_REMEDY}") from error


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    return value


@cache
def _reader(kind: Any) -> _Reader:
    """Makes a value of this type out of plain JSON; raises KeyError, TypeError or ValueError."""
    origin, arms = get_origin(kind), get_args(kind)
    if origin is Union or origin is types.UnionType:
        choice = _reader(next(arm for arm in arms if arm is not types.NoneType))
        return lambda plain: None if plain is None else choice(plain)
    if origin is tuple and arms[1:] == (Ellipsis,):
        item = _reader(arms[0])
        return lambda plain: tuple([item(each) for each in plain])
    if origin is tuple:
        items = [_reader(arm) for arm in arms]
        return lambda plain: tuple([read(each) for read, each in zip(items, plain, strict=True)])
    if origin is not None and issubclass(origin, Mapping):
        value = _reader(arms[1])
        return lambda plain: {key: value(each) for key, each in plain.items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda plain: kind[plain]
    if is_dataclass(cast("object", kind)):
        return _record_reader(cast("type[object]", kind))
    return _scalar_reader(cast("type[object]", kind))


def _record_reader(kind: type[object]) -> _Reader:
    hints = get_type_hints(kind)
    readers = [(field.name, _reader(hints[field.name])) for field in fields(cast("Any", kind))]

    def read(plain: Any) -> object:
        return kind(**{name: reader(plain[name]) for name, reader in readers if name in plain})

    return read


def _scalar_reader(kind: type[object]) -> _Reader:
    def read(plain: Any) -> object:
        if type(plain) is kind:
            return plain
        if kind is float and type(plain) is int:
            return float(plain)
        raise TypeError(f"{plain!r} is no {kind.__name__}")

    return read
