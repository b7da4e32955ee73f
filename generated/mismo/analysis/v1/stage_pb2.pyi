import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from mismo.analysis.v1 import audio_pb2 as _audio_pb2
from mismo.analysis.v1 import results_pb2 as _results_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_UNSPECIFIED: _ClassVar[Stage]
    STAGE_DECODE: _ClassVar[Stage]
    STAGE_STEMS: _ClassVar[Stage]
    STAGE_WAVEFORMS: _ClassVar[Stage]
    STAGE_LOUDNESS: _ClassVar[Stage]
    STAGE_BASIC_FEATURES: _ClassVar[Stage]
    STAGE_CHARACTERISTICS: _ClassVar[Stage]
    STAGE_GENRE: _ClassVar[Stage]
    STAGE_SECTIONS: _ClassVar[Stage]
    STAGE_CHORDS: _ClassVar[Stage]
    STAGE_TRANSITION: _ClassVar[Stage]
    STAGE_GENERATION: _ClassVar[Stage]
    STAGE_ANNOTATION: _ClassVar[Stage]
    STAGE_BLOB_UPLOAD: _ClassVar[Stage]
    STAGE_EXPORT: _ClassVar[Stage]

class StageState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_STATE_UNSPECIFIED: _ClassVar[StageState]
    STAGE_STATE_PENDING: _ClassVar[StageState]
    STAGE_STATE_RUNNING: _ClassVar[StageState]
    STAGE_STATE_SUCCEEDED: _ClassVar[StageState]
    STAGE_STATE_FAILED: _ClassVar[StageState]
    STAGE_STATE_CANCELLED: _ClassVar[StageState]
    STAGE_STATE_SKIPPED: _ClassVar[StageState]

class ExportFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPORT_FORMAT_UNSPECIFIED: _ClassVar[ExportFormat]
    EXPORT_FORMAT_FLAC: _ClassVar[ExportFormat]
    EXPORT_FORMAT_MP3: _ClassVar[ExportFormat]
    EXPORT_FORMAT_STEM_MP4: _ClassVar[ExportFormat]
STAGE_UNSPECIFIED: Stage
STAGE_DECODE: Stage
STAGE_STEMS: Stage
STAGE_WAVEFORMS: Stage
STAGE_LOUDNESS: Stage
STAGE_BASIC_FEATURES: Stage
STAGE_CHARACTERISTICS: Stage
STAGE_GENRE: Stage
STAGE_SECTIONS: Stage
STAGE_CHORDS: Stage
STAGE_TRANSITION: Stage
STAGE_GENERATION: Stage
STAGE_ANNOTATION: Stage
STAGE_BLOB_UPLOAD: Stage
STAGE_EXPORT: Stage
STAGE_STATE_UNSPECIFIED: StageState
STAGE_STATE_PENDING: StageState
STAGE_STATE_RUNNING: StageState
STAGE_STATE_SUCCEEDED: StageState
STAGE_STATE_FAILED: StageState
STAGE_STATE_CANCELLED: StageState
STAGE_STATE_SKIPPED: StageState
EXPORT_FORMAT_UNSPECIFIED: ExportFormat
EXPORT_FORMAT_FLAC: ExportFormat
EXPORT_FORMAT_MP3: ExportFormat
EXPORT_FORMAT_STEM_MP4: ExportFormat

class OutputOptions(_message.Message):
    __slots__ = ("encoding", "sample_rate")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    encoding: _audio_pb2.Encoding
    sample_rate: int
    def __init__(self, encoding: _Optional[_Union[_audio_pb2.Encoding, str]] = ..., sample_rate: _Optional[int] = ...) -> None: ...

class StemOptions(_message.Message):
    __slots__ = ("model", "stem_names", "two_stems", "playhead", "shifts", "overlap", "output")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STEM_NAMES_FIELD_NUMBER: _ClassVar[int]
    TWO_STEMS_FIELD_NUMBER: _ClassVar[int]
    PLAYHEAD_FIELD_NUMBER: _ClassVar[int]
    SHIFTS_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    model: str
    stem_names: _containers.RepeatedScalarFieldContainer[str]
    two_stems: str
    playhead: _duration_pb2.Duration
    shifts: int
    overlap: float
    output: OutputOptions
    def __init__(self, model: _Optional[str] = ..., stem_names: _Optional[_Iterable[str]] = ..., two_stems: _Optional[str] = ..., playhead: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., shifts: _Optional[int] = ..., overlap: _Optional[float] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ...) -> None: ...

class GenerationOptions(_message.Message):
    __slots__ = ("target_stems", "target_bpm", "duration", "style", "chord_progression", "prompt", "temperature", "random_seed", "key", "generator")
    TARGET_STEMS_FIELD_NUMBER: _ClassVar[int]
    TARGET_BPM_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    CHORD_PROGRESSION_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    RANDOM_SEED_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    target_stems: _containers.RepeatedScalarFieldContainer[str]
    target_bpm: float
    duration: _duration_pb2.Duration
    style: str
    chord_progression: _containers.RepeatedScalarFieldContainer[str]
    prompt: str
    temperature: float
    random_seed: int
    key: str
    generator: str
    def __init__(self, target_stems: _Optional[_Iterable[str]] = ..., target_bpm: _Optional[float] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., style: _Optional[str] = ..., chord_progression: _Optional[_Iterable[str]] = ..., prompt: _Optional[str] = ..., temperature: _Optional[float] = ..., random_seed: _Optional[int] = ..., key: _Optional[str] = ..., generator: _Optional[str] = ...) -> None: ...

class BlobUploadOptions(_message.Message):
    __slots__ = ("prefix",)
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    def __init__(self, prefix: _Optional[str] = ...) -> None: ...

class ExportOptions(_message.Message):
    __slots__ = ("formats", "mp3_kbps")
    FORMATS_FIELD_NUMBER: _ClassVar[int]
    MP3_KBPS_FIELD_NUMBER: _ClassVar[int]
    formats: _containers.RepeatedScalarFieldContainer[ExportFormat]
    mp3_kbps: int
    def __init__(self, formats: _Optional[_Iterable[_Union[ExportFormat, str]]] = ..., mp3_kbps: _Optional[int] = ...) -> None: ...

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

class LoudnessResult(_message.Message):
    __slots__ = ("integrated_lufs", "loudness_range_lu", "max_momentary_lufs", "max_short_term_lufs", "true_peak_dbtp", "sample_peak_dbfs")
    INTEGRATED_LUFS_FIELD_NUMBER: _ClassVar[int]
    LOUDNESS_RANGE_LU_FIELD_NUMBER: _ClassVar[int]
    MAX_MOMENTARY_LUFS_FIELD_NUMBER: _ClassVar[int]
    MAX_SHORT_TERM_LUFS_FIELD_NUMBER: _ClassVar[int]
    TRUE_PEAK_DBTP_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_PEAK_DBFS_FIELD_NUMBER: _ClassVar[int]
    integrated_lufs: float
    loudness_range_lu: float
    max_momentary_lufs: float
    max_short_term_lufs: float
    true_peak_dbtp: float
    sample_peak_dbfs: float
    def __init__(self, integrated_lufs: _Optional[float] = ..., loudness_range_lu: _Optional[float] = ..., max_momentary_lufs: _Optional[float] = ..., max_short_term_lufs: _Optional[float] = ..., true_peak_dbtp: _Optional[float] = ..., sample_peak_dbfs: _Optional[float] = ...) -> None: ...

class StageStatus(_message.Message):
    __slots__ = ("stage", "state", "start_time", "end_time", "error", "attempts", "next_attempt_time", "loudness", "basic_features", "characteristics", "genre", "sections", "chords", "transition")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_TIME_FIELD_NUMBER: _ClassVar[int]
    LOUDNESS_FIELD_NUMBER: _ClassVar[int]
    BASIC_FEATURES_FIELD_NUMBER: _ClassVar[int]
    CHARACTERISTICS_FIELD_NUMBER: _ClassVar[int]
    GENRE_FIELD_NUMBER: _ClassVar[int]
    SECTIONS_FIELD_NUMBER: _ClassVar[int]
    CHORDS_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_FIELD_NUMBER: _ClassVar[int]
    stage: Stage
    state: StageState
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    error: JobError
    attempts: int
    next_attempt_time: _timestamp_pb2.Timestamp
    loudness: LoudnessResult
    basic_features: _results_pb2.BasicFeaturesResult
    characteristics: _results_pb2.CharacteristicsResult
    genre: _results_pb2.GenreResult
    sections: _results_pb2.SectionsResult
    chords: _results_pb2.ChordsResult
    transition: _results_pb2.TransitionResult
    def __init__(self, stage: _Optional[_Union[Stage, str]] = ..., state: _Optional[_Union[StageState, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[JobError, _Mapping]] = ..., attempts: _Optional[int] = ..., next_attempt_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., loudness: _Optional[_Union[LoudnessResult, _Mapping]] = ..., basic_features: _Optional[_Union[_results_pb2.BasicFeaturesResult, _Mapping]] = ..., characteristics: _Optional[_Union[_results_pb2.CharacteristicsResult, _Mapping]] = ..., genre: _Optional[_Union[_results_pb2.GenreResult, _Mapping]] = ..., sections: _Optional[_Union[_results_pb2.SectionsResult, _Mapping]] = ..., chords: _Optional[_Union[_results_pb2.ChordsResult, _Mapping]] = ..., transition: _Optional[_Union[_results_pb2.TransitionResult, _Mapping]] = ...) -> None: ...
