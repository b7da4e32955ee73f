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

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_QUEUED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_LOW: Priority
PRIORITY_NORMAL: Priority
PRIORITY_HIGH: Priority
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_QUEUED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState

class Source(_message.Message):
    __slots__ = ("path", "upload_id", "blob_uri")
    PATH_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    BLOB_URI_FIELD_NUMBER: _ClassVar[int]
    path: str
    upload_id: str
    blob_uri: str
    def __init__(self, path: _Optional[str] = ..., upload_id: _Optional[str] = ..., blob_uri: _Optional[str] = ...) -> None: ...

class JobOptions(_message.Message):
    __slots__ = ("stages", "stems", "generation", "blob_upload", "export")
    STAGES_FIELD_NUMBER: _ClassVar[int]
    STEMS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BLOB_UPLOAD_FIELD_NUMBER: _ClassVar[int]
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    stages: _containers.RepeatedScalarFieldContainer[_stage_pb2.Stage]
    stems: _stage_pb2.StemOptions
    generation: _stage_pb2.GenerationOptions
    blob_upload: _stage_pb2.BlobUploadOptions
    export: _stage_pb2.ExportOptions
    def __init__(self, stages: _Optional[_Iterable[_Union[_stage_pb2.Stage, str]]] = ..., stems: _Optional[_Union[_stage_pb2.StemOptions, _Mapping]] = ..., generation: _Optional[_Union[_stage_pb2.GenerationOptions, _Mapping]] = ..., blob_upload: _Optional[_Union[_stage_pb2.BlobUploadOptions, _Mapping]] = ..., export: _Optional[_Union[_stage_pb2.ExportOptions, _Mapping]] = ...) -> None: ...

class Callback(_message.Message):
    __slots__ = ("url",)
    URL_FIELD_NUMBER: _ClassVar[int]
    url: str
    def __init__(self, url: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("fraction", "eta", "queue_position", "segments_done", "segments_total")
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_DONE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    fraction: float
    eta: _duration_pb2.Duration
    queue_position: int
    segments_done: int
    segments_total: int
    def __init__(self, fraction: _Optional[float] = ..., eta: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., queue_position: _Optional[int] = ..., segments_done: _Optional[int] = ..., segments_total: _Optional[int] = ...) -> None: ...

class StemSetInfo(_message.Message):
    __slots__ = ("stem_names", "sample_rate", "channels", "total_frames", "encoding", "ready", "sha256")
    STEM_NAMES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FRAMES_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    stem_names: _containers.RepeatedScalarFieldContainer[str]
    sample_rate: int
    channels: int
    total_frames: int
    encoding: _audio_pb2.Encoding
    ready: _containers.RepeatedCompositeFieldContainer[_audio_pb2.FrameRange]
    sha256: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stem_names: _Optional[_Iterable[str]] = ..., sample_rate: _Optional[int] = ..., channels: _Optional[int] = ..., total_frames: _Optional[int] = ..., encoding: _Optional[_Union[_audio_pb2.Encoding, str]] = ..., ready: _Optional[_Iterable[_Union[_audio_pb2.FrameRange, _Mapping]]] = ..., sha256: _Optional[_Iterable[str]] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("name", "content_type", "total_bytes", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    content_type: str
    total_bytes: int
    sha256: str
    def __init__(self, name: _Optional[str] = ..., content_type: _Optional[str] = ..., total_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class StoredBlob(_message.Message):
    __slots__ = ("name", "uri", "total_bytes", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    uri: str
    total_bytes: int
    sha256: str
    def __init__(self, name: _Optional[str] = ..., uri: _Optional[str] = ..., total_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("job_id", "run_id", "revision", "state", "priority", "source", "options", "labels", "model", "fallback_from", "create_time", "start_time", "end_time", "expire_time", "delete_time", "stages", "progress", "stem_set", "error", "artifacts", "warnings", "time_to_first_audio", "time_to_playhead_audio", "dead_letter", "blobs")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FROM_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    STEM_SET_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_FIRST_AUDIO_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_PLAYHEAD_AUDIO_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    run_id: str
    revision: int
    state: JobState
    priority: Priority
    source: Source
    options: JobOptions
    labels: _containers.ScalarMap[str, str]
    model: str
    fallback_from: str
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    delete_time: _timestamp_pb2.Timestamp
    stages: _containers.RepeatedCompositeFieldContainer[_stage_pb2.StageStatus]
    progress: Progress
    stem_set: StemSetInfo
    error: _stage_pb2.JobError
    artifacts: _containers.RepeatedCompositeFieldContainer[Artifact]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    time_to_first_audio: _duration_pb2.Duration
    time_to_playhead_audio: _duration_pb2.Duration
    dead_letter: bool
    blobs: _containers.RepeatedCompositeFieldContainer[StoredBlob]
    def __init__(self, job_id: _Optional[str] = ..., run_id: _Optional[str] = ..., revision: _Optional[int] = ..., state: _Optional[_Union[JobState, str]] = ..., priority: _Optional[_Union[Priority, str]] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., options: _Optional[_Union[JobOptions, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., model: _Optional[str] = ..., fallback_from: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[_stage_pb2.StageStatus, _Mapping]]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., stem_set: _Optional[_Union[StemSetInfo, _Mapping]] = ..., error: _Optional[_Union[_stage_pb2.JobError, _Mapping]] = ..., artifacts: _Optional[_Iterable[_Union[Artifact, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ..., time_to_first_audio: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., time_to_playhead_audio: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., dead_letter: _Optional[bool] = ..., blobs: _Optional[_Iterable[_Union[StoredBlob, _Mapping]]] = ...) -> None: ...
