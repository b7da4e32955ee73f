"""The stems of a finished run in the blob container, for readers whose local files are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from mismo_grpc.audio.wav import wav_header
from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout


class StemBlob(Protocol):
    """The WAV file of a stem in the container."""

    @property
    def total_bytes(self) -> int:
        """Its size."""
        ...

    async def read(self, offset: int, count: int, /) -> bytes:
        """`count` bytes from `offset` on; raises MismoError."""
        ...

    async def read_apart(self, offset: int, count: int, /) -> bytes:
        """The same, for a few bytes that are needed once."""
        ...

    def close(self) -> None:
        """Ends the reading."""
        ...


class StemBlobs:
    """Takes the place of a StemSet; on the event loop only. `close` closes the blobs."""

    def __init__(self, layout: StemLayout, blobs: Sequence[StemBlob]) -> None:
        """`blobs` are in layout order; `check` says whether they are what the layout says."""
        self.layout = layout
        self.ready = RangeSet([(0, layout.total_frames)])
        self._blobs = blobs
        self._header = wav_header(layout.encoding, layout.total_frames, layout.sample_rate, layout.channels)

    async def check(self) -> None:
        """Raises ArtifactNotFoundError if a blob is no WAV file of this layout, and what reading it does."""
        size = len(self._header) + self.layout.stem_bytes
        headers = await asyncio.gather(*(blob.read_apart(0, len(self._header)) for blob in self._blobs))
        for name, blob, header in zip(self.layout.stem_names, self._blobs, headers, strict=True):
            # A padding byte may follow that makes the size even.
            if header != self._header or not size <= blob.total_bytes <= size + 1:
                raise ArtifactNotFoundError(
                    f"the blob of stem {name} is not the one that the job made; submit the track again"
                )

    async def fetch(self, stem_indexes: Sequence[int], start_frame: int, frame_count: int) -> list[bytes]:
        """Reads samples of several stems in the files' encoding, one buffer for each; can be cancelled.

        Raises ArtifactNotFoundError, BlobError.
        """
        size = frame_count * self.layout.frame_bytes
        offset = len(self._header) + start_frame * self.layout.frame_bytes
        return await asyncio.gather(*(self._blobs[index].read(offset, size) for index in stem_indexes))

    def close(self) -> None:
        """Closes the blobs."""
        for blob in self._blobs:
            blob.close()
