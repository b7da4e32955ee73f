"""The glossary names what exists: every term has one row, in alphabetical order, and every place in it is real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = "\n".join(path.read_text() for path in sorted((ROOT / "protos").rglob("*.proto")))


def rows() -> list[tuple[str, str, list[str]]]:
    """(term, meaning, places) of each row."""
    found: list[tuple[str, str, list[str]]] = []
    for line in (ROOT / "docs" / "glossary.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| term |"):
            term, meaning, places = (cell.strip() for cell in line.strip("|").split(" | "))
            found.append((term, meaning, re.findall(r"`([^`]+)`", places)))
    return found


def test_terms_are_in_alphabetical_order_and_come_once() -> None:
    terms = [term.casefold() for term, _, _ in rows()]
    assert terms
    assert terms == sorted(set(terms))


@pytest.mark.parametrize(("term", "meaning", "places"), [pytest.param(*row, id=row[0]) for row in rows()])
def test_every_place_of_a_term_exists(term: str, meaning: str, places: list[str]) -> None:
    assert meaning.endswith("."), "a meaning is a sentence"
    assert places, "a term says where it is defined"
    files = [place for place in places if "." in place]
    texts = [CONTRACT]
    for file in files:
        path = ROOT / "mismo_grpc" / file
        path = path if path.exists() else ROOT / file
        assert path.is_file(), f"{term}: there is no {file}"
        texts.append(path.read_text())
    for name in places:
        if name not in files:
            assert any(re.search(rf"\b{name}\b", text) for text in texts), f"{term}: {name} is not there"
