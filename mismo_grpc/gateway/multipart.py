"""Reads a multipart form as a stream: fields into memory, one file to the disk, both bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from mismo_grpc.errors import InvalidFieldError, RequestError
from mismo_grpc.uploads.spooled_upload import SpooledUpload

MAX_FIELDS = 32
MAX_FIELD_BYTES = 64 << 10
MAX_NAME_CHARS = 200
MAX_HEADERS = 8


@dataclass
class Form:
    """The text fields of a form, and the filename of its file (None: no file)."""

    fields: dict[str, str] = field(default_factory=dict[str, str])
    filename: str | None = None


@dataclass
class _Part:
    name: str
    filename: str | None
    data: bytearray = field(default_factory=bytearray)


class FormReader:
    """Reads one form; the part named `file_field` is written to `file` as it arrives."""

    def __init__(self, content_type: str, file_field: str, file: SpooledUpload) -> None:
        """Raises RequestError if the content type names no boundary."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
            raise RequestError("Content-Type must be multipart/form-data with a boundary")
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_end": self._finished,
        }
        self._parser = MultipartParser(boundary, callbacks, max_header_count=MAX_HEADERS)
        self._file_field = file_field
        self._file = file
        self._form = Form()
        self._part: _Part | None = None
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._value = b""
        self._to_file = bytearray()
        self._complete = False

    async def read(self, chunks: AsyncIterator[bytes]) -> Form:
        """Reads the whole form; raises RequestError, InvalidFieldError, and what the file and the chunks raise."""
        async for chunk in chunks:
            try:
                self._parser.write(chunk)
            except MultipartParseError as error:
                raise RequestError(f"the body is not a well-formed multipart form ({error})") from error
            # The part of the file in this chunk of the body; the parser buffers nothing.
            if self._to_file:
                data, self._to_file = bytes(self._to_file), bytearray()
                await self._file.append(data)
        if not self._complete:
            raise RequestError("the multipart form has no end; the request was cut short")
        return self._form

    def _begin(self) -> None:
        self._headers = {}

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = _text(options.get(b"name", b""), "the name of a part")
        if kind != b"form-data" or not name or len(name) > MAX_NAME_CHARS:
            raise RequestError("each part needs a Content-Disposition of form-data with a name")
        filename = options.get(b"filename")
        if name in self._form.fields or (name == self._file_field and self._form.filename is not None):
            raise InvalidFieldError(f"{name} was sent twice; send it once", field=name)
        if len(self._form.fields) >= MAX_FIELDS:
            raise RequestError(f"at most {MAX_FIELDS} fields in a form")
        if name == self._file_field and filename is None:
            raise InvalidFieldError(
                f"{name} must be a file: give its part a filename in the Content-Disposition", field=name
            )
        if name != self._file_field and filename is not None:
            raise InvalidFieldError(
                f"{name} must not be a file; send the track in the part {self._file_field}", field=name
            )
        self._part = _Part(name, None if filename is None else _text(filename, f"the filename of {name}"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        assert part is not None
        if part.filename is not None:
            self._to_file += data[start:end]
            return
        part.data += data[start:end]
        if len(part.data) > MAX_FIELD_BYTES:
            raise InvalidFieldError(f"{part.name} is longer than {MAX_FIELD_BYTES} bytes", field=part.name)

    def _end(self) -> None:
        part = self._part
        assert part is not None
        if part.filename is not None:
            self._form.filename = part.filename
        else:
            self._form.fields[part.name] = _text(bytes(part.data), part.name)
        self._part = None

    def _finished(self) -> None:
        self._complete = True


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"{what} is not UTF-8") from error
