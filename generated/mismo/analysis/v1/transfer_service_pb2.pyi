from mismo.analysis.v1 import audio_pb2 as _audio_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UploadAudioRequest(_message.Message):
    __slots__ = ("header", "chunk", "finish")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    header: UploadHeader
    chunk: UploadChunk
    finish: UploadFinish
    def __init__(self, header: _Optional[_Union[UploadHeader, _Mapping]] = ..., chunk: _Optional[_Union[UploadChunk, _Mapping]] = ..., finish: _Optional[_Union[UploadFinish, _Mapping]] = ...) -> None: ...

class UploadHeader(_message.Message):
    __slots__ = ("upload_id", "filename", "total_bytes", "sha256")
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    filename: str
    total_bytes: int
    sha256: str
    def __init__(self, upload_id: _Optional[str] = ..., filename: _Optional[str] = ..., total_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class UploadChunk(_message.Message):
    __slots__ = ("offset", "data", "crc32c")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    offset: int
    data: bytes
    crc32c: int
    def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32c: _Optional[int] = ...) -> None: ...

class UploadFinish(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UploadAudioResponse(_message.Message):
    __slots__ = ("upload_id", "committed_bytes", "complete", "sha256")
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    committed_bytes: int
    complete: bool
    sha256: str
    def __init__(self, upload_id: _Optional[str] = ..., committed_bytes: _Optional[int] = ..., complete: _Optional[bool] = ..., sha256: _Optional[str] = ...) -> None: ...

class GetUploadRequest(_message.Message):
    __slots__ = ("upload_id",)
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    def __init__(self, upload_id: _Optional[str] = ...) -> None: ...

class GetUploadResponse(_message.Message):
    __slots__ = ("upload_id", "committed_bytes", "total_bytes", "complete", "sha256")
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    committed_bytes: int
    total_bytes: int
    complete: bool
    sha256: str
    def __init__(self, upload_id: _Optional[str] = ..., committed_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., complete: _Optional[bool] = ..., sha256: _Optional[str] = ...) -> None: ...

class StreamStemsRequest(_message.Message):
    __slots__ = ("open", "seek", "credit")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    SEEK_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    open: StreamOpen
    seek: StreamSeek
    credit: StreamCredit
    def __init__(self, open: _Optional[_Union[StreamOpen, _Mapping]] = ..., seek: _Optional[_Union[StreamSeek, _Mapping]] = ..., credit: _Optional[_Union[StreamCredit, _Mapping]] = ...) -> None: ...

class StreamOpen(_message.Message):
    __slots__ = ("job_id", "stem_names", "encoding", "start_frame", "chunk_bytes", "credit_bytes", "follow", "resume_points")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STEM_NAMES_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREDIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    RESUME_POINTS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    stem_names: _containers.RepeatedScalarFieldContainer[str]
    encoding: _audio_pb2.Encoding
    start_frame: int
    chunk_bytes: int
    credit_bytes: int
    follow: bool
    resume_points: _containers.RepeatedCompositeFieldContainer[ResumePoint]
    def __init__(self, job_id: _Optional[str] = ..., stem_names: _Optional[_Iterable[str]] = ..., encoding: _Optional[_Union[_audio_pb2.Encoding, str]] = ..., start_frame: _Optional[int] = ..., chunk_bytes: _Optional[int] = ..., credit_bytes: _Optional[int] = ..., follow: _Optional[bool] = ..., resume_points: _Optional[_Iterable[_Union[ResumePoint, _Mapping]]] = ...) -> None: ...

class ResumePoint(_message.Message):
    __slots__ = ("stem_name", "start_frame")
    STEM_NAME_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    stem_name: str
    start_frame: int
    def __init__(self, stem_name: _Optional[str] = ..., start_frame: _Optional[int] = ...) -> None: ...

class StreamSeek(_message.Message):
    __slots__ = ("generation", "start_frame")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    generation: int
    start_frame: int
    def __init__(self, generation: _Optional[int] = ..., start_frame: _Optional[int] = ...) -> None: ...

class StreamCredit(_message.Message):
    __slots__ = ("bytes",)
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    def __init__(self, bytes: _Optional[int] = ...) -> None: ...

class StreamStemsResponse(_message.Message):
    __slots__ = ("info", "chunk", "seek_applied", "not_ready", "end_of_stem", "end")
    INFO_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    SEEK_APPLIED_FIELD_NUMBER: _ClassVar[int]
    NOT_READY_FIELD_NUMBER: _ClassVar[int]
    END_OF_STEM_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    info: StreamInfo
    chunk: StemChunk
    seek_applied: SeekApplied
    not_ready: NotReady
    end_of_stem: EndOfStem
    end: StreamEnd
    def __init__(self, info: _Optional[_Union[StreamInfo, _Mapping]] = ..., chunk: _Optional[_Union[StemChunk, _Mapping]] = ..., seek_applied: _Optional[_Union[SeekApplied, _Mapping]] = ..., not_ready: _Optional[_Union[NotReady, _Mapping]] = ..., end_of_stem: _Optional[_Union[EndOfStem, _Mapping]] = ..., end: _Optional[_Union[StreamEnd, _Mapping]] = ...) -> None: ...

class StreamInfo(_message.Message):
    __slots__ = ("encoding", "stem_names", "total_frames", "sample_rate", "channels", "codec_header", "server_epoch")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    STEM_NAMES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FRAMES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    CODEC_HEADER_FIELD_NUMBER: _ClassVar[int]
    SERVER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    encoding: _audio_pb2.Encoding
    stem_names: _containers.RepeatedScalarFieldContainer[str]
    total_frames: int
    sample_rate: int
    channels: int
    codec_header: bytes
    server_epoch: str
    def __init__(self, encoding: _Optional[_Union[_audio_pb2.Encoding, str]] = ..., stem_names: _Optional[_Iterable[str]] = ..., total_frames: _Optional[int] = ..., sample_rate: _Optional[int] = ..., channels: _Optional[int] = ..., codec_header: _Optional[bytes] = ..., server_epoch: _Optional[str] = ...) -> None: ...

class StemChunk(_message.Message):
    __slots__ = ("stem_index", "generation", "sequence", "start_frame", "frame_count", "data", "crc32c")
    STEM_INDEX_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    stem_index: int
    generation: int
    sequence: int
    start_frame: int
    frame_count: int
    data: bytes
    crc32c: int
    def __init__(self, stem_index: _Optional[int] = ..., generation: _Optional[int] = ..., sequence: _Optional[int] = ..., start_frame: _Optional[int] = ..., frame_count: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32c: _Optional[int] = ...) -> None: ...

class SeekApplied(_message.Message):
    __slots__ = ("generation", "start_frame")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    generation: int
    start_frame: int
    def __init__(self, generation: _Optional[int] = ..., start_frame: _Optional[int] = ...) -> None: ...

class NotReady(_message.Message):
    __slots__ = ("generation", "range")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    generation: int
    range: _audio_pb2.FrameRange
    def __init__(self, generation: _Optional[int] = ..., range: _Optional[_Union[_audio_pb2.FrameRange, _Mapping]] = ...) -> None: ...

class EndOfStem(_message.Message):
    __slots__ = ("stem_index", "generation", "sha256")
    STEM_INDEX_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    stem_index: int
    generation: int
    sha256: str
    def __init__(self, stem_index: _Optional[int] = ..., generation: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class StreamEnd(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: int
    def __init__(self, generation: _Optional[int] = ...) -> None: ...

class ReadStemRequest(_message.Message):
    __slots__ = ("job_id", "stem_name", "encoding", "start_frame", "frame_limit", "follow", "chunk_bytes")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STEM_NAME_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAME_LIMIT_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    stem_name: str
    encoding: _audio_pb2.Encoding
    start_frame: int
    frame_limit: int
    follow: bool
    chunk_bytes: int
    def __init__(self, job_id: _Optional[str] = ..., stem_name: _Optional[str] = ..., encoding: _Optional[_Union[_audio_pb2.Encoding, str]] = ..., start_frame: _Optional[int] = ..., frame_limit: _Optional[int] = ..., follow: _Optional[bool] = ..., chunk_bytes: _Optional[int] = ...) -> None: ...

class ReadStemResponse(_message.Message):
    __slots__ = ("info", "start_frame", "frame_count", "data", "crc32c")
    INFO_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    info: StreamInfo
    start_frame: int
    frame_count: int
    data: bytes
    crc32c: int
    def __init__(self, info: _Optional[_Union[StreamInfo, _Mapping]] = ..., start_frame: _Optional[int] = ..., frame_count: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32c: _Optional[int] = ...) -> None: ...

class GetArtifactRequest(_message.Message):
    __slots__ = ("job_id", "name", "offset")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    name: str
    offset: int
    def __init__(self, job_id: _Optional[str] = ..., name: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class GetArtifactResponse(_message.Message):
    __slots__ = ("total_bytes", "content_type", "offset", "data", "crc32c")
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    total_bytes: int
    content_type: str
    offset: int
    data: bytes
    crc32c: int
    def __init__(self, total_bytes: _Optional[int] = ..., content_type: _Optional[str] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32c: _Optional[int] = ...) -> None: ...
