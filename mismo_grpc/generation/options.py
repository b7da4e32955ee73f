"""What a client asks of a generator of stems."""

from __future__ import annotations

from dataclasses import dataclass

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.generation.theory import parse_chord, parse_key

TARGET_STEMS = ("vocals", "drums", "bass", "guitar", "piano", "synth", "other")
GENERATORS = ("synthetic", "musicgen")

MIN_BPM, MAX_BPM = 40.0, 240.0
MIN_SECONDS, MAX_SECONDS = 0.5, 1800.0
MAX_TEMPERATURE = 2.0
MAX_SEED = 2**63 - 1
MAX_STYLE, MAX_PROMPT, MAX_SYMBOL = 64, 2000, 32
"""Characters of a style, of a prompt, and of a chord symbol or a key."""
MAX_CHORDS = 256

_FIELD = "options.generation"


@dataclass(frozen=True)
class GenerationOptions:
    """The stems to generate and their conditions; where a text or a list is empty, the seed decides.

    `target_bpm` is in beats a minute, `seconds` the length; `chord_progression` has one chord symbol for each bar and
    is repeated; `temperature` 0 means the most probable choice. Raises InvalidFieldError that names the field.
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

    def __post_init__(self) -> None:
        self._check_stems()
        _check_range("target_bpm", self.target_bpm, MIN_BPM, MAX_BPM, "beats a minute")
        _check_range("duration", self.seconds, MIN_SECONDS, MAX_SECONDS, "seconds")
        _check_range("temperature", self.temperature, 0.0, MAX_TEMPERATURE, "(1 is usual)")
        if not 0 <= self.random_seed <= MAX_SEED:
            raise _invalid("random_seed", "must be 0 to 2^63 - 1; choose a seed in this range")
        _check_text("style", self.style, MAX_STYLE)
        _check_text("prompt", self.prompt, MAX_PROMPT)
        self._check_chords()
        _check_text("key", self.key, MAX_SYMBOL)
        if self.key:
            parse_key(self.key, f"{_FIELD}.key")
        if self.generator and self.generator not in GENERATORS:
            raise _invalid(
                "generator",
                f"{self.generator[:MAX_SYMBOL]!r} is unknown; use one of {', '.join(GENERATORS)}, or leave it empty "
                "for the server's default",
            )

    def _check_stems(self) -> None:
        known = f"name one or more of {', '.join(TARGET_STEMS)}"
        if not self.target_stems:
            raise _invalid("target_stems", f"must not be empty; {known}")
        if unknown := [stem for stem in self.target_stems if stem not in TARGET_STEMS]:
            raise _invalid("target_stems", f"{unknown[0][:MAX_SYMBOL]!r} is unknown; {known}")
        if len(set(self.target_stems)) < len(self.target_stems):
            raise _invalid("target_stems", "has a stem twice; name each stem once")

    def _check_chords(self) -> None:
        if len(self.chord_progression) > MAX_CHORDS:
            raise _invalid(
                "chord_progression",
                f"has {len(self.chord_progression)} chords, at most {MAX_CHORDS}; shorten it, as it is repeated",
            )
        for symbol in self.chord_progression:
            _check_text("chord_progression", symbol, MAX_SYMBOL)
            parse_chord(symbol, f"{_FIELD}.chord_progression")


def _check_range(name: str, value: float, low: float, high: float, unit: str) -> None:
    # Written so that NaN fails as well.
    if not low <= value <= high:
        raise _invalid(name, f"must be {low:g} to {high:g} {unit}; choose a value in this range")


def _check_text(name: str, text: str, most: int) -> None:
    if len(text) > most:
        raise _invalid(name, f"has {len(text)} characters, at most {most}; shorten it")
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in text):
        raise _invalid(name, "has a NUL character or half of a surrogate pair; send plain Unicode text")


def _invalid(name: str, problem: str) -> InvalidFieldError:
    return InvalidFieldError(f"{_FIELD}.{name} {problem}", field=f"{_FIELD}.{name}")
