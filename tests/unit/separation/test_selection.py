from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.separation.selection import select_stems

SOURCES = ("drums", "bass", "other", "vocals")


def test_all_stems_by_default_in_the_models_order() -> None:
    assert select_stems(SOURCES).names == SOURCES


def test_some_stems_come_in_the_models_order_whatever_order_was_asked() -> None:
    selection = select_stems(SOURCES, ["vocals", "drums"])
    assert selection.names == ("drums", "vocals")
    assert selection.needed_sources == (0, 3)


def test_two_stems_are_the_stem_and_the_sum_of_the_others() -> None:
    selection = select_stems(SOURCES, two_stems="vocals")
    assert selection.names == ("vocals", "no_vocals")
    assert np.array_equal(selection.matrix, [[0, 0, 0, 1], [1, 1, 1, 0]])


@pytest.mark.parametrize(
    ("names", "two", "field"),
    [
        (["guitar"], "", "options.stems.stem_names"),
        (["bass", "bass"], "", "options.stems.stem_names"),
        ([], "guitar", "options.stems.two_stems"),
    ],
)
def test_a_wrong_stem_names_its_field_and_what_there_is(names: list[str], two: str, field: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        select_stems(SOURCES, names, two)
    assert caught.value.field == field
