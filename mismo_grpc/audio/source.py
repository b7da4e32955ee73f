"""Opens a source file with FFmpeg's libraries: its properties, and its samples at their own rate.

Every format is decoded the same way, so frame counts are those of ffmpeg's own decoder: the libraries remove encoder
delay and padding (Xing/LAME tags, edit lists, Opus pre-skip, granule positions).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from mismo_grpc.audio.sniff import SUPPORTED, AudioContainer, locate
from mismo_grpc.errors import CorruptAudioError, NoAudioStreamError, UnsupportedAudioError

MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 768_000

# FFmpeg is given the demuxer's name, so that disguised content (a playlist, for example) cannot select another.
_DEMUXERS = {
    AudioContainer.WAV: "wav",
    AudioContainer.RF64: "wav",
    AudioContainer.W64: "w64",
    AudioContainer.AIFF: "aiff",
    AudioContainer.CAF: "caf",
    AudioContainer.FLAC: "flac",
    AudioContainer.MP3: "mp3",
    AudioContainer.ADTS: "aac",
    AudioContainer.MP4: "mov",
    AudioContainer.OGG: "ogg",
    AudioContainer.MATROSKA: "matroska",
}
_COUNTED = frozenset({AudioContainer.WAV, AudioContainer.RF64, AudioContainer.W64, AudioContainer.AIFF})
"""Containers of uncompressed samples, whose length in bytes gives the number of frames."""


@dataclass(frozen=True)
class AudioInfo:
    """The properties in a file's headers.

    `frames` counts frames at `sample_rate`; None if only decoding can tell. `duration_seconds` may be an estimate.
    """

    container: AudioContainer
    codec: str
    sample_rate: int
    channels: int
    frames: int | None
    duration_seconds: float | None


@dataclass
class DecodeTally:
    """Counts the faults that decoding ignored."""

    nonfinite_samples: int = 0
    broken_packets: int = 0


class NativeBlock(NamedTuple):
    """Consecutive samples [frames, 1 or 2] at the source's own rate in Hz."""

    sample_rate: int
    samples: npt.NDArray[np.float32]


@dataclass(frozen=True)
class OpenSource:
    """An open file and its selected audio stream; valid inside `open_source` only."""

    info: AudioInfo
    container: InputContainer
    stream: AudioStream


@contextmanager
def open_source(path: Path) -> Generator[OpenSource]:
    """Opens a file by its content and closes it at the end.

    Raises EmptyAudioError, UnsupportedAudioError, CorruptAudioError, NoAudioStreamError; OSError if the file
    cannot be read.
    """
    kind, start = locate(path)
    try:
        # The prefix prevents FFmpeg from reading a name with a colon as a protocol; tags may be in any charset.
        container = av.open(
            f"file:{path}",
            format=_DEMUXERS[kind],
            container_options={"protocol_whitelist": "file", "skip_initial_bytes": str(start)},
            metadata_errors="replace",
        )
    except FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise CorruptAudioError(f"The file begins as {kind} but cannot be read on; send it again.") from error
    with container:
        if not container.streams.audio:
            raise NoAudioStreamError(f"The {kind} file has no audio stream; send one that has.")
        stream = _played_stream(container)
        if stream is None:
            raise UnsupportedAudioError(
                f"The {kind} file's codec is not known here; send one of {SUPPORTED}."
            )
        _check_rate(stream.codec_context.sample_rate)
        yield OpenSource(_info(kind, container, stream), container, stream)


def probe(path: Path) -> AudioInfo:
    """Reads a file's headers without decoding it; raises as `open_source` does."""
    with open_source(path) as source:
        return source.info


def native_blocks(source: OpenSource, block_frames: int, tally: DecodeTally) -> Iterator[NativeBlock]:
    """Yields all samples of the stream in blocks of `block_frames` (the last one shorter), mono or stereo.

    More channels are mixed down as ffmpeg does. Broken packets are skipped and counted. If a stream changes its rate
    or channels, the rest is converted to those it began with. The blocks are read-only.
    """
    joiner: _Joiner | None = None
    for frame in _frames(source, tally):
        if joiner is None:
            joiner = _Joiner(frame, block_frames)
        yield from joiner.push(frame)
    if joiner is not None:
        yield from joiner.flush()


class _Joiner:
    """Converts decoded frames of any size, format and layout to equal blocks of interleaved float32."""

    def __init__(self, first: av.AudioFrame, block_frames: int) -> None:
        _check_rate(first.sample_rate)
        self._rate = first.sample_rate
        self._channels = min(first.layout.nb_channels, 2)
        # One or two channels keep their layout, whatever its name.
        self._layout = first.layout.name if first.layout.nb_channels <= 2 else "stereo"
        self._block_frames = block_frames
        self._shape = _shape(first)
        self._resampler = self._new_resampler()

    def _new_resampler(self) -> AudioResampler:
        return AudioResampler("flt", self._layout, self._rate, self._block_frames)

    def push(self, frame: av.AudioFrame) -> Iterator[NativeBlock]:
        """Adds a decoded frame; yields the blocks that are full."""
        if _shape(frame) != self._shape:
            yield from self.flush()
            self._shape = _shape(frame)
            self._resampler = self._new_resampler()
        yield from self._resampled(frame)

    def flush(self) -> Iterator[NativeBlock]:
        """The rest."""
        yield from self._resampled(None)

    def _resampled(self, frame: av.AudioFrame | None) -> Iterator[NativeBlock]:
        try:
            joined = self._resampler.resample(frame)
        except FFmpegError as error:
            raise UnsupportedAudioError(
                f"Its channels ({self._shape[1]}) cannot be mixed to stereo; send a stereo file."
            ) from error
        for block in joined:
            # A view of the block's memory; the view keeps that memory alive.
            plane = cast("bytes", block.planes[0])
            samples = np.frombuffer(plane, np.float32, block.samples * self._channels)
            yield NativeBlock(self._rate, samples.reshape(-1, self._channels))


def _shape(frame: av.AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _frames(source: OpenSource, tally: DecodeTally) -> Iterator[av.AudioFrame]:
    packets = source.container.demux(source.stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except FFmpegError:
            break  # The file is cut off; the frames that the decoder still buffers are good.
        try:
            frames = packet.decode()
        except FFmpegError:
            tally.broken_packets += 1
            continue
        for frame in frames:
            if frame.samples:
                yield frame
    tally.broken_packets += 1
    try:
        yield from source.stream.codec_context.decode(None)
    except FFmpegError:
        return


def _check_rate(hz: int) -> None:
    # Beyond these rates resampling would turn a few bytes into hours of audio, or the reverse, or would fail.
    if not MIN_SAMPLE_RATE <= hz <= MAX_SAMPLE_RATE:
        raise UnsupportedAudioError(
            f"The sample rate is {hz} Hz; send audio of {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz."
        )


def _played_stream(container: InputContainer) -> AudioStream | None:
    """Selects the stream that ffmpeg would play; None if no stream has a decoder.

    Default streams are preferred, then more channels, then the earliest stream.
    """

    def rank(stream: AudioStream) -> tuple[bool, int]:
        return bool(stream.disposition & Disposition.default), stream.codec_context.channels

    known = [
        s for s in container.streams.audio if cast("AudioCodecContext | None", s.codec_context) is not None
    ]
    return max(known, key=rank, default=None)


def _info(kind: AudioContainer, container: InputContainer, stream: AudioStream) -> AudioInfo:
    context = stream.codec_context
    rate = context.sample_rate
    seconds: float | None = None
    frames: int | None = None
    if stream.duration is not None and stream.time_base is not None:
        exact = stream.duration * stream.time_base
        seconds = float(exact)
        plain = kind in _COUNTED and context.name.startswith("pcm_")
        if (plain or kind is AudioContainer.FLAC) and stream.time_base * rate == 1:
            frames = stream.duration
    elif container.duration is not None:
        seconds = container.duration / av.time_base
    return AudioInfo(kind, context.name, rate, context.channels, frames, seconds)
