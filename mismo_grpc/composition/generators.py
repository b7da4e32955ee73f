"""Builds the generators of stems."""

from __future__ import annotations

from mismo_grpc.generation.generators import Generators
from mismo_grpc.generation.musicgen.musicgen_generator import MusicgenGenerator
from mismo_grpc.generation.musicgen.weights import MusicgenWeights
from mismo_grpc.generation.songs.synthetic_generator import SyntheticGenerator
from mismo_grpc.settings import Settings


def build_generators(settings: Settings) -> Generators:
    """All generators; the settings name the one of jobs that name none. No model is loaded yet."""
    weights = MusicgenWeights(settings.musicgen_model, settings.model_dirs, hub=settings.hub)
    return Generators(
        [SyntheticGenerator(), MusicgenGenerator(weights, settings.device)],
        "synthetic" if settings.mock_generation else "musicgen",
    )
