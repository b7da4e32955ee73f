"""Colours and sizes of the picture. Sizes are in pixels."""

from __future__ import annotations

import colorsys

WIDTH, HEIGHT = 2400, 900
DPI = 100
POINTS = 72 / DPI
"""Points in a pixel: what matplotlib counts fonts and lines in."""

BACKGROUND = "#0a0d13"
PANEL = "#121722"
GRID = "#2a3344"
TEXT = "#eef2f9"
DIM = "#8f9bb3"
LOW, MID, HIGH = "#2563ff", "#ff9a2b", "#f6f8ff"
PEAK = "#203873"
PHRASE = "#ffd54a"
MIX_IN, MIX_OUT = "#2fe08b", "#ff5f79"
ENERGY = "#22c7d6"
BAR = "#5b8cff"

SECTION_COLOURS = (
    "#4f7df9",
    "#b45cf0",
    "#f0764f",
    "#22ab98",
    "#d9a021",
    "#dd5594",
    "#6bb343",
    "#4fa3d8",
)
PITCH_CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def section_colour(index: int) -> str:
    """The colour of the label that came as number `index`."""
    return SECTION_COLOURS[index % len(SECTION_COLOURS)]


def camelot_colour(camelot: str) -> str:
    """Neighbours on the Camelot wheel have neighbouring hues; the minor keys are darker."""
    number = int(camelot[:-1]) if camelot[:-1].isdigit() else 1
    return _hex((number - 1) / 12 + 0.45, 0.55, 0.92 if camelot.endswith("B") else 0.78)


def chord_colour(label: str) -> str:
    """Roots that are a fifth apart have neighbouring hues; minor chords are darker, no chord is grey."""
    root, _, quality = label.partition(":")
    pitch = PITCH_CLASSES.get(root[:1])
    if pitch is None:
        return PANEL
    pitch += root.count("#") - root[1:].count("b")
    return _hex(pitch * 7 % 12 / 12 + 0.55, 0.55, 0.5 if quality.startswith("min") else 0.68)


def ink_on(colour: str) -> str:
    """Dark or light text, whichever has more contrast."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return BACKGROUND if 0.299 * red + 0.587 * green + 0.114 * blue > 0.58 else "#ffffff"


def _hex(hue: float, saturation: float, value: float) -> str:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
