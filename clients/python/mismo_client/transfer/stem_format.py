"""What streamed stems are made of, and the WAV header that belongs before them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from mismo.analysis.v1 import transfer_service_pb2
from mismo.analysis.v1.audio_pb2 import (
    ENCODING_FLAC,
    ENCODING_PCM_F32LE,
    ENCODING_PCM_S16LE,
    ENCODING_PCM_S24LE,
    Encoding,
)
from mismo_client.durations import seconds_of

SAMPLE_BYTES: dict[int, int] = {ENCODING_PCM_S16LE: 2, ENCODING_PCM_S24LE: 3, ENCODING_PCM_F32LE: 4}
WAVE_FORMAT_PCM = 1
WAVE_FORMAT_IEEE_FLOAT = 3
LARGEST_RIFF = 0xFFFF_FFFF


@dataclass(frozen=True)
class StemFormat:
    """The stems of a stream: `total_frames` each, `sample_rate` in Hz.

    `codec_header` goes before the first chunk of each stem (FLAC; empty for PCM). `bits_per_sample` is
    what a decoder gives: 16, 24 or 32 (float). A chunk has at most `max_chunk_frames` frames and
    `chunk_bytes` bytes (FLAC: one FLAC frame more); the model works on `segment_frames` at once. The
    server ends a stream after `idle_timeout` seconds without reading or credit. 0: not told.
    """

    encoding: Encoding
    stem_names: tuple[str, ...]
    total_frames: int
    sample_rate: int
    channels: int
    codec_header: bytes = b""
    bits_per_sample: int = 0
    model: str = ""
    # What the server chose for one connection, no part of what the stems are.
    chunk_bytes: int = field(default=0, compare=False)
    max_chunk_frames: int = field(default=0, compare=False)
    segment_frames: int = field(default=0, compare=False)
    idle_timeout: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, info: transfer_service_pb2.StreamInfo) -> StemFormat:
        """From the first message of a stream."""
        return cls(
            encoding=info.encoding,
            stem_names=tuple(info.stem_names),
            total_frames=info.total_frames,
            sample_rate=info.sample_rate,
            channels=info.channels,
            codec_header=info.codec_header,
            bits_per_sample=info.bits_per_sample,
            model=info.model,
            chunk_bytes=info.chunk_bytes,
            max_chunk_frames=info.max_chunk_frames,
            segment_frames=info.segment_frames,
            idle_timeout=seconds_of(info.idle_timeout),
        )

    @property
    def is_pcm(self) -> bool:
        """Every frame has the same number of bytes."""
        return self.encoding != ENCODING_FLAC

    @property
    def frame_bytes(self) -> int:
        """Bytes of a PCM frame, all channels; KeyError for FLAC."""
        return SAMPLE_BYTES[self.encoding] * self.channels

    @property
    def seconds(self) -> float:
        """Length of the track."""
        return self.total_frames / self.sample_rate if self.sample_rate else 0.0


def wav_header(form: StemFormat, frames: int) -> bytes:
    """The bytes before `frames` frames of PCM: RIFF, or RF64 (EBU Tech 3306) past 4 GiB."""
    data_bytes = frames * form.frame_bytes
    is_float = form.encoding == ENCODING_PCM_F32LE
    fmt = struct.pack(
        "<HHIIHH",
        WAVE_FORMAT_IEEE_FLOAT if is_float else WAVE_FORMAT_PCM,
        form.channels,
        form.sample_rate,
        form.sample_rate * form.frame_bytes,
        form.frame_bytes,
        SAMPLE_BYTES[form.encoding] * 8,
    )
    chunks: list[tuple[bytes, bytes]] = [(b"fmt ", fmt)]
    if is_float:
        chunks = [
            (b"fmt ", fmt + struct.pack("<H", 0)),
            (b"fact", struct.pack("<I", min(frames, LARGEST_RIFF))),
        ]
    riff_bytes = 4 + _size(chunks) + 8 + data_bytes + data_bytes % 2
    if riff_bytes <= LARGEST_RIFF:
        return struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE") + _joined(chunks) + _data(data_bytes)
    # In RF64 the true sizes stand in a chunk of their own; the usual fields say "look there".
    ds64_bytes = 28
    large = struct.pack("<QQQI", riff_bytes + 8 + ds64_bytes, data_bytes, frames, 0)
    chunks.insert(0, (b"ds64", large))
    return struct.pack("<4sI4s", b"RF64", LARGEST_RIFF, b"WAVE") + _joined(chunks) + _data(LARGEST_RIFF)


def _size(chunks: Sequence[tuple[bytes, bytes]]) -> int:
    return sum(8 + len(body) for _, body in chunks)


def _joined(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join(struct.pack("<4sI", name, len(body)) + body for name, body in chunks)


def _data(size: int) -> bytes:
    return struct.pack("<4sI", b"data", size)
