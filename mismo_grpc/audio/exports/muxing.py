"""Writes with FFmpeg's muxers into an open file, so that a full disk is the file's own error."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer


class Muxer:
    """One file that is being written; `add` gives its streams."""

    def __init__(self, target: _Target, container: OutputContainer) -> None:
        self._target = target
        self._container = container

    def add(self, codec: str, sample_rate: int) -> AudioStream:
        """Adds an audio stream; set it up before anything is written. `sample_rate` in Hz."""
        stream = self._container.add_stream(codec, rate=sample_rate)
        assert isinstance(stream, AudioStream)
        return stream

    def encode(self, stream: AudioStream, frame: av.AudioFrame | None) -> None:
        """Encodes and writes a frame, None: what the encoder still holds. Raises OSError."""
        self._container.mux(cast("list[Any]", stream.encode(frame)))
        self._target.check()


@contextmanager
def muxer(file: BinaryIO, container_format: str, options: Mapping[str, str]) -> Generator[Muxer]:
    """Writes an empty file that can be sought in; it is complete when the block ends. Raises OSError."""
    target = _Target(file)
    with av.open(target, "w", format=container_format, options=dict(options)) as container:
        yield Muxer(target, container)
    target.check()


class _Target:
    """The file for PyAV, which reports an error of a callback only sometimes, and as another one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self._error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def check(self) -> None:
        if self._error is not None:
            raise self._error
