import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from mismo.analysis.v1 import audio_pb2 as _audio_pb2
from mismo.analysis.v1 import job_pb2 as _job_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NotReadyReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOT_READY_REASON_UNSPECIFIED: _ClassVar[NotReadyReason]
    NOT_READY_REASON_QUEUED: _ClassVar[NotReadyReason]
    NOT_READY_REASON_DECODING: _ClassVar[NotReadyReason]
    NOT_READY_REASON_SEPARATING: _ClassVar[NotReadyReason]
    NOT_READY_REASON_WAITING_FOR_DEVICE: _ClassVar[NotReadyReason]
NOT_READY_REASON_UNSPECIFIED: NotReadyReason
NOT_READY_REASON_QUEUED: NotReadyReason
NOT_READY_REASON_DECODING: NotReadyReason
NOT_READY_REASON_SEPARATING: NotReadyReason
NOT_READY_REASON_WAITING_FOR_DEVICE: NotReadyReason

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
    __slots__ = ("job_id", "expected_run_id", "stem_names", "encoding", "start_frame", "start_time", "chunk_bytes", "credit", "follow", "resume_points", "generation")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEM_NAMES_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    RESUME_POINTS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    expected_run_id: str
    stem_names: _containers.RepeatedScalarFieldContainer[str]
    encoding: _audio_pb2.Encoding
    start_frame: int
    start_time: _duration_pb2.Duration
    chunk_bytes: int
    credit: StreamCredit
    follow: bool
    resume_points: _containers.RepeatedCompositeFieldContainer[ResumePoint]
    generation: int
    def __init__(self, job_id: _Optional[str] = ..., expected_run_id: _Optional[str] = ..., stem_names: _Optional[_Iterable[str]] = ..., encoding: _Optional[_Union[_audio_pb2.Encoding, str]] = ..., start_frame: _Optional[int] = ..., start_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., chunk_bytes: _Optional[int] = ..., credit: _Optional[_Union[StreamCredit, _Mapping]] = ..., follow: _Optional[bool] = ..., resume_points: _Optional[_Iterable[_Union[ResumePoint, _Mapping]]] = ..., generation: _Optional[int] = ...) -> None: ...

class ResumePoint(_message.Message):
    __slots__ = ("stem_name", "start_frame")
    STEM_NAME_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    stem_name: str
    start_frame: int
    def __init__(self, stem_name: _Optional[str] = ..., start_frame: _Optional[int] = ...) -> None: ...

class StreamSeek(_message.Message):
    __slots__ = ("generation", "start_frame", "start_time", "credit")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    generation: int
    start_frame: int
    start_time: _duration_pb2.Duration
    credit: StreamCredit
    def __init__(self, generation: _Optional[int] = ..., start_frame: _Optional[int] = ..., start_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., credit: _Optional[_Union[StreamCredit, _Mapping]] = ...) -> None: ...

class StreamCredit(_message.Message):
    __slots__ = ("bytes", "frames")
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    frames: int
    def __init__(self, bytes: _Optional[int] = ..., frames: _Optional[int] = ...) -> None: ...

class StreamStemsResponse(_message.Message):
    __slots__ = ("info", "chunk", "seek_applied", "seek_refused", "not_ready", "awaiting_credit", "end_of_stem", "end")
    INFO_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    SEEK_APPLIED_FIELD_NUMBER: _ClassVar[int]
    SEEK_REFUSED_FIELD_NUMBER: _ClassVar[int]
    NOT_READY_FIELD_NUMBER: _ClassVar[int]
    AWAITING_CREDIT_FIELD_NUMBER: _ClassVar[int]
    END_OF_STEM_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    info: StreamInfo
    chunk: StemChunk
    seek_applied: SeekApplied
    seek_refused: SeekRefused
    not_ready: NotReady
    awaiting_credit: AwaitingCredit
    end_of_stem: EndOfStem
    end: StreamEnd
    def __init__(self, info: _Optional[_Union[StreamInfo, _Mapping]] = ..., chunk: _Optional[_Union[StemChunk, _Mapping]] = ..., seek_applied: _Optional[_Union[SeekApplied, _Mapping]] = ..., seek_refused: _Optional[_Union[SeekRefused, _Mapping]] = ..., not_ready: _Optional[_Union[NotReady, _Mapping]] = ..., awaiting_credit: _Optional[_Union[AwaitingCredit, _Mapping]] = ..., end_of_stem: _Optional[_Union[EndOfStem, _Mapping]] = ..., end: _Optional[_Union[StreamEnd, _Mapping]] = ...) -> None: ...

class StreamInfo(_message.Message):
    __slots__ = ("job_id", "run_id", "server_epoch", "model", "encoding", "stem_names", "total_frames", "sample_rate", "channels", "bits_per_sample", "codec_header", "chunk_bytes", "max_chunk_frames", "segment_frames", "idle_timeout")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    STEM_NAMES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FRAMES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    BITS_PER_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    CODEC_HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_FRAMES_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FRAMES_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    run_id: str
    server_epoch: str
    model: str
    encoding: _audio_pb2.Encoding
    stem_names: _containers.RepeatedScalarFieldContainer[str]
    total_frames: int
    sample_rate: int
    channels: int
    bits_per_sample: int
    codec_header: bytes
    chunk_bytes: int
    max_chunk_frames: int
    segment_frames: int
    idle_timeout: _duration_pb2.Duration
    def __init__(self, job_id: _Optional[str] = ..., run_id: _Optional[str] = ..., server_epoch: _Optional[str] = ..., model: _Optional[str] = ..., encoding: _Optional[_Union[_audio_pb2.Encoding, str]] = ..., stem_names: _Optional[_Iterable[str]] = ..., total_frames: _Optional[int] = ..., sample_rate: _Optional[int] = ..., channels: _Optional[int] = ..., bits_per_sample: _Optional[int] = ..., codec_header: _Optional[bytes] = ..., chunk_bytes: _Optional[int] = ..., max_chunk_frames: _Optional[int] = ..., segment_frames: _Optional[int] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

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

class SeekRefused(_message.Message):
    __slots__ = ("generation", "message")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    generation: int
    message: str
    def __init__(self, generation: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class NotReady(_message.Message):
    __slots__ = ("generation", "range", "reason", "expected_in")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_IN_FIELD_NUMBER: _ClassVar[int]
    generation: int
    range: _audio_pb2.FrameRange
    reason: NotReadyReason
    expected_in: _duration_pb2.Duration
    def __init__(self, generation: _Optional[int] = ..., range: _Optional[_Union[_audio_pb2.FrameRange, _Mapping]] = ..., reason: _Optional[_Union[NotReadyReason, str]] = ..., expected_in: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class AwaitingCredit(_message.Message):
    __slots__ = ("generation", "missing_bytes", "missing_frames")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    MISSING_BYTES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FRAMES_FIELD_NUMBER: _ClassVar[int]
    generation: int
    missing_bytes: int
    missing_frames: int
    def __init__(self, generation: _Optional[int] = ..., missing_bytes: _Optional[int] = ..., missing_frames: _Optional[int] = ...) -> None: ...

class EndOfStem(_message.Message):
    __slots__ = ("stem_index", "generation", "sha256", "start_frame", "stem_sha256")
    STEM_INDEX_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    STEM_SHA256_FIELD_NUMBER: _ClassVar[int]
    stem_index: int
    generation: int
    sha256: str
    start_frame: int
    stem_sha256: str
    def __init__(self, stem_index: _Optional[int] = ..., generation: _Optional[int] = ..., sha256: _Optional[str] = ..., start_frame: _Optional[int] = ..., stem_sha256: _Optional[str] = ...) -> None: ...

class StreamEnd(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: int
    def __init__(self, generation: _Optional[int] = ...) -> None: ...

class ReadStemRequest(_message.Message):
    __slots__ = ("job_id", "expected_run_id", "stem_name", "encoding", "start_frame", "start_time", "frame_limit", "time_limit", "follow", "chunk_bytes")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEM_NAME_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    START_FRAME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    FRAME_LIMIT_FIELD_NUMBER: _ClassVar[int]
    TIME_LIMIT_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    expected_run_id: str
    stem_name: str
    encoding: _audio_pb2.Encoding
    start_frame: int
    start_time: _duration_pb2.Duration
    frame_limit: int
    time_limit: _duration_pb2.Duration
    follow: bool
    chunk_bytes: int
    def __init__(self, job_id: _Optional[str] = ..., expected_run_id: _Optional[str] = ..., stem_name: _Optional[str] = ..., encoding: _Optional[_Union[_audio_pb2.Encoding, str]] = ..., start_frame: _Optional[int] = ..., start_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., frame_limit: _Optional[int] = ..., time_limit: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., follow: _Optional[bool] = ..., chunk_bytes: _Optional[int] = ...) -> None: ...

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

class ReadWaveformRequest(_message.Message):
    __slots__ = ("job_id", "expected_run_id", "stem_names", "frames_per_pixel", "follow")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEM_NAMES_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_PIXEL_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    expected_run_id: str
    stem_names: _containers.RepeatedScalarFieldContainer[str]
    frames_per_pixel: int
    follow: bool
    def __init__(self, job_id: _Optional[str] = ..., expected_run_id: _Optional[str] = ..., stem_names: _Optional[_Iterable[str]] = ..., frames_per_pixel: _Optional[int] = ..., follow: _Optional[bool] = ...) -> None: ...

class ReadWaveformResponse(_message.Message):
    __slots__ = ("info", "ranges")
    INFO_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    info: WaveformInfo
    ranges: _containers.RepeatedCompositeFieldContainer[WaveformRange]
    def __init__(self, info: _Optional[_Union[WaveformInfo, _Mapping]] = ..., ranges: _Optional[_Iterable[_Union[WaveformRange, _Mapping]]] = ...) -> None: ...

class WaveformInfo(_message.Message):
    __slots__ = ("job_id", "run_id", "stem_names", "sample_rate", "total_frames", "frames_per_pixel", "total_pixels")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEM_NAMES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FRAMES_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_PIXEL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PIXELS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    run_id: str
    stem_names: _containers.RepeatedScalarFieldContainer[str]
    sample_rate: int
    total_frames: int
    frames_per_pixel: int
    total_pixels: int
    def __init__(self, job_id: _Optional[str] = ..., run_id: _Optional[str] = ..., stem_names: _Optional[_Iterable[str]] = ..., sample_rate: _Optional[int] = ..., total_frames: _Optional[int] = ..., frames_per_pixel: _Optional[int] = ..., total_pixels: _Optional[int] = ...) -> None: ...

class WaveformRange(_message.Message):
    __slots__ = ("stem_index", "start_pixel", "peaks")
    STEM_INDEX_FIELD_NUMBER: _ClassVar[int]
    START_PIXEL_FIELD_NUMBER: _ClassVar[int]
    PEAKS_FIELD_NUMBER: _ClassVar[int]
    stem_index: int
    start_pixel: int
    peaks: bytes
    def __init__(self, stem_index: _Optional[int] = ..., start_pixel: _Optional[int] = ..., peaks: _Optional[bytes] = ...) -> None: ...

class GetArtifactRequest(_message.Message):
    __slots__ = ("job_id", "expected_run_id", "name", "offset")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    expected_run_id: str
    name: str
    offset: int
    def __init__(self, job_id: _Optional[str] = ..., expected_run_id: _Optional[str] = ..., name: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class GetArtifactResponse(_message.Message):
    __slots__ = ("artifact", "run_id", "offset", "data", "crc32c")
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    artifact: _job_pb2.Artifact
    run_id: str
    offset: int
    data: bytes
    crc32c: int
    def __init__(self, artifact: _Optional[_Union[_job_pb2.Artifact, _Mapping]] = ..., run_id: _Optional[str] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32c: _Optional[int] = ...) -> None: ...

class CreateBlobLinkRequest(_message.Message):
    __slots__ = ("job_id", "expected_run_id", "name", "ttl")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    expected_run_id: str
    name: str
    ttl: _duration_pb2.Duration
    def __init__(self, job_id: _Optional[str] = ..., expected_run_id: _Optional[str] = ..., name: _Optional[str] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CreateBlobLinkResponse(_message.Message):
    __slots__ = ("url", "expire_time")
    URL_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    url: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, url: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
