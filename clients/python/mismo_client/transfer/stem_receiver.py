"""What a stream of stems has delivered: messages in, events out. Knows no connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mismo.analysis.v1 import transfer_service_pb2
from mismo.analysis.v1.audio_pb2 import ENCODING_PCM_S16LE, Encoding
from mismo_client.errors import SeekRefusedError, StreamCorruptError
from mismo_client.runs import StreamRun
from mismo_client.transfer.checksum import RunningSha256, crc32c
from mismo_client.transfer.positions import Position
from mismo_client.transfer.stem_credit import CreditAccount, Window
from mismo_client.transfer.stem_events import (
    AwaitingCredit,
    EndOfStem,
    NotReady,
    SeekApplied,
    SeekRefused,
    StemChunk,
    StemEvent,
    StreamEnd,
)
from mismo_client.transfer.stem_format import StemFormat

Response = transfer_service_pb2.StreamStemsResponse


@dataclass(frozen=True)
class StemRequest:
    """What to stream, and how much of it may be on its way.

    With `follow` the server separates first what this player needs next. `chunk_bytes` 0: the
    server's default. `expected_run_id` empty: the job's newest run. Raises ValueError.
    """

    job_id: str
    expected_run_id: str = ""
    stem_names: Sequence[str] = ()
    encoding: Encoding = ENCODING_PCM_S16LE
    start: Position = field(default_factory=lambda: Position(frame=0))
    follow: bool = False
    window: Window = field(default_factory=Window)
    chunk_bytes: int = 0

    def __post_init__(self) -> None:
        self.window.check(self.encoding)


class Place(NamedTuple):
    """Where a stream stands.

    `next_frames` by the index of the stem, of stems that brought something; `hashes` are of what they
    brought on this connection.
    """

    generation: int
    start: Position
    next_frames: dict[int, int]
    hashes: RunningSha256
    finished: bool = False

    @classmethod
    def at(cls, generation: int, start: Position) -> Place:
        """Where a generation begins."""
        return cls(generation, start, {}, RunningSha256())

    def next_frame(self, index: int, sample_rate: int) -> int:
        """The first frame of a stem that it did not bring; `sample_rate` in Hz."""
        return self.next_frames.get(index, self.start.at(sample_rate))


class StemReceiver:
    """Where each stem stands, over all connections of one stream.

    It says what to send (`open_message`, `seek_message`, `credit_due`) and takes what arrives (`take`).
    Until the length of the track is known, the server alone can tell whether a seek leads past its end: so
    a connection begins at the last place that is certain, and the seek follows it.
    """

    def __init__(self, request: StemRequest) -> None:
        self._request = request
        self._run = StreamRun(request.job_id, request.expected_run_id)
        self.format: StemFormat | None = None
        self.place = Place.at(0, request.start)
        self.not_ready: NotReady | None = None
        self.stem_sha256: dict[str, str] = {}
        self.stale_bytes = 0
        self.credit = CreditAccount(request.window)
        # Places that seeks left behind whose answer has not come yet; a refused seek returns there. The
        # first is the one that the server sends.
        self._left: list[Place] = []
        self._last_generation = 0
        # Something of the place that the server sends was dropped, because a seek had left it.
        self._dropped = False

    @property
    def run_id(self) -> str:
        """The run that is streamed; empty until the stream has begun."""
        return self._run.run_id

    def next_frame(self, index: int, form: StemFormat) -> int:
        """The first frame of a stem that was not delivered since the last seek."""
        return self.place.next_frame(index, form.sample_rate)

    def open_message(self) -> transfer_service_pb2.StreamOpen:
        """The first message of a connection: goes on where each stem stands, in the same run.

        If its generation is not the present one, a seek must follow it.
        """
        if self._left and self.format is not None and self._is_within(self.place, self.format):
            self._left.clear()
        # A checksum of the server begins with each connection.
        if self._left:
            place = self._left[0] = self._left[0]._replace(hashes=RunningSha256())
        else:
            place = self.place = self.place._replace(hashes=RunningSha256())
        self._dropped = False
        names = self.format.stem_names if self.format is not None else ()
        return transfer_service_pb2.StreamOpen(
            job_id=self._request.job_id,
            expected_run_id=self.run_id,
            stem_names=self._request.stem_names,
            encoding=self._request.encoding,
            start_frame=place.start.frame,
            start_time=place.start.duration,
            chunk_bytes=self._request.chunk_bytes,
            credit=self.credit.open(place.generation),
            follow=self._request.follow,
            resume_points=[
                transfer_service_pb2.ResumePoint(stem_name=names[index], start_frame=frame)
                for index, frame in sorted(place.next_frames.items())
            ],
            generation=place.generation,
        )

    def seek(self, target: Position) -> int:
        """Begins a generation at `target` and answers its number; raises SeekRefusedError."""
        form = self.format
        if form is not None:
            target = Position(frame=target.at(form.sample_rate))
            if target.at(form.sample_rate) >= form.total_frames:
                raise SeekRefusedError(
                    self._last_generation + 1,
                    f"frame {target.frame} lies at or past the end of the track, which has "
                    f"{form.total_frames} frames; seek to an earlier one",
                )
        self._last_generation += 1
        self._left.append(self.place)
        self._go_to(Place.at(self._last_generation, target))
        return self._last_generation

    def seek_message(self) -> transfer_service_pb2.StreamSeek:
        """Takes the server where `seek` went, with credit for the audio there."""
        return transfer_service_pb2.StreamSeek(
            generation=self.place.generation,
            start_frame=self.place.start.frame,
            start_time=self.place.start.duration,
            credit=self.credit.seek(self.place.generation),
        )

    def credit_due(self) -> transfer_service_pb2.StreamCredit | None:
        """The credit to give back, if that is enough for a message."""
        if self.format is None:
            return None
        return self.credit.due(self._delivered(self.place, self.format))

    def take(self, message: Response) -> StemEvent | None:
        """The event of a message; None for one of an older generation, or with nothing for the consumer.

        Raises StreamCorruptError, ChecksumError, RunReplacedError.
        """
        kind = message.WhichOneof("message")
        if kind == "chunk":
            return self._take_chunk(message.chunk)
        if kind == "info":
            self._take_info(message.info)
        elif kind == "seek_refused":
            return self._take_refusal(message.seek_refused)
        elif kind == "seek_applied":
            return self._take_applied(message.seek_applied)
        elif kind == "not_ready" and self._current(message.not_ready.generation):
            self.not_ready = NotReady.of(message.not_ready)
            return self.not_ready
        elif kind == "awaiting_credit" and self._current(message.awaiting_credit.generation):
            return AwaitingCredit.of(message.awaiting_credit)
        elif kind == "end_of_stem" and self._current(message.end_of_stem.generation):
            return self._take_end_of_stem(message.end_of_stem)
        elif kind == "end" and self._current(message.end.generation):
            self._check_whole()
            self.place = self.place._replace(finished=True)
            return StreamEnd(message.end.generation)
        else:
            self._dropped = True
        return None

    def _current(self, generation: int) -> bool:
        return generation == self.place.generation

    def _go_to(self, place: Place) -> None:
        self.place = place
        self.not_ready = None

    @staticmethod
    def _delivered(place: Place, form: StemFormat) -> int:
        """The frame up to which every stem was delivered."""
        return min(place.next_frame(index, form.sample_rate) for index in range(len(form.stem_names)))

    @staticmethod
    def _is_within(place: Place, form: StemFormat) -> bool:
        """The place begins before the end of the track."""
        return place.start.at(form.sample_rate) < form.total_frames

    def _take_info(self, info: transfer_service_pb2.StreamInfo) -> None:
        self._run.check(info.run_id)
        form = StemFormat.of(info)
        if self.format is not None and form != self.format:
            raise StreamCorruptError(f"run {info.run_id} of job {info.job_id} changed its form")
        self.format = form
        self.credit.know(form.sample_rate)
        opened = self._left[0] if self._left else self.place
        self.credit.begun(opened.generation, self._delivered(opened, form))
        # What came before has told nothing that lasts.
        self._dropped = False

    def _take_applied(self, applied: transfer_service_pb2.SeekApplied) -> SeekApplied | None:
        self.credit.begun(applied.generation, applied.start_frame)
        self._left = [place for place in self._left if place.generation >= applied.generation]
        self._dropped = False
        if not self._current(applied.generation):
            return None
        return SeekApplied(applied.generation, applied.start_frame)

    def _take_refusal(self, refused: transfer_service_pb2.SeekRefused) -> SeekRefused | None:
        form = self._known_format()
        self.credit.refused(refused.generation)
        if not self._current(refused.generation) or not self._left:
            # A later seek has taken its place already.
            self._left = [place for place in self._left if place.generation != refused.generation]
            return None
        while len(self._left) > 1 and not self._is_within(self._left[-1], form):
            self._left.pop()
        self._go_to(self._left.pop())
        return SeekRefused(refused.generation, refused.message)

    @property
    def goes_on(self) -> bool:
        """After a refused seek: this connection brings all that the place before it lacks."""
        return not self._left and not self._dropped and self.credit.answered

    def _take_chunk(self, chunk: transfer_service_pb2.StemChunk) -> StemChunk | None:
        data = chunk.data
        self.credit.arrived(len(data))
        if not self._current(chunk.generation):
            self.stale_bytes += len(data)
            self._dropped = True
            return None
        if crc32c(data) != chunk.crc32c:
            raise StreamCorruptError(f"a chunk at frame {chunk.start_frame} does not fit its checksum")
        form = self._known_format()
        index, start, count = chunk.stem_index, chunk.start_frame, chunk.frame_count
        name = form.stem_names[index]
        expected = self.place.next_frames.get(index)
        if expected is None and form.is_pcm:
            # FLAC begins at the start of its own frame.
            expected = self.place.start.frame
        if expected is not None and start != expected:
            raise StreamCorruptError(f"{name} went on at frame {start} instead of {expected}")
        if index not in self.place.next_frames:
            self.credit.first_chunk(start)
        self.place.hashes.update(index, data)
        self.place.next_frames[index] = start + count
        self.not_ready = None
        return StemChunk(index, name, start, count, data, chunk.generation)

    def _take_end_of_stem(self, end: transfer_service_pb2.EndOfStem) -> EndOfStem:
        name = self._known_format().stem_names[end.stem_index]
        what = f"{name} of job {self._request.job_id} from frame {end.start_frame} on"
        self.place.hashes.verify(end.stem_index, end.sha256, what)
        if end.stem_sha256:
            self.stem_sha256[name] = end.stem_sha256
        return EndOfStem(end.stem_index, name, end.generation, end.sha256, end.start_frame, end.stem_sha256)

    def _check_whole(self) -> None:
        form = self._known_format()
        for index, name in enumerate(form.stem_names):
            reached = self.next_frame(index, form)
            if reached < form.total_frames:
                raise StreamCorruptError(f"{name} ended at frame {reached} of {form.total_frames}")

    def _known_format(self) -> StemFormat:
        if self.format is None:
            raise StreamCorruptError("the stream did not begin with its form")
        return self.format
