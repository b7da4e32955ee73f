import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from mismo.analysis.v1 import audio_pb2 as _audio_pb2
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

class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_UNSPECIFIED: _ClassVar[Stage]
    STAGE_DECODE: _ClassVar[Stage]
    STAGE_STEMS: _ClassVar[Stage]
    STAGE_BASIC_FEATURES: _ClassVar[Stage]
    STAGE_CHARACTERISTICS: _ClassVar[Stage]
    STAGE_GENRE: _ClassVar[Stage]
    STAGE_SECTIONS: _ClassVar[Stage]
    STAGE_CHORDS: _ClassVar[Stage]
    STAGE_TRANSITION: _ClassVar[Stage]
    STAGE_GENERATION: _ClassVar[Stage]

class StageState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_STATE_UNSPECIFIED: _ClassVar[StageState]
    STAGE_STATE_PENDING: _ClassVar[StageState]
    STAGE_STATE_RUNNING: _ClassVar[StageState]
    STAGE_STATE_SUCCEEDED: _ClassVar[StageState]
    STAGE_STATE_FAILED: _ClassVar[StageState]
    STAGE_STATE_CANCELLED: _ClassVar[StageState]
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
STAGE_UNSPECIFIED: Stage
STAGE_DECODE: Stage
STAGE_STEMS: Stage
STAGE_BASIC_FEATURES: Stage
STAGE_CHARACTERISTICS: Stage
STAGE_GENRE: Stage
STAGE_SECTIONS: Stage
STAGE_CHORDS: Stage
STAGE_TRANSITION: Stage
STAGE_GENERATION: Stage
STAGE_STATE_UNSPECIFIED: StageState
STAGE_STATE_PENDING: StageState
STAGE_STATE_RUNNING: StageState
STAGE_STATE_SUCCEEDED: StageState
STAGE_STATE_FAILED: StageState
STAGE_STATE_CANCELLED: StageState

class Source(_message.Message):
    __slots__ = ("path", "upload_id", "blob_uri")
    PATH_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    BLOB_URI_FIELD_NUMBER: _ClassVar[int]
    path: str
    upload_id: str
    blob_uri: str
    def __init__(self, path: _Optional[str] = ..., upload_id: _Optional[str] = ..., blob_uri: _Optional[str] = ...) -> None: ...

class OutputOptions(_message.Message):
    __slots__ = ("encoding", "sample_rate")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    encoding: _audio_pb2.Encoding
    sample_rate: int
    def __init__(self, encoding: _Optional[_Union[_audio_pb2.Encoding, str]] = ..., sample_rate: _Optional[int] = ...) -> None: ...

class GenerationOptions(_message.Message):
    __slots__ = ("target_stems", "target_bpm", "duration", "style", "chord_progression", "prompt", "temperature", "random_seed")
    TARGET_STEMS_FIELD_NUMBER: _ClassVar[int]
    TARGET_BPM_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    CHORD_PROGRESSION_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    RANDOM_SEED_FIELD_NUMBER: _ClassVar[int]
    target_stems: _containers.RepeatedScalarFieldContainer[str]
    target_bpm: float
    duration: _duration_pb2.Duration
    style: str
    chord_progression: _containers.RepeatedScalarFieldContainer[str]
    prompt: str
    temperature: float
    random_seed: int
    def __init__(self, target_stems: _Optional[_Iterable[str]] = ..., target_bpm: _Optional[float] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., style: _Optional[str] = ..., chord_progression: _Optional[_Iterable[str]] = ..., prompt: _Optional[str] = ..., temperature: _Optional[float] = ..., random_seed: _Optional[int] = ...) -> None: ...

class JobOptions(_message.Message):
    __slots__ = ("stems", "model", "stem_names", "two_stems", "playhead", "shifts", "overlap", "output", "basic_features", "characteristics", "genre", "sections", "chords", "transition", "generation")
    STEMS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STEM_NAMES_FIELD_NUMBER: _ClassVar[int]
    TWO_STEMS_FIELD_NUMBER: _ClassVar[int]
    PLAYHEAD_FIELD_NUMBER: _ClassVar[int]
    SHIFTS_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    BASIC_FEATURES_FIELD_NUMBER: _ClassVar[int]
    CHARACTERISTICS_FIELD_NUMBER: _ClassVar[int]
    GENRE_FIELD_NUMBER: _ClassVar[int]
    SECTIONS_FIELD_NUMBER: _ClassVar[int]
    CHORDS_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    stems: bool
    model: str
    stem_names: _containers.RepeatedScalarFieldContainer[str]
    two_stems: str
    playhead: _duration_pb2.Duration
    shifts: int
    overlap: float
    output: OutputOptions
    basic_features: bool
    characteristics: bool
    genre: bool
    sections: bool
    chords: bool
    transition: bool
    generation: GenerationOptions
    def __init__(self, stems: _Optional[bool] = ..., model: _Optional[str] = ..., stem_names: _Optional[_Iterable[str]] = ..., two_stems: _Optional[str] = ..., playhead: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., shifts: _Optional[int] = ..., overlap: _Optional[float] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ..., basic_features: _Optional[bool] = ..., characteristics: _Optional[bool] = ..., genre: _Optional[bool] = ..., sections: _Optional[bool] = ..., chords: _Optional[bool] = ..., transition: _Optional[bool] = ..., generation: _Optional[_Union[GenerationOptions, _Mapping]] = ...) -> None: ...

class Callback(_message.Message):
    __slots__ = ("url",)
    URL_FIELD_NUMBER: _ClassVar[int]
    url: str
    def __init__(self, url: _Optional[str] = ...) -> None: ...

class JobError(_message.Message):
    __slots__ = ("code", "reason", "message", "metadata", "retryable")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    metadata: _containers.ScalarMap[str, str]
    retryable: bool
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., retryable: _Optional[bool] = ...) -> None: ...

class StageStatus(_message.Message):
    __slots__ = ("stage", "state", "start_time", "end_time", "error")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    stage: Stage
    state: StageState
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    error: JobError
    def __init__(self, stage: _Optional[_Union[Stage, str]] = ..., state: _Optional[_Union[StageState, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[JobError, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("stem_names", "sample_rate", "channels", "total_frames", "encoding", "ready")
    STEM_NAMES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FRAMES_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    stem_names: _containers.RepeatedScalarFieldContainer[str]
    sample_rate: int
    channels: int
    total_frames: int
    encoding: _audio_pb2.Encoding
    ready: _containers.RepeatedCompositeFieldContainer[_audio_pb2.FrameRange]
    def __init__(self, stem_names: _Optional[_Iterable[str]] = ..., sample_rate: _Optional[int] = ..., channels: _Optional[int] = ..., total_frames: _Optional[int] = ..., encoding: _Optional[_Union[_audio_pb2.Encoding, str]] = ..., ready: _Optional[_Iterable[_Union[_audio_pb2.FrameRange, _Mapping]]] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("job_id", "revision", "state", "priority", "source", "options", "labels", "model", "fallback_from", "create_time", "start_time", "end_time", "expire_time", "stages", "progress", "stem_set", "error", "artifacts", "warnings", "time_to_first_audio")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
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
    STAGES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    STEM_SET_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_FIRST_AUDIO_FIELD_NUMBER: _ClassVar[int]
    job_id: str
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
    stages: _containers.RepeatedCompositeFieldContainer[StageStatus]
    progress: Progress
    stem_set: StemSetInfo
    error: JobError
    artifacts: _containers.RepeatedScalarFieldContainer[str]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    time_to_first_audio: _duration_pb2.Duration
    def __init__(self, job_id: _Optional[str] = ..., revision: _Optional[int] = ..., state: _Optional[_Union[JobState, str]] = ..., priority: _Optional[_Union[Priority, str]] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., options: _Optional[_Union[JobOptions, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., model: _Optional[str] = ..., fallback_from: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[StageStatus, _Mapping]]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., stem_set: _Optional[_Union[StemSetInfo, _Mapping]] = ..., error: _Optional[_Union[JobError, _Mapping]] = ..., artifacts: _Optional[_Iterable[str]] = ..., warnings: _Optional[_Iterable[str]] = ..., time_to_first_audio: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
