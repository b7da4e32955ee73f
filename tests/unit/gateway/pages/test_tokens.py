"""The design tokens: text can be read on every surface, in both themes (WCAG 2.2, contrast)."""

from __future__ import annotations

import itertools
import re
from importlib.resources import files

import pytest

TOKENS = (files("mismo_grpc.gateway") / "static" / "css" / "tokens.css").read_text(encoding="utf-8")
SURFACES = ("bg", "surface", "surface-2", "surface-3")
STEMS = ("vocals", "drums", "bass", "other", "guitar", "piano", "synth", "mix")
TEXTS = ("text", "text-2", "text-3", "accent", "good", "warn", "bad", *(f"stem-{stem}" for stem in STEMS))


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})\b", block))


def block(selector: str) -> dict[str, str]:
    found = re.search(re.escape(selector) + r"\s*\{(.*?)\}", TOKENS, re.DOTALL)
    assert found, selector
    return colours(found[1])


THEMES = {"dark": block(":root"), "light": block(':root[data-theme="light"]')}


def luminance(colour: str) -> float:
    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_stem_colours_have_aa_contrast_on_every_surface(theme: str) -> None:
    tokens = THEMES[theme]
    pairs = [
        *itertools.product(TEXTS, SURFACES),
        ("on-accent", "accent"),
        ("accent", "accent-faint"),
        *((name, f"{name}-faint") for name in ("good", "warn", "bad")),
        *(("text", f"{name}-faint") for name in ("accent", "good", "warn", "bad")),
    ]
    ratios = {pair: contrast(tokens[pair[0]], tokens[pair[1]]) for pair in pairs}
    assert {pair: round(ratio, 2) for pair, ratio in ratios.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("theme", THEMES)
def test_borders_of_controls_stand_out_from_every_surface(theme: str) -> None:
    tokens = THEMES[theme]
    ratios = {surface: contrast(tokens["line-strong"], tokens[surface]) for surface in SURFACES}
    assert {surface: round(ratio, 2) for surface, ratio in ratios.items() if ratio < 3} == {}


def test_the_light_theme_is_the_same_by_the_system_and_by_choice() -> None:
    assert block(':root:not([data-theme="dark"])') == THEMES["light"]
    assert set(THEMES["light"]) == set(THEMES["dark"])
