"""Imports the package beat_this, which needs torchaudio."""

from __future__ import annotations

import importlib
from typing import Any

from mismo_grpc.audio.torchaudio_import import import_torchaudio


def import_beat_this(name: str) -> Any:
    """Imports a module of beat_this, which needs only what is pure Python in torchaudio.

    Raises ImportError if a package is not installed.
    """
    import_torchaudio()
    return importlib.import_module(name)
