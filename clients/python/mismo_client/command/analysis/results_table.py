"""Everything that the analyses found, as a table for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from mismo.analysis.v1.job_pb2 import Job
from mismo.analysis.v1.results_pb2 import (
    BasicFeaturesResult,
    CharacteristicsResult,
    ChordsResult,
    CuePoint,
    SectionsResult,
    TransitionResult,
)
from mismo.analysis.v1.stage_pb2 import STAGE_STATE_FAILED, STAGE_STATE_SKIPPED
from mismo_client.command.result_text import common_chords, error_text, key_text, loudness_text, tempo_text
from mismo_client.musical_text import chord_symbol, genre_name, metre, section_role
from mismo_client.results import stage_result
from mismo_client.stages import stage_name
from mismo_client.timecode import format_timecode

Row = tuple[str, str, str]
"""Name, value, and what is known about the value."""

BAR_WIDTH = 12
VALUE_WIDTH = 52
DETAIL_WIDTH = 60
FIRST_CHORDS = 8
MOST_CHORDS = 6
MOST_LABELS = 5
MOST_CUES = 3
FEWEST_TEMPO_POINTS = 2
MOST_TEMPO_POINTS = 6


def results_table(job: Job) -> Table:
    """A row for each value; names in the first column, what is known about a value in the third."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold", max_width=VALUE_WIDTH)
    table.add_column(overflow="fold", max_width=DETAIL_WIDTH, style="dim")
    for name, value, detail in result_rows(job):
        # Labels are of the server: brackets in them are no markup.
        table.add_row(Text(name), Text(value), Text(detail))
    return table


def result_rows(job: Job) -> list[Row]:
    """The rows of the table; stages that failed or were skipped come last."""
    rows: list[Row] = []
    if (features := stage_result(job, "basic_features")) is not None:
        rows += _feature_rows(features)
    if (loudness := stage_result(job, "loudness")) is not None and features is None:
        rows.append(("loudness", loudness_text(loudness), ""))
    if (character := stage_result(job, "characteristics")) is not None:
        rows += _characteristic_rows(character)
    if (genre := stage_result(job, "genre")) is not None:
        rows += _grouped(
            "genre", [(genre_name(one.label), score_bar(one.score)) for one in genre.genres[:MOST_LABELS]]
        )
    if (sections := stage_result(job, "sections")) is not None:
        rows += _section_rows(sections)
    if (chords := stage_result(job, "chords")) is not None:
        rows += _chord_rows(chords)
    if (transition := stage_result(job, "transition")) is not None:
        rows += _transition_rows(transition)
    rows += [
        (stage_name(stage.stage), "no result", error_text(stage.error))
        for stage in job.stages
        if stage.state in {STAGE_STATE_FAILED, STAGE_STATE_SKIPPED}
    ]
    return rows


def bar(value: float) -> str:
    """A score from 0 to 1 as blocks."""
    filled = round(min(1.0, max(0.0, value)) * BAR_WIDTH)
    return "█" * filled + "░" * (BAR_WIDTH - filled)


def score_bar(value: float) -> str:
    """The bar of a score, and the score."""
    return f"{bar(value)} {value:.2f}"


def _feature_rows(result: BasicFeaturesResult) -> Iterator[Row]:
    yield "length", format_timecode(result.duration), ""
    if result.HasField("tempo"):
        known = (
            f"confidence {result.tempo_confidence:.2f}, stability {result.tempo_stability:.2f}, "
            f"{len(result.beats)} beats by {result.beat_tracker}"
        )
        yield "tempo", tempo_text(result), known
        if len(result.tempo_curve) >= FEWEST_TEMPO_POINTS:
            yield "", "moves", _tempo_curve(result)
    else:
        yield "tempo", "no beat found", ""
    if metre(result):
        known = f"confidence {result.metre_confidence:.2f}, {len(result.downbeats)} bars"
        yield "metre", metre(result), known
    if result.HasField("key"):
        yield "key", key_text(result), f"confidence {result.key.confidence:.2f}"
    else:
        yield "key", "no pitched sound", ""
    if result.HasField("tuning"):
        yield "tuning", f"A4 = {result.tuning:.1f} Hz", ""
    yield "loudness", loudness_text(result), ""
    if result.HasField("dynamic_range_db"):
        yield "dynamics", f"{result.dynamic_range_db:.1f} dB", "peaks over the loudest fifth"


def _tempo_curve(result: BasicFeaturesResult) -> str:
    """A few points of the curve, the first and the last among them."""
    points = result.tempo_curve
    count = min(len(points), MOST_TEMPO_POINTS)
    shown = [points[place * (len(points) - 1) // (count - 1)] for place in range(count)]
    return ", ".join(f"{format_timecode(point.time)} {point.tempo:.1f}" for point in shown)


def _characteristic_rows(result: CharacteristicsResult) -> Iterator[Row]:
    yield "danceability", score_bar(result.danceability), ""
    yield "energy", score_bar(result.energy), ""
    yield "brightness", score_bar(result.brightness), ""
    yield "acousticness", score_bar(result.acousticness), ""
    yield "instrumental", score_bar(result.instrumentalness), ""
    measured = f"measured on the {result.vocal_source}" if result.vocal_source else ""
    yield "vocals", score_bar(result.vocal_presence), measured
    yield from _grouped("mood", [(mood.label, score_bar(mood.score)) for mood in result.moods[:MOST_LABELS]])


def _section_rows(result: SectionsResult) -> list[Row]:
    return _grouped(
        "sections",
        [
            (
                f"{format_timecode(section.start)} - {format_timecode(section.end)}  {section.label}"
                f"  {section_role(section)}".rstrip(),
                f"energy {bar(section.energy)}",
            )
            for section in result.sections
        ],
    )


def _chord_rows(result: ChordsResult) -> Iterator[Row]:
    common = common_chords(result.chords)
    if not common:
        yield "chords", "none found", ""
        return
    whole = sum(seconds for _, seconds in common)
    most = ", ".join(
        f"{symbol} {seconds / whole:.0%}" for symbol, seconds in common[:MOST_CHORDS] if whole > 0
    )
    yield "chords", most, f"found on the {result.source}" if result.source else ""
    first = [chord for chord in result.chords if chord_symbol(chord.label)][:FIRST_CHORDS]
    places = "  ".join(f"{format_timecode(chord.start)} {chord_symbol(chord.label)}" for chord in first)
    yield "", places, "the first ones"


def _transition_rows(result: TransitionResult) -> Iterator[Row]:
    yield from _grouped("mix in", [_cue(cue) for cue in result.mix_in[:MOST_CUES]])
    yield from _grouped("mix out", [_cue(cue) for cue in result.mix_out[:MOST_CUES]])
    if result.phrase_bars:
        yield "phrases", f"{result.phrase_bars} bars", f"{len(result.phrases)} of them"


def _cue(cue: CuePoint) -> tuple[str, str]:
    return f"{format_timecode(cue.time)}  {cue.bars} bars", f"score {cue.score:.2f}, energy {cue.energy:.2f}"


def _grouped(name: str, entries: Sequence[tuple[str, str]]) -> list[Row]:
    """Rows of which only the first has the name."""
    return [(name if not place else "", value, detail) for place, (value, detail) in enumerate(entries)]
