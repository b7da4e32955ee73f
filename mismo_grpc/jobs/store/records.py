"""Jobs as JSON for the store, and the cache key under which a result can be reused.

A field that a record does not have gets its default, and a field or a stage that this version does not know is ignored,
so records of the previous and of the next version can be read.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from mismo_grpc.errors import MismoError, StoreError
from mismo_grpc.jobs.job import Job, Stage, StemOptions
from mismo_grpc.jobs.stage_data import RESULT_TYPES
from mismo_grpc.separation.device import DeviceInfo

_JOB = TypeAdapter(Job)
_RESULTS = {stage.name: TypeAdapter(kind) for stage, kind in RESULT_TYPES.items()}

KEY_WITHOUT_STEMS = "no stems"
GENERATED_KEY = "generated"
"""The key of generated stems; the checksum of their source is of the options and the generator."""


def job_to_json(job: Job) -> str:
    """The whole job as one ASCII line of JSON."""
    # Not pydantic's own JSON: it refuses lone surrogates, which a file name or a message may contain.
    return json.dumps(_JOB.dump_python(job, mode="json"), separators=(",", ":"))


def job_from_json(record: str) -> Job:
    """The job of a record; raises StoreError if the record is invalid."""
    try:
        return _JOB.validate_python(_readable(json.loads(record)))
    except (ValueError, MismoError) as error:
        raise StoreError(
            f"a stored job cannot be read ({_fault(error)}); start the version that wrote it, or move the "
            "store's file away to begin with an empty one"
        ) from error


def _readable(record: Any) -> Any:
    """The record without the stages that only a later version knows, and with results of the types of their stages.

    A result has no type of its own in the record. What is no record stays as it is, to be refused by its fault.
    """
    match record:
        case {"stages": list(), "options": {"stages": list()}}:
            fields = cast("dict[str, Any]", record)
            asked = [name for name in fields["options"]["stages"] if not _is_later(name)]
            stages = [_typed(status) for status in fields["stages"] if not _is_later(status)]
            return {**fields, "options": {**fields["options"], "stages": asked}, "stages": stages}
        case _:
            return record


def _is_later(stage: Any) -> bool:
    """Whether the name of a stage, or its status, is of a stage that this version does not know."""
    match stage:
        case {"stage": str(name)} | str(name):
            return name not in Stage.__members__
        case _:
            return False


def _typed(status: Any) -> Any:
    """The status with its result as a value, because only the name of the stage tells its type."""
    match status:
        case {"stage": str(name), "result": dict()} if name in _RESULTS:
            fields = cast("dict[str, Any]", status)
            return {**fields, "result": _RESULTS[name].validate_python(fields["result"])}
        case _:
            return status


def _fault(error: ValueError | MismoError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def cache_key(job: Job) -> str:
    """A hash of everything besides the source that determines the stem files, in lower-case hex.

    Two jobs of the same source content and the same key have the same stem files. The playhead changes only
    the order of the work; `stem_names` is a set here, and empty means all. Jobs without stems have one key.
    """
    if job.has(Stage.GENERATION):
        return GENERATED_KEY
    if not job.has(Stage.STEMS):
        return KEY_WITHOUT_STEMS
    return result_key(job.model, job.options.stems, job.model_fingerprint)


def result_key(model: str, options: StemOptions, model_fingerprint: str = "") -> str:
    """The `cache_key` of a job that does not exist yet; `model` is the one that will be used.

    `model_fingerprint` names its weights and arithmetic.
    """
    parts: dict[str, object] = {
        "model": model,
        "recipe": model_fingerprint,
        "stem_names": sorted(set(options.stem_names)),
        "two_stems": options.two_stems,
        "shifts": options.shifts,
        "overlap": float(options.overlap),
        "encoding": options.encoding.name,
        "sample_rate": options.sample_rate,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def model_fingerprint_of(weights: str, device: DeviceInfo) -> str:
    """Names what determines a model's output besides the options: its weights, the device and the precision."""
    return f"{weights} {device.name} {device.precision}"
