"""Messages of the stem streams: protobuf to domain and back. Pure functions."""

from __future__ import annotations

from mismo.analysis.v1 import audio_pb2
from mismo.analysis.v1 import transfer_service_pb2 as transfer
from mismo_grpc.errors import InvalidFieldError, StreamProtocolError
from mismo_grpc.rpc.values import ENCODINGS, encoding_of
from mismo_grpc.streaming.blocks import WireFormat
from mismo_grpc.streaming.messages import (
    Chunk,
    ClientMessage,
    Credit,
    End,
    EndOfStem,
    Info,
    NotReady,
    Open,
    ResumePoint,
    Seek,
    SeekApplied,
    ServerMessage,
)

MAX_NAMES = 64


def client_message(message: transfer.StreamStemsRequest) -> ClientMessage:
    """What a player says; raises StreamProtocolError for nothing at all, InvalidFieldError."""
    kind = message.WhichOneof("message")
    if kind == "credit":
        return Credit(message.credit.bytes)
    if kind == "seek":
        return Seek(message.seek.generation, message.seek.start_frame)
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
        message.start_frame,
        message.chunk_bytes,
        message.credit.bytes,
        message.follow,
        tuple(ResumePoint(point.stem_name, point.start_frame) for point in message.resume_points),
    )


def server_message(message: ServerMessage) -> transfer.StreamStemsResponse:
    """What the session says."""
    response = transfer.StreamStemsResponse()
    match message:
        case Chunk():
            # Set in place: a message passed to a constructor is copied, and its data with it.
            chunk = response.chunk
            chunk.stem_index = message.stem_index
            chunk.generation = message.generation
            chunk.sequence = message.sequence
            chunk.start_frame = message.start_frame
            chunk.frame_count = message.frame_count
            chunk.data = message.data
            chunk.crc32c = message.crc32c
        case NotReady():
            response.not_ready.generation = message.generation
            response.not_ready.range.CopyFrom(
                audio_pb2.FrameRange(start_frame=message.start_frame, end_frame=message.end_frame)
            )
        case SeekApplied():
            response.seek_applied.generation = message.generation
            response.seek_applied.start_frame = message.start_frame
        case Info():
            response.info.CopyFrom(info_message(message))
        case EndOfStem():
            response.end_of_stem.stem_index = message.stem_index
            response.end_of_stem.generation = message.generation
            response.end_of_stem.sha256 = message.sha256
        case End():
            response.end.SetInParent()
            response.end.generation = message.generation
    return response


def info_message(info: Info) -> transfer.StreamInfo:
    """What a stream is going to carry."""
    return transfer.StreamInfo(
        encoding=ENCODINGS[info.encoding],
        stem_names=info.stem_names,
        total_frames=info.total_frames,
        sample_rate=info.sample_rate,
        channels=info.channels,
        codec_header=info.codec_header,
        server_epoch=info.server_epoch,
    )


def stem_info(stem_name: str, wire_format: WireFormat, server_epoch: str) -> transfer.StreamInfo:
    """What a stream of one stem is going to carry."""
    layout = wire_format.layout
    return info_message(
        Info(
            wire_format.encoding,
            (stem_name,),
            layout.total_frames,
            layout.sample_rate,
            layout.channels,
            wire_format.codec_header,
            server_epoch,
        )
    )
