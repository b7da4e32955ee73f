"""Results of the analyses in one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mismo.analysis.v1.results_pb2 import (
    BasicFeaturesResult,
    CharacteristicsResult,
    Chord,
    ChordsResult,
    GenreResult,
    SectionsResult,
    TransitionResult,
)
from mismo.analysis.v1.stage_pb2 import JobError, LoudnessResult, StageStatus
from mismo_client.musical_text import chord_symbol, genre_name, metre, section_role
from mismo_client.timecode import format_timecode

MOST = 4


def result_text(stage: StageStatus) -> str:
    """What a stage found; empty if it has no result, or one that is newer than this client."""
    match stage.WhichOneof("result"):
        case "loudness":
            return loudness_text(stage.loudness)
        case "basic_features":
            return _features_text(stage.basic_features)
        case "characteristics":
            return _characteristics_text(stage.characteristics)
        case "genre":
            return _genre_text(stage.genre)
        case "sections":
            return _sections_text(stage.sections)
        case "chords":
            return _chords_text(stage.chords)
        case "transition":
            return _transition_text(stage.transition)
        case _:
            return ""


def loudness_text(result: LoudnessResult | BasicFeaturesResult) -> str:
    """The measured values, in the units of EBU R 128."""
    parts: list[str] = []
    if result.HasField("integrated_lufs"):
        parts.append(f"{result.integrated_lufs:.1f} LUFS")
    if result.HasField("loudness_range_lu"):
        parts.append(f"range {result.loudness_range_lu:.1f} LU")
    if result.HasField("true_peak_dbtp"):
        parts.append(f"true peak {result.true_peak_dbtp:.1f} dBTP")
    return ", ".join(parts) or "nothing to measure"


def tempo_text(result: BasicFeaturesResult) -> str:
    """As in "120.0 BPM"."""
    return f"{result.tempo:.1f} BPM" if result.HasField("tempo") else "no beat"


def key_text(result: BasicFeaturesResult) -> str:
    """As in "F# minor (11A)"."""
    if not result.HasField("key"):
        return "no key"
    return f"{result.key.name} ({result.key.camelot})" if result.key.camelot else result.key.name


def error_text(error: JobError) -> str:
    """What failed, and the reason as programs know it."""
    return f"{error.message} ({error.reason})"


def common_chords(chords: Sequence[Chord]) -> list[tuple[str, float]]:
    """Symbols of chords with their seconds, the longest in all first; without the passages of no chord."""
    seconds: Counter[str] = Counter()
    for chord in chords:
        if symbol := chord_symbol(chord.label):
            # Milliseconds: a Counter counts whole things.
            seconds[symbol] += round(1000 * (chord.end - chord.start))
    return [(symbol, length / 1000) for symbol, length in seconds.most_common()]


def _features_text(result: BasicFeaturesResult) -> str:
    parts = [tempo_text(result), key_text(result)]
    if metre(result):
        parts.append(metre(result))
    if result.HasField("integrated_lufs"):
        parts.append(f"{result.integrated_lufs:.1f} LUFS")
    return ", ".join(parts)


def _characteristics_text(result: CharacteristicsResult) -> str:
    parts = [
        f"danceability {result.danceability:.2f}",
        f"energy {result.energy:.2f}",
        f"vocals {result.vocal_presence:.2f}",
    ]
    return ", ".join([*parts, *(mood.label for mood in result.moods[:2])])


def _genre_text(result: GenreResult) -> str:
    named = [f"{genre_name(genre.label)} {genre.score:.2f}" for genre in result.genres[:MOST]]
    return ", ".join(named) or "none found"


def _sections_text(result: SectionsResult) -> str:
    named = [
        f"{format_timecode(section.start)} {section.label}"
        + (f" {role}" if (role := section_role(section)) else "")
        for section in result.sections
    ]
    return ", ".join(named) or "none found"


def _chords_text(result: ChordsResult) -> str:
    common = [symbol for symbol, _ in common_chords(result.chords)]
    if not common:
        return "none found"
    return f"mostly {', '.join(common[:MOST])}"


def _transition_text(result: TransitionResult) -> str:
    parts = [
        f"{name} at {format_timecode(points[0].time)}"
        for name, points in (("mix in", result.mix_in), ("mix out", result.mix_out))
        if points
    ]
    if result.phrase_bars:
        parts.append(f"phrases of {result.phrase_bars} bars")
    return ", ".join(parts) or "none found"
