"""Arguments and options that commands share, and how their text is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from mismo.analysis.v1 import job_pb2
from mismo.analysis.v1.stage_pb2 import Stage
from mismo_client.command.sources import FileOrBlob, track_source
from mismo_client.stages import stage_of
from mismo_client.timecode import parse_timecode

TARGET = re.compile(r"(?:[^\s:]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
LIFETIME = re.compile(r"(\d{1,9}(?:\.\d+)?)([smhd])")
SECONDS_OF = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class PriorityName(StrEnum):
    """Who goes first."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class StateName(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


PRIORITIES: dict[PriorityName, job_pb2.Priority] = {
    PriorityName.LOW: job_pb2.PRIORITY_LOW,
    PriorityName.NORMAL: job_pb2.PRIORITY_NORMAL,
    PriorityName.HIGH: job_pb2.PRIORITY_HIGH,
}
STATES: dict[StateName, job_pb2.JobState] = {
    StateName.QUEUED: job_pb2.JOB_STATE_QUEUED,
    StateName.RUNNING: job_pb2.JOB_STATE_RUNNING,
    StateName.SUCCEEDED: job_pb2.JOB_STATE_SUCCEEDED,
    StateName.FAILED: job_pb2.JOB_STATE_FAILED,
    StateName.CANCELLED: job_pb2.JOB_STATE_CANCELLED,
}


def checked_target(text: str) -> str:
    """HOST:PORT; raises BadParameter."""
    if not TARGET.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no HOST:PORT, such as 127.0.0.1:50051")
    return text


def seconds(text: str, option: str) -> float:
    """Of a time as people write it; raises BadParameter, which names the option."""
    try:
        return parse_timecode(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def lifetime(text: str, option: str) -> float:
    """Seconds of a time such as 90s, 30m, 1h or 7d; raises BadParameter, which names the option."""
    found = LIFETIME.fullmatch(text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time such as 90s, 30m, 1h or 7d", param_hint=option)
    return float(found[1]) * SECONDS_OF[found[2]]


def chords(text: str) -> tuple[str, ...]:
    """Of a text such as "Am F C G" or "C - G - Am - F"."""
    return tuple(chord for chord in re.split(r"[\s,|]+", text) if chord not in {"", "-"})


def stem_names(text: str) -> tuple[str, ...]:
    """Of a list with commas; raises BadParameter."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if text and not names:
        raise typer.BadParameter("name at least one stem, such as vocals,drums", param_hint="--stems")
    return names


def check_stems(stems: str, two_stems: str) -> None:
    """Raises BadParameter if both are given."""
    if stems and two_stems:
        raise typer.BadParameter("--stems and --two-stems exclude each other; give one")


def labels(texts: Sequence[str]) -> dict[str, str]:
    """Of KEY=VALUE, each key once; raises BadParameter."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{text!r} is no KEY=VALUE, such as deck=A", param_hint="--label")
        if key in found:
            raise typer.BadParameter(f"the label {key!r} is given twice", param_hint="--label")
        found[key] = value
    return found


def stages(texts: Sequence[str]) -> tuple[Stage, ...]:
    """Of names, also several with commas; raises BadParameter."""
    try:
        return tuple(stage_of(name.strip()) for text in texts for name in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--stage") from None


Track = Annotated[
    FileOrBlob,
    typer.Argument(
        parser=track_source,
        show_default=False,
        help="An audio file, or a blob: az://container/song.mp3.",
    ),
]
BlobPrefix = Annotated[
    str,
    typer.Option(
        "--blob-prefix",
        metavar="FOLDERS",
        help="Where the results go in the server's blob container: albums/42.",
        show_default="the job's id",
    ),
]
Model = Annotated[str, typer.Option(help="A model of `mismo models`; the server's default if left out.")]
Stems = Annotated[str, typer.Option(metavar="NAMES", help="Some stems only: vocals,drums.")]
TwoStems = Annotated[
    str, typer.Option(metavar="NAME", help="One stem and all the rest: vocals and no_vocals.")
]
Playhead = Annotated[
    str,
    typer.Option(metavar="TIME", help="Begin here: 90, 1:30, 1:02:03.5. The files are whole all the same."),
]
Upload = Annotated[
    bool, typer.Option("--upload", help="Send the file; without it the server reads the path itself.")
]
PriorityOption = Annotated[PriorityName, typer.Option(help="A higher one overtakes between two segments.")]
Shifts = Annotated[int, typer.Option(min=0, max=20, help="Average this many shifted passes.")]
Overlap = Annotated[
    float | None, typer.Option(min=0.0, max=0.95, show_default="0.25", help="How far segments overlap.")
]
States = Annotated[
    list[StateName] | None, typer.Option("--state", help="Only jobs in this state; repeatable.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Only jobs with this label; repeatable."),
]
Server = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="MISMO_SERVER",
        metavar="HOST:PORT",
        callback=checked_target,
        help="The server to ask.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on a line, for programs.")]
DEFAULT_SERVER = "127.0.0.1:50051"
