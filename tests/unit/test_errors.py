"""Errors that say more than their class."""

from __future__ import annotations

import pytest

from mismo_grpc.errors import RunReplacedError, check_run
from mismo_grpc.wire_forms import wire


def test_a_run_that_was_replaced_is_refused_with_both_run_ids_and_the_remedy() -> None:
    with pytest.raises(RunReplacedError, match="start over with the new one") as caught:
        check_run("song", "old", "new")
    assert caught.value.metadata == {"expected_run_id": "old", "run_id": "new"}
    assert (wire(caught.value).reason, wire(caught.value).http_status) == ("RUN_REPLACED", 409)


@pytest.mark.parametrize("expected", ["", "new"])
def test_the_expected_run_and_no_expectation_pass(expected: str) -> None:
    check_run("song", expected, "new")


def test_a_long_expectation_is_cut_in_the_answer() -> None:
    with pytest.raises(RunReplacedError) as caught:
        check_run("song", "x" * 10_000, "new")
    assert len(caught.value.message) < 300
    assert len(caught.value.metadata["expected_run_id"]) == 64
