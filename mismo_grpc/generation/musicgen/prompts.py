"""Describes a stem in words, for a model that was trained on descriptions of music."""

from __future__ import annotations

from types import MappingProxyType

from mismo_grpc.generation.annotation import nearest_mode
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.generation.theory import PITCH_NAMES, parse_key

STEM_WORDS = MappingProxyType(
    {
        "vocals": "solo vocals, a cappella singing",
        "drums": "drums only, drum loop",
        "bass": "solo bass line",
        "guitar": "solo guitar",
        "piano": "solo piano",
        "synth": "solo synthesizer",
        "other": "strings and pads, no drums",
    }
)


def prompt_of(options: GenerationOptions, stem: str) -> str:
    """The description of a stem: the prompt, the style, the instrument, the tempo, the key and the chords."""
    key = parse_key(options.key) if options.key else None
    parts = [
        options.prompt.strip(),
        options.style.strip(),
        STEM_WORDS[stem],
        f"{options.target_bpm:g} bpm",
        f"in {PITCH_NAMES[key.tonic]} {nearest_mode(key.mode)}" if key else "",
        f"chords {' '.join(options.chord_progression[:16])}" if options.chord_progression else "",
    ]
    return ", ".join(part for part in parts if part)
