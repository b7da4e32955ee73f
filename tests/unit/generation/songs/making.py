"""Renders options to the end, for tests."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from mismo_grpc.generation.generator import StemGenerator
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.generation.songs.synthetic_generator import SyntheticGenerator

RATE = 44100


def made(
    options: GenerationOptions, generator: StemGenerator | None = None
) -> dict[str, NDArray[np.float32]]:
    """The stems by name, (frames, 2); checks that the blocks come in order and without gaps."""
    generator = generator or SyntheticGenerator()
    plan = generator.plan(options)
    blocks: list[NDArray[np.float32]] = []
    frame = 0
    for start, block in generator.render(options, lambda: False, lambda share: None):
        assert start == frame
        assert block.dtype == np.float32
        assert block.shape[::2] == (len(plan.stem_names), 2)
        assert 0 < block.shape[1] <= 6 * RATE
        frame += block.shape[1]
        blocks.append(block)
    assert frame == plan.total_frames
    return dict(zip(plan.stem_names, np.concatenate(blocks, axis=1), strict=True))


def digest(options: GenerationOptions) -> str:
    """A hash of all stems."""
    stems = made(options)
    return hashlib.sha256(b"".join(stems[name].tobytes() for name in sorted(stems))).hexdigest()


if __name__ == "__main__":
    import json
    import sys

    fields = json.loads(sys.argv[1])
    print(digest(GenerationOptions(**{**fields, "target_stems": tuple(fields["target_stems"])})))
