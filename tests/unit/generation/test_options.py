from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.generation.options import TARGET_STEMS, GenerationOptions

USUAL = GenerationOptions(
    TARGET_STEMS,
    target_bpm=96.5,
    seconds=12.25,
    style="jazz",
    chord_progression=("Am7", "D7", "C/E"),
    key="A minor",
    prompt="warm, late at night\nwith brushes",
    temperature=0.7,
    random_seed=2**63 - 1,
    generator="musicgen",
)

REFUSED = [
    ("target_stems", {"target_stems": ()}, "must not be empty"),
    ("target_stems", {"target_stems": ("drums", "flute")}, "'flute' is unknown"),
    ("target_stems", {"target_stems": ("x" * 5000,)}, "is unknown"),
    ("target_stems", {"target_stems": ("drums", "bass", "drums")}, "twice"),
    ("target_bpm", {"target_bpm": 39.9}, "40 to 240"),
    ("target_bpm", {"target_bpm": 240.1}, "40 to 240"),
    ("target_bpm", {"target_bpm": math.nan}, "40 to 240"),
    ("target_bpm", {"target_bpm": math.inf}, "40 to 240"),
    ("duration", {"seconds": 0.49}, "0.5 to 1800"),
    ("duration", {"seconds": 1801.0}, "0.5 to 1800"),
    ("duration", {"seconds": math.nan}, "0.5 to 1800"),
    ("style", {"style": "x" * 65}, "at most 64"),
    ("style", {"style": "ro\0ck"}, "NUL"),
    ("chord_progression", {"chord_progression": ("H7",)}, "no chord symbol"),
    ("chord_progression", {"chord_progression": ("",)}, "no chord symbol"),
    ("chord_progression", {"chord_progression": ("C" * 33,)}, "at most 32"),
    ("chord_progression", {"chord_progression": ("C",) * 257}, "at most 256"),
    ("key", {"key": "H dur"}, "is no key"),
    ("key", {"key": "A" * 33}, "at most 32"),
    ("prompt", {"prompt": "x" * 2001}, "at most 2000"),
    ("prompt", {"prompt": "\ud800"}, "surrogate"),
    ("temperature", {"temperature": -0.01}, "0 to 2"),
    ("temperature", {"temperature": 2.01}, "0 to 2"),
    ("temperature", {"temperature": math.nan}, "0 to 2"),
    ("random_seed", {"random_seed": -1}, "2^63"),
    ("random_seed", {"random_seed": 2**63}, "2^63"),
    ("generator", {"generator": "oracle"}, "'oracle' is unknown"),
]


@pytest.mark.parametrize(("field", "changes", "problem"), REFUSED)
def test_a_value_out_of_range_is_refused_with_the_name_of_its_field(
    field: str, changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        replace(USUAL, **changes)
    assert caught.value.field == f"options.generation.{field}"
    assert f"options.generation.{field}" in caught.value.message
    assert problem in caught.value.message
    assert len(caught.value.message) < 400


def test_the_limits_themselves_are_in_range() -> None:
    for changes in (
        {"target_bpm": 40.0, "seconds": 0.5, "temperature": 0.0, "random_seed": 0},
        {"target_bpm": 240.0, "seconds": 1800.0, "temperature": 2.0},
        {"style": "x" * 64, "prompt": "x" * 2000, "chord_progression": ("C",) * 256},
        {"style": "no such style", "generator": "", "key": "", "prompt": ""},
    ):
        replace(USUAL, **changes)


def test_options_survive_the_store_as_json() -> None:
    adapter = TypeAdapter(GenerationOptions)
    record = json.dumps(adapter.dump_python(USUAL, mode="json"))
    assert adapter.validate_python(json.loads(record)) == USUAL


def test_a_stored_value_out_of_range_is_refused_by_the_same_check() -> None:
    adapter = TypeAdapter(GenerationOptions)
    record = {**adapter.dump_python(USUAL, mode="json"), "target_bpm": 5.0}
    with pytest.raises(InvalidFieldError, match=r"options\.generation\.target_bpm must be 40 to 240"):
        adapter.validate_python(record)
