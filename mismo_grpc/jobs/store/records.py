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
from mismo_grpc.jobs.job import RESULT_TYPES, Job, Stage, StemOptions
from mismo_grpc.separation.device import DeviceInfo

_JOB = TypeAdapter(Job)
_RESULTS = {stage.name: TypeAdapter(kind) for stage, kind in RESULT_TYPES.items()}

KEY_WITHOUT_STEMS = "no stems"


def job_to_json(job: Job) -> str:
    """The whole job as one ASCII line of JSON."""
    # Not pydantic's own JSON: it refuses lone surrogates, which a file name or a message may contain.
    return json.dumps(_JOB.dump_python(job, mode="json"), separators=(",", ":"))


def job_from_json(record: str) -> Job:
    """The job of a record; raises StoreError if the record is invalid."""
    try:
        return _JOB.validate_python(_with_typed_results(_with_known_stages(json.loads(record))))
    except (ValueError, MismoError) as error:
        raise StoreError(
            f"a stored job cannot be read ({_fault(error)}); start the version that wrote it, or move the "
            "store's file away to begin with an empty one"
        ) from error


def _with_known_stages(record: Any) -> Any:
    """The record without the stages that only a later version knows."""
    if not isinstance(record, dict):
        return cast("object", record)
    fields = cast("dict[str, Any]", record)
    options = fields.get("options")
    for holder in (fields, cast("dict[str, Any]", options) if isinstance(options, dict) else fields):
        found = holder.get("stages")
        if isinstance(found, list):
            holder["stages"] = [each for each in cast("list[Any]", found) if not _is_of_later_stage(each)]
    return fields


def _is_of_later_stage(named: Any) -> bool:
    """Whether the name of a stage, or the status of one, is of a stage that this version does not know."""
    name: Any = cast("dict[str, Any]", named).get("stage") if isinstance(named, dict) else named
    return isinstance(name, str) and name not in Stage.__members__


def _with_typed_results(record: Any) -> Any:
    """The record with the result of each stage as a value, because only the name of the stage tells its type."""
    if not isinstance(record, dict):
        return record
    fields = cast("dict[str, Any]", record)
    stages = fields.get("stages")
    for status in cast("list[Any]", stages) if isinstance(stages, list) else ():
        if isinstance(status, dict) and status.get("result") is not None and status.get("stage") in _RESULTS:
            status["result"] = _RESULTS[status["stage"]].validate_python(status["result"])
    return fields


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
