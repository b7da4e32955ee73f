"""Results of analyses in which every field has a value of its own."""

from __future__ import annotations

from mismo_grpc.analysis.results import (
    BasicFeaturesResult,
    CharacteristicsResult,
    Chord,
    ChordsResult,
    CuePair,
    CuePoint,
    GenreResult,
    Key,
    KeyRelation,
    Mode,
    ScoredLabel,
    Section,
    SectionRole,
    SectionsResult,
    TempoPoint,
    TrackComparison,
    TransitionResult,
)

BASIC_FEATURES = BasicFeaturesResult(
    duration=4.5,
    tempo=128.0,
    tempo_confidence=0.9,
    tempo_stability=0.99,
    tempo_curve=(TempoPoint(0.0, 127.0), TempoPoint(2.0, 129.0)),
    beats=(0.5, 0.97, 1.44, 1.91, 2.38, 2.84, 3.31, 3.78),
    downbeats=(0.5, 2.38),
    beats_per_bar=4,
    metre_confidence=0.8,
    key=Key(5, Mode.MAJOR, 0.7),
    tuning=441.5,
    integrated_lufs=-9.5,
    loudness_range_lu=3.5,
    true_peak_dbtp=-0.5,
    dynamic_range_db=7.5,
    beat_tracker="pulse",
)
CHARACTERISTICS = CharacteristicsResult(
    danceability=0.1,
    energy=0.2,
    brightness=0.3,
    acousticness=0.4,
    instrumentalness=0.5,
    vocal_presence=0.6,
    moods=(ScoredLabel("happy", 0.75), ScoredLabel("relaxed", 0.25)),
    vocal_source="stems",
)
GENRE = GenreResult(
    (ScoredLabel("Electronic---House", 0.8), ScoredLabel("Funk / Soul---Disco", 0.1)), "a model"
)
SECTIONS = SectionsResult(
    (
        Section(0.0, 2.0, "A", SectionRole.INTRO, 0.9, 0.3),
        Section(2.0, 3.0, "B", SectionRole.DROP, 0.8, 1.0),
        Section(3.0, 3.5, "A", SectionRole.BREAKDOWN, 0.7, 0.2),
        Section(3.5, 4.0, "C", None, 0.6, 0.5),
        Section(4.0, 4.5, "A", SectionRole.OUTRO, 0.5, 0.1),
    )
)
CHORDS = ChordsResult(
    (Chord(0.0, 0.5, "N", 0.5), Chord(0.5, 2.38, "F:maj", 0.9), Chord(2.38, 4.5, "D:min7", 0.8)), "stems"
)
TRANSITION = TransitionResult(
    mix_in=(CuePoint(0.5, 8, 0.3, 0.9),),
    mix_out=(CuePoint(2.38, 16, 0.4, 0.8), CuePoint(0.5, 4, 0.5, 0.1)),
    phrase_bars=8,
    phrases=(0.5, 2.38),
    energy=(0.25, 1.0, 0.5),
    energy_interval=1.5,
)
COMPARISON = TrackComparison(
    tempo_ratio=1.02,
    incoming_speed=0.98,
    key_relation=KeyRelation.FIFTH_UP,
    camelot_distance=1,
    key_shift=-1,
    loudness_difference_lu=1.5,
    cue_pairs=(CuePair(2.38, 0.5, 8, 0.9),),
    score=0.85,
    tempo_score=0.95,
    key_score=0.75,
    energy_score=0.65,
    cue_score=0.55,
)
