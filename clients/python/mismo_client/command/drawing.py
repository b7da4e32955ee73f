"""A waveform in one line of text, or as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mismo_client.client import AsyncClient
from mismo_client.errors import ClientError

DEFAULT_WIDTH = 72
# What the server's peaks are multiples of.
FRAMES_PER_PIXEL = 256
LARGEST_FRAMES_PER_PIXEL = 1_048_576
FULL_SCALE = 32_768
BLOCKS = "▁▂▃▄▅▆▇█"


class NotDecodedError(ClientError):
    """The job's track has no known length yet."""


@dataclass(frozen=True)
class Drawing:
    """Lowest and highest sample of each pixel of a stem; None where it is not separated yet."""

    stem_name: str
    frames_per_pixel: int
    sample_rate: int
    pixels: list[tuple[int, int] | None]

    def line(self, name_width: int) -> str:
        """The stem's name and a block a pixel, as high as its loudest sample."""
        return f"{self.stem_name:<{name_width}}  {''.join(map(_block, self.pixels))}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "stem_name": self.stem_name,
            "frames_per_pixel": self.frames_per_pixel,
            "sample_rate": self.sample_rate,
            "pixels": self.pixels,
        }


async def draw(client: AsyncClient, job_id: str, stem_names: tuple[str, ...], width: int) -> list[Drawing]:
    """The waveforms of a job's stems in at most `width` pixels; raises NotDecodedError, MismoRpcError."""
    job = await client.get(job_id)
    if not job.stem_set.total_frames:
        raise NotDecodedError(f"job {job_id} has no stems yet; watch it until its track is decoded")
    steps = -(-job.stem_set.total_frames // (width * FRAMES_PER_PIXEL))
    frames_per_pixel = min(steps * FRAMES_PER_PIXEL, LARGEST_FRAMES_PER_PIXEL)
    async with client.read_waveform(
        job_id, expected_run_id=job.run_id, stems=stem_names, frames_per_pixel=frames_per_pixel
    ) as reading:
        form = await reading.format()
        drawings = [
            Drawing(name, form.frames_per_pixel, form.sample_rate, [None] * form.total_pixels)
            for name in form.stem_names
        ]
        async for part in reading:
            end = part.start_pixel + part.pixel_count
            drawings[part.stem_index].pixels[part.start_pixel : end] = part.pairs()
    return drawings


def _block(pixel: tuple[int, int] | None) -> str:
    if pixel is None:
        return " "
    loudest = max(abs(pixel[0]), abs(pixel[1]))
    return BLOCKS[min(loudest * len(BLOCKS) // FULL_SCALE, len(BLOCKS) - 1)]
