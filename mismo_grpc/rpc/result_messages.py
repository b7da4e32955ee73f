"""Converts the results of analyses to protobuf messages. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from mismo.analysis.v1 import results_pb2 as pb
from mismo.analysis.v1 import stage_pb2
from mismo_grpc.analysis.loudness import LoudnessResult
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
from mismo_grpc.jobs.stage_data import StageData

_MODES = {Mode.MAJOR: pb.KEY_MODE_MAJOR, Mode.MINOR: pb.KEY_MODE_MINOR}
_ROLES = {
    SectionRole.INTRO: pb.SECTION_ROLE_INTRO,
    SectionRole.OUTRO: pb.SECTION_ROLE_OUTRO,
    SectionRole.BREAKDOWN: pb.SECTION_ROLE_BREAKDOWN,
    SectionRole.DROP: pb.SECTION_ROLE_DROP,
}
_RELATIONS = {
    KeyRelation.SAME: pb.KEY_RELATION_SAME,
    KeyRelation.RELATIVE: pb.KEY_RELATION_RELATIVE,
    KeyRelation.FIFTH_UP: pb.KEY_RELATION_FIFTH_UP,
    KeyRelation.FIFTH_DOWN: pb.KEY_RELATION_FIFTH_DOWN,
    KeyRelation.PARALLEL: pb.KEY_RELATION_PARALLEL,
    KeyRelation.TONE_UP: pb.KEY_RELATION_TONE_UP,
    KeyRelation.DISTANT: pb.KEY_RELATION_DISTANT,
}


def add_result(message: stage_pb2.StageStatus, result: StageData) -> None:
    """Sets the result of a stage's message."""
    match result:
        case LoudnessResult():
            message.loudness.CopyFrom(stage_pb2.LoudnessResult(**asdict(result)))
        case BasicFeaturesResult():
            message.basic_features.CopyFrom(basic_features_message(result))
        case CharacteristicsResult():
            message.characteristics.CopyFrom(characteristics_message(result))
        case GenreResult():
            message.genre.CopyFrom(pb.GenreResult(genres=_scored_labels(result.genres), model=result.model))
        case SectionsResult():
            message.sections.CopyFrom(pb.SectionsResult(sections=map(_section, result.sections)))
        case ChordsResult():
            message.chords.CopyFrom(pb.ChordsResult(chords=map(_chord, result.chords), source=result.source))
        case TransitionResult():
            message.transition.CopyFrom(transition_message(result))


def basic_features_message(result: BasicFeaturesResult) -> pb.BasicFeaturesResult:
    """The message of basic features."""
    return pb.BasicFeaturesResult(
        duration=result.duration,
        tempo=result.tempo,
        tempo_confidence=result.tempo_confidence,
        tempo_stability=result.tempo_stability,
        tempo_curve=map(_tempo_point, result.tempo_curve),
        beats=result.beats,
        downbeats=result.downbeats,
        beats_per_bar=result.beats_per_bar,
        metre_confidence=result.metre_confidence,
        key=None if result.key is None else key_message(result.key),
        tuning=result.tuning,
        integrated_lufs=result.integrated_lufs,
        loudness_range_lu=result.loudness_range_lu,
        true_peak_dbtp=result.true_peak_dbtp,
        dynamic_range_db=result.dynamic_range_db,
        beat_tracker=result.beat_tracker,
    )


def key_message(key: Key) -> pb.Key:
    """The message of a key, with its name and its place on the Camelot wheel."""
    return pb.Key(
        tonic=key.tonic,
        mode=_MODES[key.mode],
        name=key.name,
        camelot=key.camelot,
        confidence=key.confidence,
    )


def characteristics_message(result: CharacteristicsResult) -> pb.CharacteristicsResult:
    """The message of characteristics."""
    return pb.CharacteristicsResult(
        danceability=result.danceability,
        energy=result.energy,
        brightness=result.brightness,
        acousticness=result.acousticness,
        instrumentalness=result.instrumentalness,
        vocal_presence=result.vocal_presence,
        moods=_scored_labels(result.moods),
        vocal_source=result.vocal_source,
    )


def transition_message(result: TransitionResult) -> pb.TransitionResult:
    """The message of transition points."""
    return pb.TransitionResult(
        mix_in=map(_cue_point, result.mix_in),
        mix_out=map(_cue_point, result.mix_out),
        phrase_bars=result.phrase_bars,
        phrases=result.phrases,
        energy=result.energy,
        energy_interval=result.energy_interval,
    )


def comparison_message(comparison: TrackComparison) -> pb.TrackComparison:
    """The message of the comparison of two tracks."""
    relation = comparison.key_relation
    return pb.TrackComparison(
        tempo_ratio=comparison.tempo_ratio,
        incoming_speed=comparison.incoming_speed,
        key_relation=None if relation is None else _RELATIONS[relation],
        camelot_distance=comparison.camelot_distance,
        key_shift=comparison.key_shift,
        loudness_difference_lu=comparison.loudness_difference_lu,
        cue_pairs=map(_cue_pair, comparison.cue_pairs),
        score=comparison.score,
        tempo_score=comparison.tempo_score,
        key_score=comparison.key_score,
        energy_score=comparison.energy_score,
        cue_score=comparison.cue_score,
    )


def _scored_labels(labels: Iterable[ScoredLabel]) -> list[pb.ScoredLabel]:
    return [pb.ScoredLabel(label=each.label, score=each.score) for each in labels]


def _tempo_point(point: TempoPoint) -> pb.TempoPoint:
    return pb.TempoPoint(time=point.time, tempo=point.tempo)


def _section(section: Section) -> pb.Section:
    return pb.Section(
        start=section.start,
        end=section.end,
        label=section.label,
        role=None if section.role is None else _ROLES[section.role],
        confidence=section.confidence,
        energy=section.energy,
    )


def _chord(chord: Chord) -> pb.Chord:
    return pb.Chord(start=chord.start, end=chord.end, label=chord.label, confidence=chord.confidence)


def _cue_point(cue: CuePoint) -> pb.CuePoint:
    return pb.CuePoint(time=cue.time, bars=cue.bars, energy=cue.energy, score=cue.score)


def _cue_pair(pair: CuePair) -> pb.CuePair:
    return pb.CuePair(mix_out=pair.mix_out, mix_in=pair.mix_in, bars=pair.bars, score=pair.score)
