"""What a client asks of a generator of stems."""

from __future__ import annotations

from dataclasses import dataclass

TARGET_STEMS = ("vocals", "drums", "bass", "guitar", "piano", "synth", "other")


@dataclass(frozen=True)
class GenerationOptions:
    """The stems to generate and their conditions; for fields that are None or empty the seed decides.

    `target_bpm` is in beats a minute, `seconds` the length; `chord_progression` has one chord symbol for each bar.
    """

    target_stems: tuple[str, ...]
    target_bpm: float = 120.0
    seconds: float = 10.0
    style: str = ""
    chord_progression: tuple[str, ...] = ()
    key: str = ""
    prompt: str = ""
    temperature: float = 1.0
    random_seed: int = 0
    generator: str = ""
