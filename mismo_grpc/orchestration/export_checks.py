"""Checks at the submit whether the stems of a job can have the formats that it asks for."""

from __future__ import annotations

from collections.abc import Sequence

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.jobs.export_options import ExportOptions
from mismo_grpc.jobs.job import JobOptions, Stage
from mismo_grpc.results.exports.plan import fault_of
from mismo_grpc.separation.catalog import ModelDescription
from mismo_grpc.separation.selection import select_stems

FIELD = "options.export.formats"


def check_exports(options: JobOptions, model: ModelDescription | None) -> None:
    """Raises InvalidFieldError if the stems of a job that separates with `model` cannot have a format.

    What is not known of the model yet is checked when the stems are finished.
    """
    if options.export is None or model is None:
        return
    stems = options.stems
    names: Sequence[str] = ()
    if model.sources:
        names = select_stems(model.sources, stems.stem_names, stems.two_stems).names
    check_formats(options.export, names, stems.sample_rate or model.sample_rate)


def check_formats(options: ExportOptions, stem_names: Sequence[str], sample_rate: int) -> None:
    """Raises InvalidFieldError if stems of these names cannot have a format; `sample_rate` in Hz, 0: unknown."""
    for kind in options.formats:
        fault = fault_of(kind, stem_names, sample_rate)
        if fault:
            raise InvalidFieldError(f"{FIELD}: {fault}", field=FIELD)


def stages_to_find(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages that an earlier job must have a result of, so that a job which asks for `stages` can use it.

    Each job makes its own exports, of the stems of the earlier one.
    """
    if Stage.EXPORT not in stages:
        return tuple(stages)
    stems = () if Stage.GENERATION in stages else (Stage.STEMS,)
    return tuple(dict.fromkeys((*(each for each in stages if each is not Stage.EXPORT), *stems)))
