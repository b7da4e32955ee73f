"""Checks the form of `POST /api/upload`, field by field; errors name the wrong field and list the choices."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mismo_grpc.errors import InvalidFieldError, MismoError, ModelUnavailableError
from mismo_grpc.gateway.api.filenames import clean_filename
from mismo_grpc.gateway.api.formats import ARCHIVES, EXPORTS, WAV
from mismo_grpc.gateway.json_fields import refuse_unknown
from mismo_grpc.gateway.submission import PRIORITIES
from mismo_grpc.jobs.export_options import ExportOptions
from mismo_grpc.jobs.job import JobOptions, JobRequest, Priority, Source, SourceKind, Stage, StemOptions
from mismo_grpc.separation.catalog import ModelDescription, ModelState

FILE_FIELD = "audio_file"
FIELDS = (FILE_FIELD, "model", "stems", "format", "priority")
ALL_STEMS = "all"
FILENAME_LABEL = "filename"
"""The label with the name of the uploaded file."""
_NAMES = {
    "source.upload_id": FILE_FIELD,
    "options.stems.model": "model",
    "options.stems.stem_names": "stems",
    "options.export.formats": "format",
    "file": FILE_FIELD,
}
"""The names of fields in errors, mapped to the names in this API."""


@dataclass(frozen=True)
class UploadForm:
    """A checked form; `model` "" is the server's default, `stems` empty: all of the model."""

    filename: str
    model: str
    stems: tuple[str, ...]
    format: str
    priority: Priority

    def request(self, upload_id: str) -> JobRequest:
        """The job of the form, with a new id."""
        stems = StemOptions(model=self.model, stem_names=self.stems)
        export = EXPORTS.get(self.format)
        options = JobOptions((Stage.STEMS,), stems)
        if export is not None:
            options = JobOptions((Stage.STEMS, Stage.EXPORT), stems, export=ExportOptions((export,)))
        return JobRequest(
            source=Source(SourceKind.UPLOAD, upload_id),
            options=options,
            job_id=str(uuid.uuid4()),
            priority=self.priority,
            labels={FILENAME_LABEL: self.filename},
        )


def upload_form(
    fields: Mapping[str, str], filename: str | None, models: Sequence[ModelDescription], default_model: str
) -> UploadForm:
    """Reads the fields of the form besides the file (`filename` None: it has none).

    `models` are all that the server knows. Raises InvalidFieldError.
    """
    refuse_unknown(fields, FIELDS)
    if filename is None:
        raise InvalidFieldError(
            f"{FILE_FIELD} is missing: the part of the form that carries the track", field=FILE_FIELD
        )
    model = _value(fields, "model", "")
    described = _model(model or default_model, models)
    return UploadForm(
        clean_filename(filename),
        model,
        _stems(_value(fields, "stems", ALL_STEMS), described),
        _choice(fields, "format", ARCHIVES, WAV),
        PRIORITIES[_choice(fields, "priority", PRIORITIES, "normal")],
    )


def _model(name: str, models: Sequence[ModelDescription]) -> ModelDescription:
    described = next((model for model in models if model.name == name), None)
    if described is None:
        names = ", ".join(model.name for model in models)
        raise InvalidFieldError(
            f"model: there is no model {name[:64]!r}; choose one of {names}", field="model"
        )
    return described


def _stems(value: str, model: ModelDescription) -> tuple[str, ...]:
    names = [name.strip().lower() for name in value.split(",")]
    if names == [ALL_STEMS]:
        return ()
    for name in names:
        if model.sources and name not in model.sources:
            raise InvalidFieldError(
                f"stems: {model.name} has no stem {name[:64]!r}; send all, or one or more of "
                f"{', '.join(model.sources)}, separated by commas",
                field="stems",
            )
    if len(set(names)) != len(names):
        raise InvalidFieldError("stems: a name is given twice; send each once", field="stems")
    return tuple(names)


def _value(fields: Mapping[str, str], name: str, default: str) -> str:
    return fields.get(name, "").strip() or default


def _choice(fields: Mapping[str, str], name: str, known: Collection[str], default: str) -> str:
    value = _value(fields, name, default).lower()
    if value not in known:
        raise InvalidFieldError(f"{name} must be one of {', '.join(known)}", field=name)
    return value


@contextmanager
def named_as_here(models: Sequence[ModelDescription]) -> Generator[None]:
    """Makes errors use this API's name of their field, and list the available ones of `models` where one is not."""
    try:
        yield
    except MismoError as error:
        if error.field in _NAMES:
            here = _NAMES[error.field]
            error.message = error.message.replace(error.field, here)
            error.field = here
        if isinstance(error, ModelUnavailableError):
            available = [model.name for model in models if model.state is not ModelState.UNAVAILABLE]
            error.message += f". Available now: {', '.join(available)}"
        raise
