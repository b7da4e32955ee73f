"""A network whose weights load, or do not, as a test wants it: demucs' own loader makes it from its file."""

from __future__ import annotations

from typing import Any

import torch
from demucs.htdemucs import HTDemucs

from tests.unit.separation.bags import SEGMENT, SOURCES

TROUBLES: list[BaseException] = []
"""Raised one after the other while weights are loaded."""


class Moody(HTDemucs):
    """As `tiny_htdemucs`."""

    def load_state_dict(self, *arguments: Any, **more: Any) -> Any:
        if TROUBLES:
            raise TROUBLES.pop(0)
        return super().load_state_dict(*arguments, **more)


def moody(seed: int) -> Moody:
    """One that is there; what is written of it gets into trouble when it is loaded."""
    torch.manual_seed(seed)
    return Moody(
        sources=SOURCES,
        channels=8,
        bottom_channels=8,
        t_layers=1,
        t_heads=2,
        nfft=512,
        depth=3,
        segment=SEGMENT,  # pyright: ignore[reportArgumentType] - demucs takes any number of seconds
    ).eval()
