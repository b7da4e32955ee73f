"""Writes a whole MP3 file with LAME, whose header tells decoders the encoder's delay and padding.

So a decoder gives back as many frames as the stem has, each where it was. The same samples give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import BinaryIO

from mismo_grpc.audio.encode import from_pcm
from mismo_grpc.audio.exports.frames import audio_frame
from mismo_grpc.audio.exports.muxing import muxer
from mismo_grpc.audio.exports.pcm_source import PcmSource

MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""The sample rates in Hz that the format has."""
BIT_RATES = (128, 160, 192, 256, 320)
"""Of MPEG-1, in kbit/s."""
_MPEG1_RATE = 32_000
_TAG_SEARCHED_BYTES = 64
# Offsets from the start of the Xing tag, and the mask of the padding, the lower half of three bytes.
_FRAME_COUNT, _DELAYS, _CRC = 8, 141, 154
_PADDING_MASK = 0xFFF
_MOST_OF_LOWER_RATES = {True: 64, False: 160}
"""kbit/s at sample rates below 32 kHz, by whether the rate is below 16 kHz (MPEG-2.5)."""


def mp3_bytes_at_most(source: PcmSource, kbps: int) -> int:
    """The most that the file of a stem takes, in bytes."""
    # The encoder adds up to three MP3 frames, and the header takes one.
    seconds = source.total_frames / source.sample_rate + 4 * 1152 / source.sample_rate
    return int(seconds * kbps * 125) + 4096


def write_mp3(source: PcmSource, file: BinaryIO, kbps: int, check: Callable[[], None] = lambda: None) -> None:
    """Writes a stem into an empty file at a constant bit rate; below 32 kHz the format has at most 160 kbit/s.

    Calls `check` before each block, which may raise to stop. Blocks. Raises OSError, and ValueError for a sample rate
    or a number of channels that the format does not have.
    """
    rate = source.sample_rate
    if rate not in MP3_RATES or source.channels not in (1, 2):
        raise ValueError(f"MP3 has no {rate} Hz with {source.channels} channels")
    if rate < _MPEG1_RATE:
        kbps = min(kbps, _MOST_OF_LOWER_RATES[rate < 16_000])
    layout = "mono" if source.channels == 1 else "stereo"
    # A tag would hold nothing: the file's name is all that is known of the track.
    with muxer(file, "mp3", {"id3v2_version": "0", "write_xing": "1"}) as output:
        stream = output.add("libmp3lame", rate)
        stream.layout = layout
        stream.bit_rate = kbps * 1000
        stream.time_base = Fraction(1, rate)
        position = 0
        for pcm in source.blocks(check):
            samples = from_pcm(pcm, source.encoding, source.channels)
            output.encode(stream, audio_frame(samples, position, rate))
            position += len(samples)
        output.encode(stream, None)
    _mend_padding(file, source)


def _mend_padding(file: BinaryIO, source: PcmSource) -> None:
    """Corrects the padding in the tag: FFmpeg's writer knows at most one frame of it, and there may be more.

    The tag is described in "MP3 Info Tag revision 1 specification" (gabriel.mp3-tech.org/mp3infotag.html).
    """
    file.seek(0)
    head = bytearray(file.read(_TAG_SEARCHED_BYTES + _CRC + 2))
    tag = head.find(b"Info", 0, _TAG_SEARCHED_BYTES)
    if tag < 0:
        raise ValueError("the MP3 file has no tag with its length")
    frames = int.from_bytes(head[tag + _FRAME_COUNT :][:4], "big")
    delays = int.from_bytes(head[tag + _DELAYS :][:3], "big")
    frame_samples = 1152 if source.sample_rate >= _MPEG1_RATE else 576
    padding = frames * frame_samples - (delays >> 12) - source.total_frames
    if padding == delays & _PADDING_MASK:
        return
    if not 0 <= padding <= _PADDING_MASK:
        raise ValueError(f"the padding of the MP3 file is {padding} frames, which its tag cannot say")
    mended = delays & ~_PADDING_MASK | padding
    head[tag + _DELAYS : tag + _DELAYS + 3] = mended.to_bytes(3, "big")
    head[tag + _CRC : tag + _CRC + 2] = _crc16(head[: tag + _CRC]).to_bytes(2, "big")
    file.seek(0)
    file.write(head[: tag + _CRC + 2])


def _crc16(content: bytes | bytearray) -> int:
    """CRC-16/ARC."""
    value = 0
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value
