"""The port of generators: what makes stems from options, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mismo_grpc.generation.options import GenerationOptions

SAMPLE_RATE = 44100
"""The sample rate of all generated stems in Hz."""
CHANNELS = 2

Block = tuple[int, NDArray[np.float32]]
"""The first frame of a block, and its samples (stems, frames, 2)."""


@dataclass(frozen=True)
class GenerationPlan:
    """The shape of what a generator will make, known before it starts; `total_frames` are at `sample_rate` Hz."""

    stem_names: tuple[str, ...]
    sample_rate: int
    channels: int
    total_frames: int


class StemGenerator(Protocol):
    """Makes stems. Its methods may be called in any thread; they block."""

    @property
    def name(self) -> str:
        """The name that `GenerationOptions.generator` selects it by."""
        ...

    def version(self) -> str:
        """What determines the bytes besides the options: a revision of the code, a fingerprint of weights; blocks."""
        ...

    def unavailable_reason(self) -> str:
        """Why it cannot generate, and what to do about it; "" if it can. Loads no model."""
        ...

    def plan(self, options: GenerationOptions) -> GenerationPlan:
        """The shape of the stems for these options."""
        ...

    def render(
        self,
        options: GenerationOptions,
        should_stop: Callable[[], bool],
        progress: Callable[[float], None],
    ) -> Iterator[Block]:
        """Yields the blocks in order and without gaps, about 1 to 6 s each, with samples in [-1, 1].

        `should_stop` is asked several times a block; once it returns True, the iterator ends early. `progress` is
        called with the share that is done, 0 to 1.
        """
        ...


def plan_of(options: GenerationOptions) -> GenerationPlan:
    """The plan of every generator: the asked stems in the asked order, and the asked length in whole frames."""
    return GenerationPlan(options.target_stems, SAMPLE_RATE, CHANNELS, round(options.seconds * SAMPLE_RATE))
