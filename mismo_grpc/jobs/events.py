"""The events of a job that watchers receive; kept in memory only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from mismo_grpc.jobs.job import StageStatus


class EventKind(IntEnum):
    """What an event is about."""

    STAGE = 1
    SEGMENT_READY = 2
    TERMINAL = 3
    UPDATED = 4


@dataclass(frozen=True)
class Event:
    """One stored change of a job; `time` is in seconds since the epoch.

    `body` is the stage's status (STAGE), the frame ranges that became ready (SEGMENT_READY), or None.
    """

    revision: int
    time: float
    kind: EventKind
    body: StageStatus | tuple[tuple[int, int], ...] | None = None
