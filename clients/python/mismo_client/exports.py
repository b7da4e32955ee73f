"""The formats that finished stems can be had in besides WAV, by the names that people use."""

from __future__ import annotations

from collections.abc import Sequence

from mismo.analysis.v1 import stage_pb2
from mismo.analysis.v1.stage_pb2 import (
    EXPORT_FORMAT_FLAC,
    EXPORT_FORMAT_MP3,
    EXPORT_FORMAT_STEM_MP4,
    ExportFormat,
)

EXPORT_FORMATS: dict[str, ExportFormat] = {
    "flac": EXPORT_FORMAT_FLAC,
    "mp3": EXPORT_FORMAT_MP3,
    "stem.mp4": EXPORT_FORMAT_STEM_MP4,
}
STEM_MP4 = "track.stem.mp4"


def export_options(formats: Sequence[str], mp3_kbps: int = 0) -> stage_pb2.ExportOptions | None:
    """The message of an export, None without formats; raises ValueError for a format that there is not."""
    if isinstance(formats, str):
        raise ValueError(f"export must be a list of formats, such as {formats.split(',')!r}")
    for name in formats:
        if name not in EXPORT_FORMATS:
            raise ValueError(f"export: {name!r} is none of {', '.join(EXPORT_FORMATS)}")
    if not formats:
        return None
    return stage_pb2.ExportOptions(formats=[EXPORT_FORMATS[name] for name in formats], mp3_kbps=mp3_kbps)


def exported_names(export: str, stem_names: Sequence[str]) -> list[str]:
    """The names of the artifacts that a format has, without archives."""
    return [STEM_MP4] if export == "stem.mp4" else [f"{stem}.{export}" for stem in stem_names]
