"""Cursors: opaque text that comes back as it was, or is refused with a reason."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.errors import CursorExpiredError, InvalidFieldError
from mismo_grpc.jobs.cursor import Cursor, decode_cursor, encode_cursor


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_a_cursor_comes_back_as_it_was(position: int, more: int) -> None:
    removals = min(position + more, 10**18 - 1)
    cursor = Cursor("0123456789abcdef", position, removals)
    assert decode_cursor(encode_cursor(cursor)) == cursor


@given(st.text())
def test_a_text_is_a_cursor_or_refused(text: str) -> None:
    with suppress(InvalidFieldError, CursorExpiredError):
        decode_cursor(text)


@pytest.mark.parametrize(
    "text",
    [
        "1.0123456789abcdef",
        "1.0123456789abcdef.",
        "1.0123456789ABCDEF.1",
        "1.0123456789abcdef.01",
        "1.0123456789abcdef.1\n",
        "1.0123456789abcdef.٣",
        "1.0123456789abcdef." + "9" * 19,
        "1.0123456789abcdef.1.2.3",
        "0.0123456789abcdef.1",
        "2." + "a" * 200,
    ],
)
def test_garbage_names_the_field(text: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        decode_cursor(text)
    assert caught.value.field == "cursor"


def test_a_cursor_of_another_version_has_expired() -> None:
    with pytest.raises(CursorExpiredError):
        decode_cursor("2.whatever.it.is")
