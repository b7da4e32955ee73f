"""The top of the picture: title, tempo, key, metre, loudness, characteristics."""

from __future__ import annotations

from dataclasses import dataclass

from mismo.analysis.v1.results_pb2 import CharacteristicsResult
from mismo_client.musical_text import genre_name, metre, number_text
from mismo_client.plotting.canvas import Canvas
from mismo_client.plotting.results import TrackResults
from mismo_client.plotting.style import BAR, DIM, GRID, PANEL, WIDTH, camelot_colour, ink_on
from mismo_client.timecode import format_timecode

MARGIN = 40
TITLE_SIZES = (48, 42, 36, 30)
VALUE_SIZE, UNIT_SIZE, LABEL_SIZE = 50, 23, 19
SUBTITLE_SIZE = 23
SEPARATOR = "  ·  "
VALUE_Y, LABEL_Y, SUBTITLE_Y = 84, 140, 140
GAP = 44
TITLE_LEAST = 400
BARS_WIDTH = 530


@dataclass(frozen=True)
class HeaderValue:
    """A number of the header; `badge` is a coloured plate beside it."""

    label: str
    value: str
    unit: str = ""
    badge: str = ""


def draw_header(canvas: Canvas, title: str, results: TrackResults) -> None:
    """Draws title and numbers from left to right; the title gets the room that the numbers leave."""
    right = WIDTH - MARGIN
    if results.characteristics is not None:
        _draw_characteristics(canvas, results.characteristics, right - BARS_WIDTH)
        right -= BARS_WIDTH + GAP
    values = _values(results)
    while values and right - _total(canvas, values) - MARGIN < TITLE_LEAST:
        values.pop()
    left = right - _total(canvas, values)
    x = left
    for shown in values:
        _draw_value(canvas, shown, x)
        x += _width(canvas, shown) + GAP
    room = left - GAP - MARGIN
    size = next(
        (size for size in TITLE_SIZES if canvas.text_width(title, size, "bold") <= room), TITLE_SIZES[-1]
    )
    canvas.text(MARGIN, VALUE_Y - 4, canvas.fitting(title, size, room, "bold"), size, weight="bold")
    canvas.text(MARGIN, SUBTITLE_Y, _subtitle(canvas, results, room), SUBTITLE_SIZE, colour=DIM)


def _subtitle(canvas: Canvas, results: TrackResults, room: float) -> str:
    """Length, genres and moods, as many as there is room for."""
    parts = [format_timecode(results.seconds)]
    if results.genre is not None:
        parts += [genre_name(genre.label) for genre in results.genre.genres[:2]]
    if results.characteristics is not None:
        parts += [mood.label for mood in results.characteristics.moods[:2]]
    while len(parts) > 1 and canvas.text_width(SEPARATOR.join(parts), SUBTITLE_SIZE) > room:
        parts.pop()
    return SEPARATOR.join(parts)


def _values(results: TrackResults) -> list[HeaderValue]:
    """The most important first."""
    features = results.features
    if features is None:
        return []
    values: list[HeaderValue] = []
    if features.HasField("tempo"):
        values.append(HeaderValue("TEMPO", f"{features.tempo:.1f}", "BPM"))
    if features.HasField("key"):
        values.append(HeaderValue("KEY", features.key.name, badge=features.key.camelot))
    if metre(features):
        values.append(HeaderValue("METRE", metre(features)))
    if features.HasField("integrated_lufs"):
        values.append(HeaderValue("LOUDNESS", number_text(features.integrated_lufs), "LUFS"))
    if features.HasField("dynamic_range_db"):
        values.append(HeaderValue("DYNAMICS", number_text(features.dynamic_range_db), "dB"))
    return values


def _total(canvas: Canvas, values: list[HeaderValue]) -> float:
    return sum(_width(canvas, shown) for shown in values) + GAP * max(0, len(values) - 1)


def _width(canvas: Canvas, shown: HeaderValue) -> float:
    width = canvas.text_width(shown.value, VALUE_SIZE, "bold")
    if shown.unit:
        width += 10 + canvas.text_width(shown.unit, UNIT_SIZE)
    if shown.badge:
        width += 18 + _badge_width(canvas, shown.badge)
    return max(width, canvas.text_width(shown.label, LABEL_SIZE, "bold"))


def _badge_width(canvas: Canvas, badge: str) -> float:
    return canvas.text_width(badge, VALUE_SIZE - 10, "bold") + 32


def _draw_value(canvas: Canvas, shown: HeaderValue, x: float) -> None:
    canvas.text(x, LABEL_Y, shown.label, LABEL_SIZE, colour=DIM, weight="bold")
    canvas.text(x, VALUE_Y - 4, shown.value, VALUE_SIZE, weight="bold")
    x += canvas.text_width(shown.value, VALUE_SIZE, "bold")
    if shown.unit:
        canvas.text(x + 10, VALUE_Y + 6, shown.unit, UNIT_SIZE, colour=DIM)
    if shown.badge:
        colour = camelot_colour(shown.badge)
        width = _badge_width(canvas, shown.badge)
        canvas.box(x + 18, VALUE_Y - 38, width, 66, colour, radius=12)
        canvas.text(
            x + 18 + width / 2,
            VALUE_Y - 4,
            shown.badge,
            VALUE_SIZE - 10,
            colour=ink_on(colour),
            weight="bold",
            align="center",
        )


def _draw_characteristics(canvas: Canvas, character: CharacteristicsResult, left: float) -> None:
    """Six bars in two columns."""
    bars = (
        ("energy", character.energy),
        ("danceability", character.danceability),
        ("brightness", character.brightness),
        ("vocals", character.vocal_presence),
        ("instrumental", character.instrumentalness),
        ("acoustic", character.acousticness),
    )
    for place, (name, value) in enumerate(bars):
        x = left + place // 3 * (BARS_WIDTH / 2 + 12)
        y = VALUE_Y - 26 + place % 3 * 40
        width = BARS_WIDTH / 2 - 12 - 136
        canvas.text(x, y, name, LABEL_SIZE, colour=DIM)
        canvas.box(x + 136, y - 8, width, 16, PANEL, radius=8)
        canvas.box(x + 136, y - 8, width, 16, GRID, radius=8, alpha=0.7)
        share = min(1.0, max(0.0, value))
        if share > 0:
            canvas.box(x + 136, y - 8, max(16, width * share), 16, BAR, radius=8, order=2)
