from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.music.tiny_musicgen import NAME, save_tiny_musicgen
from mismo_grpc.generation.musicgen.musicgen_generator import MusicgenGenerator
from mismo_grpc.generation.musicgen.weights import MusicgenWeights


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: musicgen-tiny, and musicgen-tiny-stereo."""
    if find_spec("transformers") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have the extra `generation` installed")
        pytest.skip("needs the extra `generation`")
    folder = tmp_path_factory.mktemp("models")
    save_tiny_musicgen(folder / NAME)
    save_tiny_musicgen(folder / f"{NAME}-stereo", channels=2)
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The matrices are so small that threads only wait for each other, tens of seconds on a busy machine."""
    if find_spec("transformers") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def musicgen(models: Path) -> MusicgenGenerator:
    """A generator with the tiny model, warm once a test has used it."""
    return MusicgenGenerator(MusicgenWeights(f"mismo/{NAME}", (models,)))
