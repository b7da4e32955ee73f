"""Builds the generators of stems."""

from __future__ import annotations

from mismo_grpc.generation.generators import Generators
from mismo_grpc.generation.songs.synthetic_generator import SyntheticGenerator
from mismo_grpc.settings import Settings


def build_generators(settings: Settings) -> Generators:
    """All generators; the settings name the one of jobs that name none. Nothing is loaded yet."""
    return Generators([SyntheticGenerator()], "synthetic" if settings.mock_generation else "musicgen")
