"""One StreamStems call of the peer, after docs and comments of the contract, with faults on demand."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import google_crc32c
from google.protobuf.duration_pb2 import Duration
from google.rpc import status_pb2

from mismo.analysis.v1 import audio_pb2, transfer_service_pb2
from tests.unit.client.peer_status import break_off, fail

SAMPLE_RATE = 44_100
FRAME_BYTES = 4
LEAST_CHUNK_BYTES = 4096

Response = transfer_service_pb2.StreamStemsResponse


@dataclass
class StreamFault:
    """What befalls one stream, counted in its messages of audio; None: nothing."""

    break_before_info: bool = False
    break_after: int | None = None
    restart_after: int | None = None
    end_early_after: int | None = None
    corrupt: int | None = None
    leave_out: int | None = None
    status: status_pb2.Status | None = None
    stale_after_seek: int = 0
    seeks_come_alone: bool = False
    """No seek replaces one before it: as if each came when the one before had been dealt with."""
    forget_end: bool = False
    wrong_sha256: bool = False


@dataclass
class StemStreamRecord:
    """What the server saw of one StreamStems call."""

    opened: transfer_service_pb2.StreamOpen
    granted: int = 0
    sent: int = 0
    most_outstanding: int = 0
    smallest_chunk: int = 1 << 30
    credits: list[transfer_service_pb2.StreamCredit] = field(default_factory=list)
    seeks: list[transfer_service_pb2.StreamSeek] = field(default_factory=list)
    reached: dict[str, int] = field(default_factory=dict)
    half_closed: bool = False


def frame_of(message) -> int:
    """The start of an open, a seek or a read."""
    if message.WhichOneof("start") == "start_time":
        return message.start_time.ToNanoseconds() * SAMPLE_RATE // 1_000_000_000
    return message.start_frame


class StemSession:
    """One call to a `peer`: stems in turn, the one furthest behind first, as far as credit goes."""

    def __init__(self, peer, fault: StreamFault, opened: transfer_service_pb2.StreamOpen) -> None:
        self.peer = peer
        self.fault = fault
        self.opened = opened
        self.record = StemStreamRecord(opened, granted=opened.credit.bytes)
        self.inbox: deque[transfer_service_pb2.StreamStemsRequest] = deque()
        self.changed = asyncio.Event()
        self.names = list(opened.stem_names or peer.stems)
        self.generation = opened.generation
        self.bounded = opened.credit.frames > 0
        points = {point.stem_name: point.start_frame for point in opened.resume_points}
        self.begin([points.get(name, frame_of(opened)) for name in self.names], opened.credit.frames)

    def begin(self, frames: list[int], credit_frames: int) -> None:
        self.frames = frames
        self.starts = list(frames)
        self.last_frame = min(frames) + credit_frames
        self.hashes = [hashlib.sha256() for _ in frames]
        self.ended: set[int] = set()
        self.sequence = 0
        self.end_sent = False

    async def messages(self, requests, context) -> AsyncIterator[Response]:
        self.peer.streams.append(self.record)
        listener = asyncio.create_task(self.listen(requests))
        try:
            async for message in self.play(context):
                yield message
        finally:
            listener.cancel()

    async def listen(self, requests) -> None:
        async for message in requests:
            if message.HasField("credit"):
                self.record.credits.append(message.credit)
            else:
                self.record.seeks.append(message.seek)
            self.inbox.append(message)
            self.changed.set()
        self.record.half_closed = True
        self.changed.set()

    async def wait(self) -> None:
        if not self.inbox:
            self.changed.clear()
            await self.changed.wait()

    def obey(self) -> list[Response]:
        """Takes what the client sent; the answers to its seeks, of which the newest that can be done is."""
        seeks: list[transfer_service_pb2.StreamSeek] = []
        frames_since = 0
        while self.inbox and not (self.fault.seeks_come_alone and seeks):
            message = self.inbox.popleft()
            if message.HasField("seek"):
                seeks.append(message.seek)
                frames_since = 0
            else:
                self.record.granted += message.credit.bytes
                self.last_frame += message.credit.frames
                frames_since += message.credit.frames
        refused: list[Response] = []
        while seeks:
            seek = seeks.pop()
            frame = frame_of(seek)
            assert seek.generation > self.generation
            if frame < self.peer.total_frames:
                self.generation = seek.generation
                self.record.granted += seek.credit.bytes + sum(replaced.credit.bytes for replaced in seeks)
                self.begin([frame] * len(self.names), seek.credit.frames + frames_since)
                applied = transfer_service_pb2.SeekApplied(generation=self.generation, start_frame=frame)
                return [Response(seek_applied=applied), *refused[::-1]]
            refusal = transfer_service_pb2.SeekRefused(generation=seek.generation, message="past the end")
            refused.append(Response(seek_refused=refusal))
        return refused[::-1]

    def end_of_stem(self, index: int) -> Response:
        name = self.names[index]
        sha256 = self.hashes[index].hexdigest()
        return Response(
            end_of_stem=transfer_service_pb2.EndOfStem(
                stem_index=index,
                generation=self.generation,
                sha256=sha256[::-1] if self.fault.wrong_sha256 else sha256,
                start_frame=self.starts[index],
                stem_sha256=hashlib.sha256(self.peer.stems[name]).hexdigest() if self.peer.finished else "",
            )
        )

    def not_ready(self, start: int) -> Response:
        return Response(
            not_ready=transfer_service_pb2.NotReady(
                generation=self.generation,
                range=audio_pb2.FrameRange(start_frame=start, end_frame=self.peer.total_frames),
                reason=transfer_service_pb2.NOT_READY_REASON_SEPARATING,
                expected_in=Duration(seconds=2, nanos=500_000_000),
            )
        )

    def affordable(self, start: int, stop: int) -> int | Response:
        """Where the credit ends the chunk, or what is missing for the least chunk."""
        chunk_bytes = self.opened.chunk_bytes or 65_536
        least = min(LEAST_CHUNK_BYTES // FRAME_BYTES, chunk_bytes // FRAME_BYTES, stop - start)
        size = self.record.granted - self.record.sent
        frames = self.last_frame - start if self.bounded else stop - start
        if size >= least * FRAME_BYTES and frames >= least:
            return min(stop, start + size // FRAME_BYTES, start + frames)
        return Response(
            awaiting_credit=transfer_service_pb2.AwaitingCredit(
                generation=self.generation,
                missing_bytes=max(0, least * FRAME_BYTES - size),
                missing_frames=max(0, least - frames),
            )
        )

    def chunk(self, index: int, start: int, stop: int, count: int) -> Response:
        data = self.peer.stems[self.names[index]][start * FRAME_BYTES : stop * FRAME_BYTES]
        record = self.record
        record.most_outstanding = max(record.most_outstanding, record.granted - record.sent)
        record.smallest_chunk = min(record.smallest_chunk, len(data))
        record.sent += len(data)
        record.reached[self.names[index]] = stop
        self.hashes[index].update(data)
        self.frames[index] = stop
        self.sequence += 1
        return Response(
            chunk=transfer_service_pb2.StemChunk(
                stem_index=index,
                generation=self.generation,
                sequence=self.sequence - 1,
                start_frame=start,
                frame_count=stop - start,
                data=data,
                crc32c=google_crc32c.value(data) ^ (self.fault.corrupt == count),
            )
        )

    async def play(self, context) -> AsyncIterator[Response]:
        peer, fault, record = self.peer, self.fault, self.record
        if fault.status is not None:
            await fail(context, fault.status)
        await peer.decoded.wait()
        if fault.break_before_info:
            await break_off(context)
        yield Response(info=peer.info(self.names))
        count = stale = 0
        while True:
            while self.inbox and not (self.inbox[0].HasField("seek") and stale < fault.stale_after_seek):
                for answer in self.obey():
                    yield answer
            stale += bool(self.inbox)
            for index, frame in enumerate(self.frames):
                if frame >= peer.total_frames and index not in self.ended:
                    self.ended.add(index)
                    yield self.end_of_stem(index)
            if len(self.ended) == len(self.names):
                if fault.forget_end or record.half_closed:
                    return
                if not self.end_sent:
                    self.end_sent = True
                    yield Response(end=transfer_service_pb2.StreamEnd(generation=self.generation))
                if not record.half_closed:
                    await self.wait()
                continue
            index = min(
                (i for i in range(len(self.names)) if i not in self.ended), key=self.frames.__getitem__
            )
            start = self.frames[index]
            if start >= peer.ready_frames:
                yield self.not_ready(start)
                peer.held_up.set()
                async with peer.readied:
                    await peer.readied.wait_for(lambda start=start: start < peer.ready_frames)
                continue
            chunk_frames = (self.opened.chunk_bytes or 65_536) // FRAME_BYTES
            stop = self.affordable(start, min(start + chunk_frames, peer.ready_frames, peer.total_frames))
            if isinstance(stop, Response):
                yield stop
                stale = fault.stale_after_seek
                await self.wait()
                continue
            if fault.break_after == count:
                await break_off(context)
            if fault.end_early_after == count:
                return
            if fault.restart_after == count:
                restarting = asyncio.create_task(peer.restart())
                restarting.add_done_callback(lambda task: task.result())
                await asyncio.Event().wait()
            chunk = self.chunk(index, start, stop, count)
            if fault.leave_out != count:
                yield chunk
            count += 1
