"""The formats in which finished stems can be had besides WAV."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from mismo_grpc.audio.exports.mp3_file import BIT_RATES
from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.jobs.stored_enum import StoredByName


class ExportFormat(StoredByName, IntEnum):
    """A format of STAGE_EXPORT; numbered as in the contract."""

    FLAC = 1
    MP3 = 2
    STEM_MP4 = 3


@dataclass(frozen=True)
class ExportOptions:
    """The formats that a job asks for, and the bit rate of its MP3 files in kbit/s."""

    formats: tuple[ExportFormat, ...]
    mp3_kbps: int = BIT_RATES[-1]

    def __post_init__(self) -> None:
        if not self.formats:
            raise InvalidFieldError(
                "options.export.formats is empty; name at least one of FLAC, MP3 and STEM_MP4",
                field="options.export.formats",
            )
        if self.mp3_kbps not in BIT_RATES:
            rates = ", ".join(map(str, BIT_RATES))
            raise InvalidFieldError(
                f"options.export.mp3_kbps must be one of {rates}, or 0 for {BIT_RATES[-1]}",
                field="options.export.mp3_kbps",
            )
