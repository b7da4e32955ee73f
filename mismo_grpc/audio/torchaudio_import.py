"""Imports the package torchaudio also where its native extension cannot be loaded."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


def import_torchaudio() -> None:
    """Makes `import torchaudio` work, for packages that need its pure Python or import it without need.

    A torchaudio that was built for another torch or for CUDA raises OSError when it loads its extension. It is then
    imported as if it had no extension. Raises ImportError if it is not installed.
    """
    try:
        importlib.import_module("torchaudio")
    except OSError:
        sys.modules["torchaudio._extension"] = _no_extension()
        try:
            importlib.import_module("torchaudio")
        except BaseException:
            del sys.modules["torchaudio._extension"]
            raise


def _no_extension() -> ModuleType:
    """What `torchaudio._extension` is in a torchaudio without native code."""
    extension: Any = ModuleType("torchaudio._extension")

    def unavailable(*_: object, **__: object) -> None:
        raise RuntimeError("the native extension of torchaudio is not available")

    extension._IS_TORCHAUDIO_EXT_AVAILABLE = False
    extension._IS_ALIGN_AVAILABLE = False

    def unloaded(_: str) -> bool:
        return False

    def without_alignment(_: object) -> object:
        return unavailable

    extension._load_lib = unloaded
    extension.fail_if_no_align = without_alignment
    return extension
