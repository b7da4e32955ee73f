"""Tests that need a package that is not installed: skipped with the reason, but not in CI."""

from __future__ import annotations

import pytest

from tests.support.packages import needs, optional

MISSING = "a_package_that_is_not_installed"


def test_without_a_package_its_tests_are_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert needs("numpy", MISSING).mark.args == (True,)
    assert needs("numpy").mark.args == (False,)
    with pytest.raises(pytest.skip.Exception, match=f"not installed: {MISSING}"):
        optional(MISSING)


def test_in_ci_they_run_and_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert needs(MISSING).mark.args == (False,)
    with pytest.raises(ModuleNotFoundError):
        optional(MISSING)
