"""Options that commands share, and how their text is read."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

from mismo.analysis.v1 import job_pb2
from mismo_client.command.timecode import parse_timecode

TARGET = re.compile(r"(?:[^\s:]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")


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


def seconds(text: str) -> float:
    """Of a time as people write it; raises BadParameter."""
    try:
        return parse_timecode(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def stem_names(text: str) -> tuple[str, ...]:
    """Of a list with commas; raises BadParameter."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if text and not names:
        raise typer.BadParameter("name at least one stem, such as vocals,drums")
    return names


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
