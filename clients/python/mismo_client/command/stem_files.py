"""Stems on their way into files: written in any order, seen only when whole."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Literal

from mismo.analysis.v1.audio_pb2 import ENCODING_PCM_S16LE, ENCODING_PCM_S24LE
from mismo_client.errors import ClientError, StreamCorruptError
from mismo_client.transfer.artifacts import part_path
from mismo_client.transfer.stem_events import StemChunk
from mismo_client.transfer.stem_format import StemFormat, wav_header

COPY_FRAMES = 1 << 18
FLAC_SUBTYPES: dict[int, tuple[str, Literal["int16", "int32"]]] = {
    ENCODING_PCM_S16LE: ("PCM_16", "int16"),
    # libsndfile hands out 24 bits in the upper bytes of 32.
    ENCODING_PCM_S24LE: ("PCM_24", "int32"),
}


class FileFormat(StrEnum):
    """What a stem is written as."""

    WAV = "wav"
    FLAC = "flac"


class FlacUnavailableError(ClientError):
    """FLAC cannot be written here, or not of these samples."""


class AbandonedError(ClientError):
    """Writing was given up."""


class UnsafeStemNameError(ClientError):
    """A stem's name that would leave the folder."""


def check_flac() -> None:
    """Raises FlacUnavailableError where the library that writes FLAC is missing."""
    try:
        importlib.import_module("soundfile")
    except (ImportError, OSError) as error:
        raise FlacUnavailableError("FLAC needs the package soundfile: pip install soundfile") from error


class StemFiles:
    """One file a stem in `folder`, as `<stem>.wav` or `<stem>.flac` once `finish` was called.

    All methods block on the disk and raise OSError; chunks are PCM of `form`.
    """

    def __init__(self, folder: Path, form: StemFormat, file_format: FileFormat) -> None:
        if any(name in {"", ".", ".."} or Path(name).name != name for name in form.stem_names):
            raise UnsafeStemNameError(f"the server's stem names {form.stem_names} are no file names")
        self._form = form
        self._file_format = file_format
        self._made_folder = None if folder.is_dir() else folder
        folder.mkdir(parents=True, exist_ok=True)
        self.targets = [folder / f"{name}.{file_format.value}" for name in form.stem_names]
        self._parts = [part_path(folder / f"{name}.wav") for name in form.stem_names]
        self._header = wav_header(form, form.total_frames)
        self._size = len(self._header) + form.total_frames * form.frame_bytes
        self._descriptors: list[int] = []
        self._abandoned = False
        try:
            for part in self._parts:
                descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
                self._descriptors.append(descriptor)
                os.pwrite(descriptor, self._header, 0)
                # RIFF chunks have even sizes; the padding byte is part of the file.
                os.ftruncate(descriptor, self._size + self._size % 2)
        except BaseException:
            self.discard()
            raise

    def write(self, chunk: StemChunk) -> None:
        """Puts a chunk in its place."""
        place = len(self._header) + chunk.start_frame * self._form.frame_bytes
        left = memoryview(chunk.data)
        while left:
            written = os.pwrite(self._descriptors[chunk.stem_index], left, place)
            place, left = place + written, left[written:]

    def verify(self, sha256: Mapping[str, str]) -> None:
        """Compares the samples with the server's checksums, for the stems it gave one for.

        Raises StreamCorruptError.
        """
        for name, descriptor in zip(self._form.stem_names, self._descriptors, strict=True):
            expected = sha256.get(name)
            if expected and self._digest(descriptor) != expected:
                raise StreamCorruptError(f"{name} is not what the server made; separate the track again")

    def _digest(self, descriptor: int) -> str:
        digest = hashlib.sha256()
        place = len(self._header)
        while place < self._size:
            block = os.pread(descriptor, min(1 << 20, self._size - place), place)
            digest.update(block)
            place += len(block)
        return digest.hexdigest()

    def finish(self) -> None:
        """Gives the whole files their names, replacing earlier ones; raises FlacUnavailableError."""
        if self._file_format is FileFormat.FLAC:
            for place, part in enumerate(self._parts):
                self._parts[place] = self._to_flac(part)
        for part, target in zip(self._parts, self.targets, strict=True):
            part.replace(target)
        self._close()

    def abandon(self) -> None:
        """Lets a `finish` in another thread give up soon; `discard` is still to be called after it."""
        self._abandoned = True

    def discard(self) -> None:
        """Removes what is not finished."""
        self._close()
        for part in self._parts:
            part.unlink(missing_ok=True)
        if self._made_folder is not None:
            with contextlib.suppress(OSError):
                self._made_folder.rmdir()

    def _close(self) -> None:
        descriptors, self._descriptors = self._descriptors, []
        for descriptor in descriptors:
            os.close(descriptor)

    def _to_flac(self, wav: Path) -> Path:
        check_flac()
        import soundfile

        if self._form.encoding not in FLAC_SUBTYPES:
            raise FlacUnavailableError("FLAC holds 16 or 24 bits a sample; write WAV instead")
        subtype, kind = FLAC_SUBTYPES[self._form.encoding]
        flac = wav.with_name(wav.name.replace(".wav.", ".flac."))
        try:
            with (
                soundfile.SoundFile(wav) as source,
                soundfile.SoundFile(
                    flac, "w", source.samplerate, source.channels, subtype, format="FLAC"
                ) as target,
            ):
                for block in source.blocks(COPY_FRAMES, dtype=kind):
                    if self._abandoned:
                        raise AbandonedError("the files are not wanted any more")
                    target.write(block)
        except BaseException:
            flac.unlink(missing_ok=True)
            raise
        wav.unlink()
        return flac
