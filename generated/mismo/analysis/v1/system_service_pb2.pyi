import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from mismo.analysis.v1 import audio_pb2 as _audio_pb2
from mismo.analysis.v1 import stage_pb2 as _stage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_WARM: _ClassVar[ModelState]
    MODEL_STATE_AVAILABLE: _ClassVar[ModelState]
    MODEL_STATE_UNAVAILABLE: _ClassVar[ModelState]
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_WARM: ModelState
MODEL_STATE_AVAILABLE: ModelState
MODEL_STATE_UNAVAILABLE: ModelState

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "server_epoch", "start_time", "devices", "warm_models", "default_model", "queue_depth", "queue_capacity", "limits", "encodings", "draining")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SERVER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    WARM_MODELS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_MODEL_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    QUEUE_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    version: str
    server_epoch: str
    start_time: _timestamp_pb2.Timestamp
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    warm_models: _containers.RepeatedScalarFieldContainer[str]
    default_model: str
    queue_depth: int
    queue_capacity: int
    limits: Limits
    encodings: _containers.RepeatedScalarFieldContainer[_audio_pb2.Encoding]
    draining: bool
    def __init__(self, version: _Optional[str] = ..., server_epoch: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., warm_models: _Optional[_Iterable[str]] = ..., default_model: _Optional[str] = ..., queue_depth: _Optional[int] = ..., queue_capacity: _Optional[int] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., encodings: _Optional[_Iterable[_Union[_audio_pb2.Encoding, str]]] = ..., draining: _Optional[bool] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("name", "description", "precision", "max_batch", "memory_total_bytes", "memory_used_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    precision: str
    max_batch: int
    memory_total_bytes: int
    memory_used_bytes: int
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., precision: _Optional[str] = ..., max_batch: _Optional[int] = ..., memory_total_bytes: _Optional[int] = ..., memory_used_bytes: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_upload_bytes", "max_track_duration", "max_chunk_bytes", "max_streams", "default_result_ttl", "stream_idle_timeout", "min_keepalive_interval")
    MAX_UPLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_TRACK_DURATION_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAMS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_RESULT_TTL_FIELD_NUMBER: _ClassVar[int]
    STREAM_IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MIN_KEEPALIVE_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    max_upload_bytes: int
    max_track_duration: _duration_pb2.Duration
    max_chunk_bytes: int
    max_streams: int
    default_result_ttl: _duration_pb2.Duration
    stream_idle_timeout: _duration_pb2.Duration
    min_keepalive_interval: _duration_pb2.Duration
    def __init__(self, max_upload_bytes: _Optional[int] = ..., max_track_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_chunk_bytes: _Optional[int] = ..., max_streams: _Optional[int] = ..., default_result_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., stream_idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., min_keepalive_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "stem_names", "sample_rate", "segment_frames", "state", "reason", "realtime_factor", "is_default")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STEM_NAMES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FRAMES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REALTIME_FACTOR_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    stem_names: _containers.RepeatedScalarFieldContainer[str]
    sample_rate: int
    segment_frames: int
    state: ModelState
    reason: str
    realtime_factor: float
    is_default: bool
    def __init__(self, name: _Optional[str] = ..., stem_names: _Optional[_Iterable[str]] = ..., sample_rate: _Optional[int] = ..., segment_frames: _Optional[int] = ..., state: _Optional[_Union[ModelState, str]] = ..., reason: _Optional[str] = ..., realtime_factor: _Optional[float] = ..., is_default: _Optional[bool] = ...) -> None: ...

class ListStagesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListStagesResponse(_message.Message):
    __slots__ = ("stages",)
    STAGES_FIELD_NUMBER: _ClassVar[int]
    stages: _containers.RepeatedCompositeFieldContainer[StageInfo]
    def __init__(self, stages: _Optional[_Iterable[_Union[StageInfo, _Mapping]]] = ...) -> None: ...

class StageInfo(_message.Message):
    __slots__ = ("stage", "available", "reason", "needs")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    stage: _stage_pb2.Stage
    available: bool
    reason: str
    needs: _containers.RepeatedScalarFieldContainer[_stage_pb2.Stage]
    def __init__(self, stage: _Optional[_Union[_stage_pb2.Stage, str]] = ..., available: _Optional[bool] = ..., reason: _Optional[str] = ..., needs: _Optional[_Iterable[_Union[_stage_pb2.Stage, str]]] = ...) -> None: ...

class WatchResourcesRequest(_message.Message):
    __slots__ = ("interval",)
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    interval: _duration_pb2.Duration
    def __init__(self, interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchResourcesResponse(_message.Message):
    __slots__ = ("time", "cpu_utilization", "memory_used_bytes", "memory_total_bytes", "disk_free_bytes", "disk_used_by_jobs_bytes", "jobs_queued", "jobs_running", "segments_waiting", "devices")
    TIME_FIELD_NUMBER: _ClassVar[int]
    CPU_UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_USED_BY_JOBS_BYTES_FIELD_NUMBER: _ClassVar[int]
    JOBS_QUEUED_FIELD_NUMBER: _ClassVar[int]
    JOBS_RUNNING_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_WAITING_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    cpu_utilization: float
    memory_used_bytes: int
    memory_total_bytes: int
    disk_free_bytes: int
    disk_used_by_jobs_bytes: int
    jobs_queued: int
    jobs_running: int
    segments_waiting: int
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cpu_utilization: _Optional[float] = ..., memory_used_bytes: _Optional[int] = ..., memory_total_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., disk_used_by_jobs_bytes: _Optional[int] = ..., jobs_queued: _Optional[int] = ..., jobs_running: _Optional[int] = ..., segments_waiting: _Optional[int] = ..., devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ...) -> None: ...
