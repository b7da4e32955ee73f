"""Which exports the stems of a job can have, and the files that each of them consists of. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mismo_grpc.audio.exports.mp3_file import BIT_RATES, MP3_RATES
from mismo_grpc.audio.exports.stem_mp4 import STEM_RATES, has_all_streams
from mismo_grpc.errors import ArtifactNotFoundError, ExportNotPossibleError
from mismo_grpc.jobs.export_options import ExportFormat
from mismo_grpc.jobs.job import Job
from mismo_grpc.separation.stems import StemLayout

STEM_MP4 = "track.stem.mp4"
SUFFIXES = {ExportFormat.FLAC: ".flac", ExportFormat.MP3: ".mp3"}
ZIPS = {ExportFormat.FLAC: "stems-flac.zip", ExportFormat.MP3: "stems-mp3.zip"}


@dataclass(frozen=True)
class ExportFile:
    """One file that is made: its name as an artifact and on the disk; `kbps` is the bit rate of MP3.

    `stem` is "" for a file that has all stems.
    """

    name: str
    format: ExportFormat
    stem: str = ""
    kbps: int = 0

    @property
    def file_name(self) -> str:
        """Its name in the run's folder of exports: jobs that share files may ask for different bit rates."""
        if self.format is not ExportFormat.MP3:
            return self.name
        return f"{self.stem}-{self.kbps}{SUFFIXES[self.format]}"


def is_export(job: Job, name: str) -> bool:
    """Whether an artifact of this name is an export of the job's stems."""
    return format_of(job, name) is not None


def is_export_zip(name: str) -> bool:
    """Whether an artifact of this name is an archive of exports, which is made while it is read."""
    return name in ZIPS.values()


def format_of(job: Job, name: str) -> ExportFormat | None:
    """The format of an export, by its name as an artifact; None if it is none."""
    if name == STEM_MP4:
        return ExportFormat.STEM_MP4
    stems = job.layout.stem_names if job.layout is not None else ()
    for each, suffix in SUFFIXES.items():
        if name == ZIPS[each] or (name.endswith(suffix) and name.removesuffix(suffix) in stems):
            return each
    return None


def files_of(job: Job, name: str) -> tuple[ExportFile, ...]:
    """The files that an export consists of: itself, or those in an archive.

    Raises ArtifactNotFoundError if the job can have none of that name, ExportNotPossibleError if its stems cannot have
    the format.
    """
    layout, kind = job.layout, format_of(job, name)
    if layout is None or kind is None:
        raise ArtifactNotFoundError(
            f"name: job {job.job_id} has no {name[:64]!r}; see its artifacts", field="name"
        )
    check_possible(kind, layout)
    files = _files(job, layout, kind)
    return files if name == ZIPS.get(kind) else tuple(each for each in files if each.name == name)


def files_in(job: Job, formats: Iterable[ExportFormat]) -> tuple[ExportFile, ...]:
    """All files of some formats. Raises ExportNotPossibleError."""
    layout = job.layout
    if layout is None:
        raise ExportNotPossibleError("a job has no exports before its stems are finished")
    for kind in formats:
        check_possible(kind, layout)
    return tuple(file for kind in dict.fromkeys(formats) for file in _files(job, layout, kind))


def _files(job: Job, layout: StemLayout, kind: ExportFormat) -> tuple[ExportFile, ...]:
    if kind is ExportFormat.STEM_MP4:
        return (ExportFile(STEM_MP4, kind),)
    kbps = 0
    if kind is ExportFormat.MP3:
        kbps = job.options.export.mp3_kbps if job.options.export is not None else BIT_RATES[-1]
    return tuple(ExportFile(f"{stem}{SUFFIXES[kind]}", kind, stem, kbps) for stem in layout.stem_names)


def check_possible(kind: ExportFormat, layout: StemLayout) -> None:
    """Raises ExportNotPossibleError unless stems of this layout can have a format."""
    fault = fault_of(kind, layout.stem_names, layout.sample_rate)
    if fault:
        raise ExportNotPossibleError(fault, metadata={"format": kind.name})


def fault_of(kind: ExportFormat, stem_names: Sequence[str], sample_rate: int) -> str:
    """Why these stems cannot have a format, "" if they can; `sample_rate` in Hz, 0 or no names: unknown yet."""
    if kind is ExportFormat.MP3 and sample_rate and sample_rate not in MP3_RATES:
        return (
            f"MP3 has no sample rate of {sample_rate} Hz; ask for FLAC, or for stems with an output.sample_rate of "
            "44100 or 48000"
        )
    if kind is not ExportFormat.STEM_MP4:
        return ""
    if stem_names and not has_all_streams(stem_names):
        return (
            f"STEM_MP4 needs the four stems drums, bass, other and vocals, and this job has {', '.join(stem_names)}; "
            "ask for FLAC or MP3"
        )
    if sample_rate and sample_rate not in STEM_RATES:
        return (
            f"STEM_MP4 needs stems of 44100 or 48000 Hz, and these have {sample_rate} Hz; ask for FLAC, or for stems "
            "with an output.sample_rate of 44100 or 48000"
        )
    return ""
