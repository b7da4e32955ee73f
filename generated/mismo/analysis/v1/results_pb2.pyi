from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KeyMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KEY_MODE_UNSPECIFIED: _ClassVar[KeyMode]
    KEY_MODE_MAJOR: _ClassVar[KeyMode]
    KEY_MODE_MINOR: _ClassVar[KeyMode]

class SectionRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SECTION_ROLE_UNSPECIFIED: _ClassVar[SectionRole]
    SECTION_ROLE_INTRO: _ClassVar[SectionRole]
    SECTION_ROLE_OUTRO: _ClassVar[SectionRole]
    SECTION_ROLE_BREAKDOWN: _ClassVar[SectionRole]
    SECTION_ROLE_DROP: _ClassVar[SectionRole]

class KeyRelation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KEY_RELATION_UNSPECIFIED: _ClassVar[KeyRelation]
    KEY_RELATION_SAME: _ClassVar[KeyRelation]
    KEY_RELATION_RELATIVE: _ClassVar[KeyRelation]
    KEY_RELATION_FIFTH_UP: _ClassVar[KeyRelation]
    KEY_RELATION_FIFTH_DOWN: _ClassVar[KeyRelation]
    KEY_RELATION_PARALLEL: _ClassVar[KeyRelation]
    KEY_RELATION_TONE_UP: _ClassVar[KeyRelation]
    KEY_RELATION_DISTANT: _ClassVar[KeyRelation]
KEY_MODE_UNSPECIFIED: KeyMode
KEY_MODE_MAJOR: KeyMode
KEY_MODE_MINOR: KeyMode
SECTION_ROLE_UNSPECIFIED: SectionRole
SECTION_ROLE_INTRO: SectionRole
SECTION_ROLE_OUTRO: SectionRole
SECTION_ROLE_BREAKDOWN: SectionRole
SECTION_ROLE_DROP: SectionRole
KEY_RELATION_UNSPECIFIED: KeyRelation
KEY_RELATION_SAME: KeyRelation
KEY_RELATION_RELATIVE: KeyRelation
KEY_RELATION_FIFTH_UP: KeyRelation
KEY_RELATION_FIFTH_DOWN: KeyRelation
KEY_RELATION_PARALLEL: KeyRelation
KEY_RELATION_TONE_UP: KeyRelation
KEY_RELATION_DISTANT: KeyRelation

class Key(_message.Message):
    __slots__ = ("tonic", "mode", "name", "camelot", "confidence")
    TONIC_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CAMELOT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    tonic: int
    mode: KeyMode
    name: str
    camelot: str
    confidence: float
    def __init__(self, tonic: _Optional[int] = ..., mode: _Optional[_Union[KeyMode, str]] = ..., name: _Optional[str] = ..., camelot: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class TempoPoint(_message.Message):
    __slots__ = ("time", "tempo")
    TIME_FIELD_NUMBER: _ClassVar[int]
    TEMPO_FIELD_NUMBER: _ClassVar[int]
    time: float
    tempo: float
    def __init__(self, time: _Optional[float] = ..., tempo: _Optional[float] = ...) -> None: ...

class BasicFeaturesResult(_message.Message):
    __slots__ = ("duration", "tempo", "tempo_confidence", "tempo_stability", "tempo_curve", "beats", "downbeats", "beats_per_bar", "metre_confidence", "key", "tuning", "integrated_lufs", "loudness_range_lu", "true_peak_dbtp", "dynamic_range_db", "beat_tracker")
    DURATION_FIELD_NUMBER: _ClassVar[int]
    TEMPO_FIELD_NUMBER: _ClassVar[int]
    TEMPO_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    TEMPO_STABILITY_FIELD_NUMBER: _ClassVar[int]
    TEMPO_CURVE_FIELD_NUMBER: _ClassVar[int]
    BEATS_FIELD_NUMBER: _ClassVar[int]
    DOWNBEATS_FIELD_NUMBER: _ClassVar[int]
    BEATS_PER_BAR_FIELD_NUMBER: _ClassVar[int]
    METRE_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TUNING_FIELD_NUMBER: _ClassVar[int]
    INTEGRATED_LUFS_FIELD_NUMBER: _ClassVar[int]
    LOUDNESS_RANGE_LU_FIELD_NUMBER: _ClassVar[int]
    TRUE_PEAK_DBTP_FIELD_NUMBER: _ClassVar[int]
    DYNAMIC_RANGE_DB_FIELD_NUMBER: _ClassVar[int]
    BEAT_TRACKER_FIELD_NUMBER: _ClassVar[int]
    duration: float
    tempo: float
    tempo_confidence: float
    tempo_stability: float
    tempo_curve: _containers.RepeatedCompositeFieldContainer[TempoPoint]
    beats: _containers.RepeatedScalarFieldContainer[float]
    downbeats: _containers.RepeatedScalarFieldContainer[float]
    beats_per_bar: int
    metre_confidence: float
    key: Key
    tuning: float
    integrated_lufs: float
    loudness_range_lu: float
    true_peak_dbtp: float
    dynamic_range_db: float
    beat_tracker: str
    def __init__(self, duration: _Optional[float] = ..., tempo: _Optional[float] = ..., tempo_confidence: _Optional[float] = ..., tempo_stability: _Optional[float] = ..., tempo_curve: _Optional[_Iterable[_Union[TempoPoint, _Mapping]]] = ..., beats: _Optional[_Iterable[float]] = ..., downbeats: _Optional[_Iterable[float]] = ..., beats_per_bar: _Optional[int] = ..., metre_confidence: _Optional[float] = ..., key: _Optional[_Union[Key, _Mapping]] = ..., tuning: _Optional[float] = ..., integrated_lufs: _Optional[float] = ..., loudness_range_lu: _Optional[float] = ..., true_peak_dbtp: _Optional[float] = ..., dynamic_range_db: _Optional[float] = ..., beat_tracker: _Optional[str] = ...) -> None: ...

class ScoredLabel(_message.Message):
    __slots__ = ("label", "score")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    label: str
    score: float
    def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class CharacteristicsResult(_message.Message):
    __slots__ = ("danceability", "energy", "brightness", "acousticness", "instrumentalness", "vocal_presence", "moods", "vocal_source")
    DANCEABILITY_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    BRIGHTNESS_FIELD_NUMBER: _ClassVar[int]
    ACOUSTICNESS_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENTALNESS_FIELD_NUMBER: _ClassVar[int]
    VOCAL_PRESENCE_FIELD_NUMBER: _ClassVar[int]
    MOODS_FIELD_NUMBER: _ClassVar[int]
    VOCAL_SOURCE_FIELD_NUMBER: _ClassVar[int]
    danceability: float
    energy: float
    brightness: float
    acousticness: float
    instrumentalness: float
    vocal_presence: float
    moods: _containers.RepeatedCompositeFieldContainer[ScoredLabel]
    vocal_source: str
    def __init__(self, danceability: _Optional[float] = ..., energy: _Optional[float] = ..., brightness: _Optional[float] = ..., acousticness: _Optional[float] = ..., instrumentalness: _Optional[float] = ..., vocal_presence: _Optional[float] = ..., moods: _Optional[_Iterable[_Union[ScoredLabel, _Mapping]]] = ..., vocal_source: _Optional[str] = ...) -> None: ...

class GenreResult(_message.Message):
    __slots__ = ("genres", "model")
    GENRES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    genres: _containers.RepeatedCompositeFieldContainer[ScoredLabel]
    model: str
    def __init__(self, genres: _Optional[_Iterable[_Union[ScoredLabel, _Mapping]]] = ..., model: _Optional[str] = ...) -> None: ...

class Section(_message.Message):
    __slots__ = ("start", "end", "label", "role", "confidence", "energy")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    start: float
    end: float
    label: str
    role: SectionRole
    confidence: float
    energy: float
    def __init__(self, start: _Optional[float] = ..., end: _Optional[float] = ..., label: _Optional[str] = ..., role: _Optional[_Union[SectionRole, str]] = ..., confidence: _Optional[float] = ..., energy: _Optional[float] = ...) -> None: ...

class SectionsResult(_message.Message):
    __slots__ = ("sections",)
    SECTIONS_FIELD_NUMBER: _ClassVar[int]
    sections: _containers.RepeatedCompositeFieldContainer[Section]
    def __init__(self, sections: _Optional[_Iterable[_Union[Section, _Mapping]]] = ...) -> None: ...

class Chord(_message.Message):
    __slots__ = ("start", "end", "label", "confidence")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    start: float
    end: float
    label: str
    confidence: float
    def __init__(self, start: _Optional[float] = ..., end: _Optional[float] = ..., label: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class ChordsResult(_message.Message):
    __slots__ = ("chords", "source")
    CHORDS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    chords: _containers.RepeatedCompositeFieldContainer[Chord]
    source: str
    def __init__(self, chords: _Optional[_Iterable[_Union[Chord, _Mapping]]] = ..., source: _Optional[str] = ...) -> None: ...

class CuePoint(_message.Message):
    __slots__ = ("time", "bars", "energy", "score")
    TIME_FIELD_NUMBER: _ClassVar[int]
    BARS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    time: float
    bars: int
    energy: float
    score: float
    def __init__(self, time: _Optional[float] = ..., bars: _Optional[int] = ..., energy: _Optional[float] = ..., score: _Optional[float] = ...) -> None: ...

class TransitionResult(_message.Message):
    __slots__ = ("mix_in", "mix_out", "phrase_bars", "phrases", "energy", "energy_interval")
    MIX_IN_FIELD_NUMBER: _ClassVar[int]
    MIX_OUT_FIELD_NUMBER: _ClassVar[int]
    PHRASE_BARS_FIELD_NUMBER: _ClassVar[int]
    PHRASES_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    ENERGY_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    mix_in: _containers.RepeatedCompositeFieldContainer[CuePoint]
    mix_out: _containers.RepeatedCompositeFieldContainer[CuePoint]
    phrase_bars: int
    phrases: _containers.RepeatedScalarFieldContainer[float]
    energy: _containers.RepeatedScalarFieldContainer[float]
    energy_interval: float
    def __init__(self, mix_in: _Optional[_Iterable[_Union[CuePoint, _Mapping]]] = ..., mix_out: _Optional[_Iterable[_Union[CuePoint, _Mapping]]] = ..., phrase_bars: _Optional[int] = ..., phrases: _Optional[_Iterable[float]] = ..., energy: _Optional[_Iterable[float]] = ..., energy_interval: _Optional[float] = ...) -> None: ...

class CuePair(_message.Message):
    __slots__ = ("mix_out", "mix_in", "bars", "score")
    MIX_OUT_FIELD_NUMBER: _ClassVar[int]
    MIX_IN_FIELD_NUMBER: _ClassVar[int]
    BARS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    mix_out: float
    mix_in: float
    bars: int
    score: float
    def __init__(self, mix_out: _Optional[float] = ..., mix_in: _Optional[float] = ..., bars: _Optional[int] = ..., score: _Optional[float] = ...) -> None: ...

class TrackComparison(_message.Message):
    __slots__ = ("tempo_ratio", "incoming_speed", "key_relation", "camelot_distance", "key_shift", "loudness_difference_lu", "cue_pairs", "score", "tempo_score", "key_score", "energy_score", "cue_score")
    TEMPO_RATIO_FIELD_NUMBER: _ClassVar[int]
    INCOMING_SPEED_FIELD_NUMBER: _ClassVar[int]
    KEY_RELATION_FIELD_NUMBER: _ClassVar[int]
    CAMELOT_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    KEY_SHIFT_FIELD_NUMBER: _ClassVar[int]
    LOUDNESS_DIFFERENCE_LU_FIELD_NUMBER: _ClassVar[int]
    CUE_PAIRS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    TEMPO_SCORE_FIELD_NUMBER: _ClassVar[int]
    KEY_SCORE_FIELD_NUMBER: _ClassVar[int]
    ENERGY_SCORE_FIELD_NUMBER: _ClassVar[int]
    CUE_SCORE_FIELD_NUMBER: _ClassVar[int]
    tempo_ratio: float
    incoming_speed: float
    key_relation: KeyRelation
    camelot_distance: int
    key_shift: int
    loudness_difference_lu: float
    cue_pairs: _containers.RepeatedCompositeFieldContainer[CuePair]
    score: float
    tempo_score: float
    key_score: float
    energy_score: float
    cue_score: float
    def __init__(self, tempo_ratio: _Optional[float] = ..., incoming_speed: _Optional[float] = ..., key_relation: _Optional[_Union[KeyRelation, str]] = ..., camelot_distance: _Optional[int] = ..., key_shift: _Optional[int] = ..., loudness_difference_lu: _Optional[float] = ..., cue_pairs: _Optional[_Iterable[_Union[CuePair, _Mapping]]] = ..., score: _Optional[float] = ..., tempo_score: _Optional[float] = ..., key_score: _Optional[float] = ..., energy_score: _Optional[float] = ..., cue_score: _Optional[float] = ...) -> None: ...
