"""Numbers, metres, section roles, chords and genres of results, as short texts for a person."""

from __future__ import annotations

from mismo.analysis.v1.results_pb2 import (
    SECTION_ROLE_BREAKDOWN,
    SECTION_ROLE_DROP,
    SECTION_ROLE_INTRO,
    SECTION_ROLE_OUTRO,
    BasicFeaturesResult,
    Section,
)

ROLE_NAMES = {
    SECTION_ROLE_INTRO: "intro",
    SECTION_ROLE_OUTRO: "outro",
    SECTION_ROLE_BREAKDOWN: "breakdown",
    SECTION_ROLE_DROP: "drop",
}
QUALITY_SIGNS = {"maj": "", "min": "m", "7": "7", "min7": "m7", "maj7": "maj7"}
MINUS = "\N{MINUS SIGN}"


def number_text(value: float, digits: int = 1) -> str:
    """A number with the typographic minus sign; no sign where it is 0 or more."""
    text = f"{value:.{digits}f}"
    # Rounding may leave a negative zero.
    text = text.removeprefix("-") if float(text) == 0 else text
    return text.replace("-", MINUS)


def difference_text(value: float, digits: int = 1) -> str:
    """A difference: always with its sign, unless it is 0."""
    text = number_text(value, digits)
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def metre(features: BasicFeaturesResult) -> str:
    """As in "4/4"; empty if no bars were found."""
    return f"{features.beats_per_bar}/4" if features.beats_per_bar else ""


def section_role(section: Section) -> str:
    """As in "drop"; empty if the section has no role, or one that is newer than this client."""
    return ROLE_NAMES.get(section.role, "")


def chord_symbol(label: str) -> str:
    """A chord in Harte's syntax as musicians write it: "F#m" for "F#:min"; empty for no chord."""
    if label == "N":
        return ""
    root, _, quality = label.partition(":")
    return root + QUALITY_SIGNS.get(quality, quality)


def genre_name(label: str) -> str:
    """The style of "Electronic---House"."""
    return label.rpartition("---")[2]
