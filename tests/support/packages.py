"""Optional packages: without one, the tests that need it are skipped, but never in CI, where they must run."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

import pytest


def needs(*packages: str) -> pytest.MarkDecorator:
    """Marks a test that needs the packages, which are not imported here."""
    missing = missing_packages(*packages)
    return pytest.mark.skipif(bool(missing), reason=missing)


def optional(name: str) -> Any:
    """Imports a package; skips the test, or the module of tests, that calls this without it."""
    if missing := missing_packages(name):
        pytest.skip(missing, allow_module_level=True)
    return importlib.import_module(name)


def missing_packages(*packages: str) -> str:
    """Why tests that need the packages are to be skipped; empty if they are to run."""
    names = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(names)}" if names and not os.environ.get("CI") else ""
