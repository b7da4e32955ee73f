"""Names of uploaded files, as hostile as clients send them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.gateway.api.filenames import MAX_BYTES, clean_filename, stem_of


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("song.mp3", "song.mp3"),
        ("/etc/passwd", "passwd"),
        ("C:\\Music\\song.mp3", "song.mp3"),
        ("..", "track"),
        ("../", "track"),
        ("", "track"),
        (" . ", "track"),
        (".hidden.wav", "hidden.wav"),
        ("a\x00b\x1b[31m\n.wav", "ab[31m .wav"),
        ("exe.\u202e3pm", "exe.3pm"),
        ("a\u200bb.wav", "ab.wav"),
        ("e\u0301.wav", "\u00e9.wav"),
        ("a  \t b.wav", "a b.wav"),
    ],
)
def test_names(given_name: str, name: str) -> None:
    assert clean_filename(given_name) == name


def test_a_long_name_keeps_its_extension_and_no_half_character() -> None:
    name = clean_filename("\u00e9" * 300 + ".flac")
    assert len(name.encode()) in (MAX_BYTES - 1, MAX_BYTES)
    assert name.endswith("\u00e9.flac")
    # What only looks like an extension is cut with the rest.
    assert len(clean_filename("a." + "b" * 400).encode()) == MAX_BYTES


def test_the_stem_of_a_name() -> None:
    assert [stem_of(name) for name in ("a.b.wav", "a", ".a")] == ["a.b", "a", ".a"]


@given(st.text())
def test_every_name_is_safe(name: str) -> None:
    clean = clean_filename(name)
    assert 0 < len(clean.encode()) <= MAX_BYTES
    assert not set("/\\\r\n\0") & set(clean)
    assert clean not in (".", "..")
    assert clean_filename(clean) == clean
