"""The lanes of the timeline: sections, cue points, beats, chords, energy, time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mismo.analysis.v1.results_pb2 import (
    BasicFeaturesResult,
    ChordsResult,
    CuePoint,
    SectionsResult,
    TransitionResult,
)
from mismo_client.musical_text import chord_symbol, section_role
from mismo_client.plotting.canvas import Canvas
from mismo_client.plotting.style import (
    BACKGROUND,
    DIM,
    ENERGY,
    GRID,
    MIX_IN,
    MIX_OUT,
    PANEL,
    PHRASE,
    TEXT,
    chord_colour,
    ink_on,
    section_colour,
)
from mismo_client.timecode import format_timecode

LEAST_TICK_DISTANCE = 4.0
LEAST_LINE_DISTANCE = 24.0
LEAST_PHRASE_DISTANCE = 30.0
LEAST_NUMBER_DISTANCE = 70.0
LEAST_TIME_DISTANCE = 130.0
TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
LABEL_SIZE, ROLE_SIZE, ROLE_GAP = 30, 21, 12
SMALL_LABEL_SIZE, SMALL_ROLE_SIZE = 24, 15
CHORD_SIZE, LARGE_CHORD_SIZE = 18, 24
FLAG_HEIGHT = 30
FLAG_ROWS = 2


@dataclass(frozen=True)
class Timeline:
    """Where times are: `left` to `right` in pixels stand for 0 to `seconds`."""

    left: float
    right: float
    seconds: float

    def x(self, time: float) -> float:
        """The place of a time; times outside of the track are put at its ends."""
        return self.left + min(1.0, max(0.0, time / self.seconds)) * (self.right - self.left)

    @property
    def pixels_per_second(self) -> float:
        """The scale."""
        return (self.right - self.left) / self.seconds


@dataclass(frozen=True)
class Lane:
    """A horizontal strip from `top` to `bottom`."""

    top: float
    bottom: float

    @property
    def height(self) -> float:
        """Pixels."""
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        """Halfway between top and bottom."""
        return (self.top + self.bottom) / 2


def thinning_step(places: Sequence[float], least: float) -> int:
    """The least power of 2 so that places this many apart are mostly at least `least` pixels from each other."""
    if len(places) < 2:
        return 1
    distance = float(np.median(np.diff(np.asarray(places))))
    step = 1
    while distance * step < least and step < len(places):
        step *= 2
    return step


def thinned(places: Sequence[float], least: float) -> Sequence[float]:
    """Every 1st, 2nd, 4th, 8th, ... of the places, so that they are mostly at least `least` pixels apart."""
    return places[:: thinning_step(places, least)]


def draw_sections(canvas: Canvas, line: Timeline, lane: Lane, result: SectionsResult) -> None:
    """A block for each section with its label and its role."""
    numbers: dict[str, int] = {}
    for section in result.sections:
        colour = section_colour(numbers.setdefault(section.label, len(numbers)))
        start, end = line.x(section.start), line.x(section.end)
        canvas.box(start + 1, lane.top, max(1, end - start - 2), lane.height, colour, radius=8, alpha=0.92)
        _name_section(canvas, lane, start, end, section.label, section_role(section).upper(), ink_on(colour))


def _name_section(
    canvas: Canvas, lane: Lane, start: float, end: float, label: str, role: str, ink: str
) -> None:
    """Label and role side by side, or the role below, or the label alone, or nothing: what the block has room for."""
    middle, room = (start + end) / 2, end - start - 16
    label_width = canvas.text_width(label, LABEL_SIZE, "bold")
    both = label_width + ROLE_GAP + canvas.text_width(role, ROLE_SIZE, "bold")
    if role and both <= room:
        left = middle - both / 2
        canvas.text(left, lane.middle, label, LABEL_SIZE, colour=ink, weight="bold")
        canvas.text(left + label_width + ROLE_GAP, lane.middle, role, ROLE_SIZE, colour=ink, weight="bold")
    elif role and canvas.text_width(role, SMALL_ROLE_SIZE, "bold") <= room:
        upper, lower = lane.top + lane.height * 0.33, lane.top + lane.height * 0.75
        canvas.text(middle, upper, label, SMALL_LABEL_SIZE, colour=ink, weight="bold", align="center")
        canvas.text(middle, lower, role, SMALL_ROLE_SIZE, colour=ink, weight="bold", align="center")
    elif label_width <= room:
        canvas.text(middle, lane.middle, label, LABEL_SIZE, colour=ink, weight="bold", align="center")


def draw_chords(canvas: Canvas, line: Timeline, lane: Lane, result: ChordsResult) -> None:
    """A block for each chord; its symbol where there is room."""
    spans = [(line.x(c.start), line.x(c.end), chord_colour(c.label)) for c in result.chords]
    canvas.boxes(spans, lane.top, lane.height)
    wide = [start for start, end, _ in spans if end - start > 8]
    canvas.ticks(wide, lane.top, lane.bottom, BACKGROUND, width=1.5)
    for (start, end, colour), chord in zip(spans, result.chords, strict=True):
        symbol = chord_symbol(chord.label)
        if not symbol:
            continue
        middle, ink = (start + end) / 2, ink_on(colour)
        width = canvas.text_width(symbol, CHORD_SIZE)
        if width + 8 <= end - start:
            size = LARGE_CHORD_SIZE if 2 * width <= end - start else CHORD_SIZE
            canvas.text(middle, lane.middle, symbol, size, colour=ink, align="center")
        elif end - start >= CHORD_SIZE and width + 6 <= lane.height:
            canvas.text(middle, lane.middle, symbol, CHORD_SIZE - 1, colour=ink, align="center", upright=True)


def draw_beats(
    canvas: Canvas, line: Timeline, lane: Lane, result: BasicFeaturesResult, phrases: Sequence[float]
) -> None:
    """Ticks for beats, longer ones for downbeats, numbers of bars at phrases or in even steps."""
    canvas.box(line.left, lane.top, line.right - line.left, lane.height, PANEL)
    beats = [line.x(time) for time in result.beats]
    if len(thinned(beats, LEAST_TICK_DISTANCE)) == len(beats):
        canvas.ticks(beats, lane.top, lane.top + 9, DIM, width=1)
    downbeats = [line.x(time) for time in result.downbeats]
    canvas.ticks(thinned(downbeats, LEAST_TICK_DISTANCE), lane.top, lane.top + 18, TEXT, width=1.5)
    numbers = {time: number for number, time in enumerate(result.downbeats, 1)}
    named = [time for time in (phrases or result.downbeats) if time in numbers]
    for time in named[:: thinning_step([line.x(time) for time in named], LEAST_NUMBER_DISTANCE)]:
        text = f"{numbers[time]}"
        if line.x(time) + canvas.text_width(text, 17) < line.right:
            canvas.text(line.x(time) + 5, lane.bottom - 11, text, 17, colour=DIM)


def draw_phrases(canvas: Canvas, line: Timeline, lane: Lane, phrases: Sequence[float]) -> None:
    """A line through the lane at each start of a phrase, with a triangle at its foot."""
    places = thinned([line.x(time) for time in phrases], LEAST_PHRASE_DISTANCE)
    canvas.ticks(places, lane.top, lane.bottom, PHRASE, width=1.5, alpha=0.5, order=4)
    for x in places:
        canvas.polygon([(x - 6, lane.bottom), (x + 6, lane.bottom), (x, lane.bottom - 10)], PHRASE)


def draw_bar_lines(canvas: Canvas, line: Timeline, lane: Lane, downbeats: Sequence[float]) -> None:
    """A faint line through the lane at each downbeat, if they are far enough apart."""
    places = [line.x(time) for time in downbeats]
    if len(thinned(places, LEAST_LINE_DISTANCE)) == len(places):
        canvas.ticks(places, lane.top, lane.bottom, TEXT, width=1, alpha=0.16, order=3)


def draw_cues(
    canvas: Canvas,
    line: Timeline,
    flags: Lane,
    wave: Lane,
    foot: float,
    result: TransitionResult,
    bar_seconds: float,
) -> None:
    """A flag for each cue point with its time, a line down to `foot`, and the passage of the best as a tint.

    The best cue points get their flags first; one without room has its line alone.
    """
    rows: list[list[tuple[float, float]]] = [[] for _ in range(FLAG_ROWS)]
    cues = [
        (rank, cue, name, colour)
        for cues, name, colour in ((result.mix_in, "IN", MIX_IN), (result.mix_out, "OUT", MIX_OUT))
        for rank, cue in enumerate(cues)
    ]
    for rank, cue, name, colour in sorted(cues, key=lambda entry: entry[0]):
        x = line.x(cue.time)
        end = line.x(cue.time + cue.bars * bar_seconds)
        if rank == 0 and end > x:
            canvas.box(x, wave.top, end - x, wave.height, colour, alpha=0.2, order=1.5)
        top = flags.bottom
        text = _flag_text(cue, name)
        width = canvas.text_width(text, 19, "bold") + 20
        # A flag that does not fit to the right of its line hangs to the left.
        start = x if x + width <= line.right else x - width
        for number, row in enumerate(rows):
            if all(start + width + 4 < left or right + 4 < start for left, right in row):
                row.append((start, start + width))
                top = flags.top + number * (FLAG_HEIGHT + 2)
                canvas.box(
                    start, top, width, FLAG_HEIGHT, colour, radius=5, alpha=1 if rank == 0 else 0.75, order=6
                )
                canvas.text(
                    start + width / 2,
                    top + FLAG_HEIGHT / 2,
                    text,
                    19,
                    colour=BACKGROUND,
                    weight="bold",
                    align="center",
                    order=7,
                )
                break
        canvas.ticks([x], top, foot, colour, width=3 if rank == 0 else 1.5, order=5)


def _flag_text(cue: CuePoint, name: str) -> str:
    bars = f" · {cue.bars} bars" if cue.bars else ""
    return f"{name} {format_timecode(cue.time)}{bars}"


def draw_energy(canvas: Canvas, line: Timeline, lane: Lane, result: TransitionResult) -> None:
    """The energy as a filled curve."""
    canvas.box(line.left, lane.top, line.right - line.left, lane.height, PANEL)
    values = np.clip(np.asarray(result.energy, dtype=np.float64), 0.0, 1.0)
    times = (np.arange(len(values)) + 0.5) * result.energy_interval
    step = max(1, len(values) // int(line.right - line.left))
    size = len(values) // step * step
    values = values[:size].reshape(-1, step).mean(axis=1)
    times = times[:size].reshape(-1, step).mean(axis=1)
    x = np.asarray([line.x(float(time)) for time in times])
    y = lane.bottom - values * (lane.height - 6)
    x = np.concatenate([[line.left], x, [line.right]])
    y = np.concatenate([y[:1], y, y[-1:]])
    canvas.area(x, y, lane.bottom, ENERGY, alpha=0.28)
    canvas.curve(x, y, ENERGY, width=2.5)


def draw_times(canvas: Canvas, line: Timeline, lane: Lane, through: Lane) -> None:
    """Times below, and faint lines up through the lanes."""
    fitting = [step for step in TIME_STEPS if step * line.pixels_per_second >= LEAST_TIME_DISTANCE]
    step = fitting[0] if fitting else TIME_STEPS[-1]
    times = [float(time) for time in np.arange(0.0, line.seconds, step)]
    canvas.ticks([line.x(time) for time in times], through.top, through.bottom, GRID, width=1, order=0.5)
    for time in times:
        text = format_timecode(time)
        half = canvas.text_width(text, 19) / 2
        x = min(max(line.x(time), line.left + half), line.right - half)
        canvas.text(x, lane.middle, text, 19, colour=DIM, align="center")
