"""A process that watches one job over many streams.

`python -m benchmarks.cases.watch_process TARGET JOB STREAMS CHANNELS` prints a line once every stream has its snapshot,
and a JSON object when the job has ended: the delay of every stage and segment_ready event from the server's timestamp
to its arrival here (seconds, same machine), how many streams received the end, and the fewest and most ready frames
that a stream received.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence

import grpc

from mismo.analysis.v1 import job_service_pb2_grpc
from mismo.analysis.v1.job_service_pb2 import WatchJobRequest, WatchJobResponse

LIMIT_SECONDS = 300.0


class Watchers:
    """All streams and the events that they received."""

    def __init__(self, streams: int) -> None:
        self._unopened = streams
        self.opened = asyncio.Event()
        self.delays: list[float] = []
        self.ready_frames: list[int] = []
        self.terminals = 0

    async def watch(self, stub: job_service_pb2_grpc.JobServiceAsyncStub, job_id: str) -> None:
        """Watches one stream until the job ends."""
        frames = 0
        async for event in stub.WatchJob(WatchJobRequest(job_id=job_id)):
            now = time.time()
            kind = event.WhichOneof("event")
            if kind == "snapshot":
                frames = sum(r.end_frame - r.start_frame for r in event.snapshot.stem_set.ready)
                self._unopened -= 1
                if not self._unopened:
                    self.opened.set()
            elif kind == "segment_ready":
                # Events may be merged, but in the end every stream must have received the same ready frames.
                frames += sum(r.end_frame - r.start_frame for r in event.segment_ready.ranges)
                self._note(event, now)
            elif kind == "stage":
                self._note(event, now)
            elif kind == "terminal":
                self.terminals += 1
        self.ready_frames.append(frames)

    def _note(self, event: WatchJobResponse, now: float) -> None:
        if self.opened.is_set():
            self.delays.append(now - event.time.ToNanoseconds() / 1e9)


async def main(target: str, job_id: str, streams: int, channels: int) -> None:
    """Opens the streams, watches and reports; raises TimeoutError."""
    # A subchannel pool for each channel: otherwise channels to the same address share one connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    open_channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(channels)]
    watchers = Watchers(streams)
    async with asyncio.timeout(LIMIT_SECONDS):
        stubs = [job_service_pb2_grpc.JobServiceStub(channel) for channel in open_channels]
        async with asyncio.TaskGroup() as group:
            for number in range(streams):
                group.create_task(watchers.watch(stubs[number % channels], job_id))
            await watchers.opened.wait()
            print("opened", flush=True)
    for channel in open_channels:
        await channel.close()
    report = {
        "delays_seconds": watchers.delays,
        "terminals": watchers.terminals,
        "frames_min": min(watchers.ready_frames),
        "frames_max": max(watchers.ready_frames),
    }
    print(json.dumps(report))


def arguments(values: Sequence[str]) -> tuple[str, str, int, int]:
    """Parses the command line."""
    target, job_id, streams, channels = values
    return target, job_id, int(streams), int(channels)


if __name__ == "__main__":
    asyncio.run(main(*arguments(sys.argv[1:])))
