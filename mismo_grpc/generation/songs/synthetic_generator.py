"""The generator "synthetic": composes a song and plays the asked stems of it, window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mismo_grpc.generation.generator import SAMPLE_RATE, Block, GenerationPlan, plan_of
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.generation.songs.stem_stream import StemStream, Stopped
from mismo_grpc.generation.songs.writing import Song, stem_rng, write_parts, write_song
from mismo_grpc.generation.synthetic import draw_room

_REVISION = 1
"""Counts the changes of what this generator plays for the same options."""


class SyntheticGenerator:
    """Stems by the project's own composer and voices; needs no model.

    The same options give the same bytes. A stem does not depend on which other stems are asked for. `prompt` and
    `temperature` have no effect.
    """

    name = "synthetic"

    def version(self) -> str:
        """The revision of the voices, and numpy's version, whose random numbers and transforms the bytes depend on."""
        return f"{_REVISION}-numpy-{np.__version__}"

    def unavailable_reason(self) -> str:
        """Always "": nothing is missing."""
        return ""

    def plan(self, options: GenerationOptions) -> GenerationPlan:
        """The asked stems, 44,100 Hz, two channels, the asked length in whole frames."""
        return plan_of(options)

    def render(
        self,
        options: GenerationOptions,
        should_stop: Callable[[], bool],
        progress: Callable[[float], None],
    ) -> Iterator[Block]:
        """Yields blocks of 1.5 s, the last one shorter; the memory does not grow with the length of the song."""
        plan = self.plan(options)
        song = write_song(options)
        try:
            streams = [
                _stream(song, stem, plan.total_frames).windows(should_stop) for stem in plan.stem_names
            ]
            frame = 0
            while frame < plan.total_frames:
                block = np.ascontiguousarray(np.stack([next(stream).T for stream in streams]))
                yield frame, block
                frame += block.shape[1]
                progress(frame / plan.total_frames)
                if should_stop():
                    return
        except Stopped:
            return


def _stream(song: Song, stem: str, frames: int) -> StemStream:
    parts = write_parts(song, stem)
    seeds = stem_rng(song.seed, f"sound {stem}").integers(2**62, size=len(parts))
    room = draw_room(SAMPLE_RATE, stem_rng(song.seed, "room"))
    tempo = song.frame.tempo_map
    return StemStream(parts, tempo, frames, SAMPLE_RATE, [int(seed) for seed in seeds], room)
