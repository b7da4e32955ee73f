"""The picture of an analysed track: numbers above, the waveform with its results along the time below."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from mismo_client.plotting.canvas import Canvas
from mismo_client.plotting.header import draw_header
from mismo_client.plotting.lanes import (
    Lane,
    Timeline,
    draw_bar_lines,
    draw_beats,
    draw_chords,
    draw_cues,
    draw_energy,
    draw_phrases,
    draw_sections,
    draw_times,
)
from mismo_client.plotting.results import TrackResults
from mismo_client.plotting.style import DIM, GRID, HEIGHT, HIGH, LOW, MID, PEAK, WIDTH
from mismo_client.plotting.waveform import Waveform
from mismo_client.transfer.artifacts import whole_file

LEFT, RIGHT = 150.0, WIDTH - 40.0
TOP, BOTTOM = 186.0, HEIGHT - 48.0
GAP = 10.0
SECTIONS, FLAGS, BEATS, CHORDS, ENERGY = 58.0, 64.0, 42.0, 52.0, 104.0
"""Heights of the lanes; the waveform has the rest."""
BAND_HEIGHTS = (0.96, 0.74, 0.4)
"""The share of the lane that the loudest part of each band has: the higher bands lie inside the lower ones."""
LEAST_BAND_LEVEL = 0.12
"""A band is enlarged until its loudest part is as high as above, but from no lower level than this share of the
loudest band: noise in an empty band stays small."""


def save_picture(target: Path, title: str, results: TrackResults, waveform: Waveform) -> None:
    """Writes a PNG of 2400 x 900 pixels, whole or not at all; raises OSError."""
    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        canvas = draw_picture(title, results, waveform)
        with whole_file(target) as part, part.open("wb") as file:
            canvas.figure.savefig(file, format="png")


def draw_picture(title: str, results: TrackResults, waveform: Waveform) -> Canvas:
    """Draws what there is of the results; a lane without a result is left out."""
    canvas = Canvas()
    line = Timeline(LEFT, RIGHT, max(results.seconds, 1e-3))
    draw_header(canvas, title, results)
    features, transition = results.features, results.transition
    sections = results.sections if results.sections is not None and results.sections.sections else None
    beats = features if features is not None and features.beats else None
    chords = results.chords if results.chords is not None and results.chords.chords else None
    energy = transition if transition is not None and transition.energy else None
    cues = transition if transition is not None and (transition.mix_in or transition.mix_out) else None
    phrases = list(transition.phrases) if transition is not None else []

    y = TOP
    if sections is not None:
        lane = Lane(y, y + SECTIONS)
        draw_sections(canvas, line, lane, sections)
        _name(canvas, lane, "sections")
        y += SECTIONS + GAP
    flags = Lane(y, y + FLAGS)
    y += FLAGS if cues is not None else 0
    lower = ((BEATS, beats), (CHORDS, chords), (ENERGY, energy))
    below = sum(height + GAP for height, shown in lower if shown is not None)
    wave = Lane(y, BOTTOM - below)
    draw_waveform(canvas, line, wave, waveform)
    _name(canvas, wave, "waveform")
    y = wave.bottom
    if beats is not None:
        lane = Lane(y, y + BEATS)
        draw_beats(canvas, line, lane, beats, phrases)
        draw_bar_lines(canvas, line, wave, beats.downbeats)
        _name(canvas, lane, "bars")
        y += BEATS + GAP
    draw_phrases(canvas, line, wave, phrases)
    if chords is not None:
        lane = Lane(y, y + CHORDS)
        draw_chords(canvas, line, lane, chords)
        _name(canvas, lane, "chords")
        y += CHORDS + GAP
    if energy is not None:
        lane = Lane(y, y + ENERGY)
        draw_energy(canvas, line, lane, energy)
        _name(canvas, lane, "energy")
    if cues is not None:
        draw_cues(canvas, line, flags, wave, BOTTOM, cues, _bar_seconds(results))
        _name(canvas, flags, "mix")
    draw_times(canvas, line, Lane(BOTTOM + 4, HEIGHT - 8), Lane(wave.top, BOTTOM))
    return canvas


def draw_waveform(canvas: Canvas, line: Timeline, lane: Lane, waveform: Waveform) -> None:
    """The peaks, and over them the levels of the three bands, mirrored about the middle."""
    columns = waveform.columns(int(line.right - line.left))
    count = len(columns.peaks)
    half = lane.height / 2 - 2
    x = line.left + (np.arange(count) + 0.5) * (line.right - line.left) / count
    canvas.curve([line.left, line.right], [lane.middle, lane.middle], GRID, width=1, order=1)
    loudest = float(columns.peaks.max())
    if loudest <= 0:
        return
    peaks = columns.peaks / loudest * half
    canvas.area(x, lane.middle - peaks, lane.middle + peaks, PEAK, order=2)
    tops = np.percentile(columns.bands, 99.5, axis=0)
    tops = np.maximum(tops, max(float(tops.max()) * LEAST_BAND_LEVEL, 1e-9))
    for band, (colour, share) in enumerate(zip((LOW, MID, HIGH), BAND_HEIGHTS, strict=True)):
        levels = np.minimum(columns.bands[:, band] / tops[band], 1.0)
        heights = np.minimum(levels * half * share, peaks)
        canvas.area(x, lane.middle - heights, lane.middle + heights, colour, order=2.1 + band / 10)


def _name(canvas: Canvas, lane: Lane, name: str) -> None:
    canvas.text(LEFT - 16, lane.middle, name, 20, colour=DIM, align="right")


def _bar_seconds(results: TrackResults) -> float:
    """The mean length of a bar; 0 if there are none."""
    downbeats = results.features.downbeats if results.features is not None else ()
    return (downbeats[-1] - downbeats[0]) / (len(downbeats) - 1) if len(downbeats) > 1 else 0.0
