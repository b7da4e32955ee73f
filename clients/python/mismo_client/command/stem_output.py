"""One stem into a file or onto standard output."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from mismo.analysis.v1.audio_pb2 import (
    ENCODING_FLAC,
    ENCODING_PCM_F32LE,
    ENCODING_PCM_S16LE,
    ENCODING_PCM_S24LE,
    Encoding,
)
from mismo_client.client import AsyncClient
from mismo_client.transfer.artifacts import whole_file
from mismo_client.transfer.stem_format import wav_header
from mismo_client.transfer.write_behind import WriteBehind


class SampleFormat(StrEnum):
    """How samples are read."""

    S16 = "s16"
    S24 = "s24"
    F32 = "f32"


class Container(StrEnum):
    """What is put around them."""

    WAV = "wav"
    RAW = "raw"
    FLAC = "flac"


ENCODINGS: dict[SampleFormat, Encoding] = {
    SampleFormat.S16: ENCODING_PCM_S16LE,
    SampleFormat.S24: ENCODING_PCM_S24LE,
    SampleFormat.F32: ENCODING_PCM_F32LE,
}


@dataclass(frozen=True)
class Excerpt:
    """Which stem, which part of it (seconds; `duration` None: to the end), in which form."""

    job_id: str
    stem_name: str
    start: float = 0.0
    duration: float | None = None
    samples: SampleFormat = SampleFormat.S16
    container: Container = Container.WAV
    follow: bool = False

    @property
    def encoding(self) -> Encoding:
        """As the server names it."""
        return ENCODING_FLAC if self.container is Container.FLAC else ENCODINGS[self.samples]


async def write_stem(client: AsyncClient, excerpt: Excerpt, out: BinaryIO) -> int:
    """Writes the excerpt and answers its frames; raises ClientErrors and OSError."""
    frames = 0
    async with (
        client.read_stem(
            excerpt.job_id,
            excerpt.stem_name,
            encoding=excerpt.encoding,
            start_time=excerpt.start,
            time_limit=excerpt.duration,
            follow=excerpt.follow,
        ) as reading,
        WriteBehind() as writer,
    ):
        form = await reading.format()
        if excerpt.container is Container.WAV:
            first, end = await reading.frames()
            header = wav_header(form, max(0, end - first))
            await writer.put(lambda: _write(out, header))
        elif excerpt.container is Container.FLAC:
            await writer.put(lambda: _write(out, form.codec_header))
        async for chunk in reading:
            await writer.put(lambda chunk=chunk: _write(out, chunk.data))
            frames += chunk.frame_count
        await writer.put(out.flush)
        await writer.drain()
    return frames


async def write_stem_file(client: AsyncClient, excerpt: Excerpt, target: Path) -> int:
    """As `write_stem`; the file appears when it is whole."""
    with whole_file(target) as part, await asyncio.to_thread(part.open, "wb") as out:
        return await write_stem(client, excerpt, out)


def _write(out: BinaryIO, data: bytes) -> None:
    out.write(data)
