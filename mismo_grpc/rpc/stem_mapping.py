"""Converts the messages of the stem streams from and to protobuf. Pure functions."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from mismo.analysis.v1 import audio_pb2
from mismo.analysis.v1 import transfer_service_pb2 as transfer
from mismo_grpc.errors import InvalidFieldError, StreamProtocolError
from mismo_grpc.rpc.values import ENCODINGS, duration, encoding_of, nanoseconds_of
from mismo_grpc.streaming.messages import (
    AwaitingCredit,
    Chunk,
    ClientMessage,
    Credit,
    End,
    EndOfStem,
    Info,
    NotReady,
    NotReadyReason,
    Open,
    ResumePoint,
    Seek,
    SeekApplied,
    SeekRefused,
    ServerMessage,
)
from mismo_grpc.streaming.positions import Position, TimePosition

MAX_NAMES = 64

_REASONS: dict[NotReadyReason, transfer.NotReadyReason] = {
    NotReadyReason.QUEUED: transfer.NOT_READY_REASON_QUEUED,
    NotReadyReason.DECODING: transfer.NOT_READY_REASON_DECODING,
    NotReadyReason.SEPARATING: transfer.NOT_READY_REASON_SEPARATING,
    NotReadyReason.WAITING_FOR_DEVICE: transfer.NOT_READY_REASON_WAITING_FOR_DEVICE,
}


def client_message(message: transfer.StreamStemsRequest) -> ClientMessage:
    """Converts a message of a client; raises StreamProtocolError for an empty message, InvalidFieldError."""
    kind = message.WhichOneof("message")
    if kind == "credit":
        return _credit(message.credit)
    if kind == "seek":
        seek = message.seek
        return Seek(seek.generation, start_of(seek, "seek.start_time"), _credit(seek.credit))
    if kind == "open":
        return _open(message.open)
    raise StreamProtocolError("a message must be open, seek or credit; check the client's stubs")


def _open(message: transfer.StreamOpen) -> Open:
    for names, field in ((message.stem_names, "stem_names"), (message.resume_points, "resume_points")):
        if len(names) > MAX_NAMES:
            raise InvalidFieldError(f"open.{field}: at most {MAX_NAMES}", field=f"open.{field}")
    return Open(
        message.job_id,
        tuple(message.stem_names),
        encoding_of(message.encoding, "open.encoding"),
        start_of(message, "open.start_time"),
        message.chunk_bytes,
        _credit(message.credit),
        message.follow,
        tuple(ResumePoint(point.stem_name, point.start_frame) for point in message.resume_points),
        message.generation,
        message.expected_run_id,
    )


def _credit(message: transfer.StreamCredit) -> Credit:
    return Credit(message.bytes, message.frames)


def start_of(
    message: transfer.StreamOpen | transfer.StreamSeek | transfer.ReadStemRequest, time_field: str
) -> Position:
    """The start position, 0 if none is given; raises InvalidFieldError for an invalid duration."""
    if message.WhichOneof("start") == "start_time":
        return _time(message.start_time, time_field)
    return message.start_frame


def limit_of(message: transfer.ReadStemRequest) -> Position:
    """The length to read, 0 for all; raises InvalidFieldError for an invalid duration."""
    if message.WhichOneof("limit") == "time_limit":
        return _time(message.time_limit, "time_limit")
    return message.frame_limit


def _time(message: Duration, field: str) -> TimePosition:
    return TimePosition(nanoseconds_of(message, field))


def server_message(message: ServerMessage) -> transfer.StreamStemsResponse:
    """Converts a message of the session."""
    response = transfer.StreamStemsResponse()
    match message:
        case Chunk():
            # Set in place, because a message passed to a constructor is copied with its data.
            chunk = response.chunk
            chunk.stem_index = message.stem_index
            chunk.generation = message.generation
            chunk.sequence = message.sequence
            chunk.start_frame = message.start_frame
            chunk.frame_count = message.frame_count
            chunk.data = message.data
            chunk.crc32c = message.crc32c
        case NotReady():
            response.not_ready.CopyFrom(_not_ready(message))
        case AwaitingCredit():
            response.awaiting_credit.generation = message.generation
            response.awaiting_credit.missing_bytes = message.missing_bytes
            response.awaiting_credit.missing_frames = message.missing_frames
        case SeekApplied():
            response.seek_applied.generation = message.generation
            response.seek_applied.start_frame = message.start_frame
        case SeekRefused():
            response.seek_refused.generation = message.generation
            response.seek_refused.message = message.message
        case Info():
            response.info.CopyFrom(info_message(message))
        case EndOfStem():
            end = response.end_of_stem
            end.stem_index = message.stem_index
            end.generation = message.generation
            end.sha256 = message.sha256
            end.start_frame = message.start_frame
            end.stem_sha256 = message.stem_sha256
        case End():
            response.end.SetInParent()
            response.end.generation = message.generation
    return response


def _not_ready(message: NotReady) -> transfer.NotReady:
    answer = transfer.NotReady(generation=message.generation, reason=_REASONS[message.reason])
    if message.start_frame is not None and message.end_frame is not None:
        answer.range.CopyFrom(
            audio_pb2.FrameRange(start_frame=message.start_frame, end_frame=message.end_frame)
        )
    if message.expected_seconds is not None:
        answer.expected_in.CopyFrom(duration(message.expected_seconds))
    return answer


def info_message(info: Info) -> transfer.StreamInfo:
    """Converts the description of a stream."""
    message = transfer.StreamInfo(
        job_id=info.job_id,
        run_id=info.run_id,
        server_epoch=info.server_epoch,
        model=info.model,
        encoding=ENCODINGS[info.encoding],
        stem_names=info.stem_names,
        total_frames=info.total_frames,
        sample_rate=info.sample_rate,
        channels=info.channels,
        bits_per_sample=info.bits_per_sample,
        codec_header=info.codec_header,
        chunk_bytes=info.chunk_bytes,
        max_chunk_frames=info.max_chunk_frames,
        segment_frames=info.segment_frames,
    )
    if info.idle_seconds > 0:
        message.idle_timeout.CopyFrom(duration(info.idle_seconds))
    return message
