"""Why frames of a running job are not final yet, and when they are expected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.separation.engine import Separation
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.streaming.messages import NotReadyReason

LOOK_AHEAD_SECONDS = 1.0
"""A sample rate converter needs some input frames past the frames that it produces."""


class SegmentWait:
    """The waits for segments of one job; on the event loop only. Frames are at the stems' sample rate."""

    def __init__(
        self,
        active: ActiveJob,
        scheduler: Scheduler,
        segment_seconds: Callable[[str], float],
        seconds_of: Callable[[object], float],
    ) -> None:
        """`segment_seconds` is the time of a segment, `seconds_of` gives it for a scheduled job; both 0 if unknown."""
        self._active = active
        self._scheduler = scheduler
        self._segment_seconds = segment_seconds
        self._seconds_of = seconds_of

    def announce(self) -> None:
        """Wakes the job's readers whenever one of its segments begins, because the reason of their wait may change."""
        separation = self._active.separation
        if separation is None:
            return
        loop, changed = asyncio.get_running_loop(), self._active.stems_changed

        def on_taken() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(changed.notify)

        # All readers set the same callback.
        separation.scheduled.on_taken = on_taken

    def reason(self, frame: int) -> NotReadyReason:
        """Why a frame is not final yet."""
        separation = self._active.separation
        if separation is None:
            # Without stems it was stopped, and the job continues in other files; with stems they are generated.
            return NotReadyReason.QUEUED if self._active.stems is None else NotReadyReason.SEPARATING
        needed = _needed(separation, frame)
        if not needed or self._scheduler.is_taken(separation.scheduled, needed):
            return NotReadyReason.SEPARATING
        return NotReadyReason.WAITING_FOR_DEVICE

    def expected_seconds(self, frame: int) -> float | None:
        """When a frame is expected, in seconds from now; None until the segments ahead of it have a measured time."""
        separation = self._active.separation
        if separation is None:
            return None
        own_seconds = self._segment_seconds(self._active.job.model)
        if own_seconds <= 0:
            return None
        taken_ago = self._scheduler.taken_ago
        seconds = max(0.0, own_seconds - taken_ago) if taken_ago is not None else 0.0
        for job, segments in self._scheduler.ahead_of(separation.scheduled, _needed(separation, frame)):
            each = own_seconds if job is separation.scheduled else self._seconds_of(job)
            if segments and each <= 0:
                return None
            seconds += segments * each
        return seconds


def _needed(separation: Separation, frame: int) -> list[int]:
    """The segments that are not done and contain a frame; if there are none, the next ones."""
    start = separation.mix_frame(frame)
    ahead = int(LOOK_AHEAD_SECONDS * separation.spec.mix.sample_rate)
    done = separation.record.done
    for end in (start + 1, start + ahead):
        needed = [s.index for s in separation.plan.covering(start, end) if s.index not in done]
        if needed:
            return needed
    return []
