"""Identifies a file's container by its first bytes; the file name is not used."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mismo_grpc.errors import EmptyAudioError, UnsupportedAudioError

_HEAD_BYTES = 64
_SYNC_SEARCH_BYTES = 64 * 1024
"""Some writers leave padding between a tag and the first frame."""


class AudioContainer(StrEnum):
    """The file formats that the server reads."""

    WAV = "wav"
    RF64 = "rf64"
    W64 = "w64"
    AIFF = "aiff"
    CAF = "caf"
    FLAC = "flac"
    MP3 = "mp3"
    ADTS = "adts"
    MP4 = "mp4"
    OGG = "ogg"
    MATROSKA = "matroska"


_TAGGED = frozenset({AudioContainer.MP3, AudioContainer.ADTS, AudioContainer.FLAC})
"""The demuxers of these containers read an ID3 tag themselves."""
SUPPORTED = "wav, flac, mp3, m4a/aac, ogg, opus, aiff, caf, webm"

_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_MP4_ATOMS = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def sniff(path: Path) -> AudioContainer:
    """Identifies the container of a file by its content; raises as `locate` does."""
    return locate(path)[0]


def locate(path: Path) -> tuple[AudioContainer, int]:
    """Returns the container of a file, and the number of bytes of tags to skip because its demuxer rejects them.

    Raises EmptyAudioError for a file without bytes, UnsupportedAudioError for any other format than those of
    AudioContainer, OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if not head:
            raise EmptyAudioError("The file is empty; send one with audio in it.")
        start = 0
        while (tag_bytes := _id3_bytes(head)) > 0:
            # ID3 tags usually precede MP3, ADTS and FLAC, but some files have them before other formats, or twice.
            start += tag_bytes
            file.seek(start)
            head = file.read(_HEAD_BYTES)
        by_magic = _by_magic(head)
        if by_magic is not None:
            return by_magic, 0 if by_magic in _TAGGED else start
        by_frames = _by_frames(file, start)
        if by_frames is not None:
            return by_frames, 0
        if start and not head:
            return AudioContainer.MP3, 0  # The file ends inside its tag: the decoder reports what is missing.
    raise UnsupportedAudioError(f"The content is no audio format that is read here; send one of {SUPPORTED}.")


def _by_magic(head: bytes) -> AudioContainer | None:
    four, form = head[:4], head[8:12]
    if form == b"WAVE":
        if four == b"RIFF":
            return AudioContainer.WAV
        if four in (b"RF64", b"BW64"):
            return AudioContainer.RF64
    if four == b"FORM" and form in (b"AIFF", b"AIFC"):
        return AudioContainer.AIFF
    if head.startswith(_W64_RIFF):
        return AudioContainer.W64
    if head[4:8] in _MP4_ATOMS:
        return AudioContainer.MP4
    by_four = {
        b"fLaC": AudioContainer.FLAC,
        b"OggS": AudioContainer.OGG,
        b"caff": AudioContainer.CAF,
        b"\x1a\x45\xdf\xa3": AudioContainer.MATROSKA,
    }
    return by_four.get(four)


def _id3_bytes(head: bytes) -> int:
    """Returns the length of the ID3v2 tag that `head` begins with; 0 if there is none (ID3v2.4, section 3.1)."""
    if len(head) < 10 or head[:3] != b"ID3" or head[3] not in (2, 3, 4) or max(head[6:10]) > 0x7F:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte
    footer = 10 if head[5] & 0x10 else 0
    return 10 + size + footer


def _by_frames(file: BinaryIO, start: int) -> AudioContainer | None:
    """Detects MP3 or ADTS, which have no magic bytes: by two successive frames of one kind, or one ending the file."""
    file.seek(start)
    window = file.read(_SYNC_SEARCH_BYTES)
    at = window.find(0xFF)
    while at >= 0:
        found = _frame(window[at : at + 7])
        if found is not None:
            file.seek(start + at + found.size)
            rest = file.read(7)
            following = _frame(rest)
            if not rest or rest.startswith(b"TAG") or (following and following.kind == found.kind):
                # Reads the frame's last byte: a frame that the end of the file cuts off does not count.
                file.seek(start + at + found.size - 1)
                if file.read(1):
                    return found.container
        at = window.find(0xFF, at + 1)
    return None


class _Frame(NamedTuple):
    """A frame's header; `kind` holds the fields that are equal in all frames of a stream."""

    container: AudioContainer
    kind: int
    size: int


# kbit/s by index 1 to 14: MPEG 1 layers I to III, then MPEG 2 and 2.5 layers I to III (ISO 11172-3, 13818-3).
_MPEG1_RATES = (
    (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
_MPEG2_RATES = (
    (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_MPEG1_HZ = (44100, 48000, 32000)


def _frame(header: bytes) -> _Frame | None:
    """Parses the frame header in these 7 bytes; None if there is none."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    layer = 4 - (header[1] >> 1 & 3)  # 4 is reserved in MPEG audio; ADTS has 4.
    if layer == 4:
        return _adts_frame(header)
    version = header[1] >> 3 & 3  # 0: MPEG 2.5, 1: reserved, 2: MPEG 2, 3: MPEG 1.
    rate_index, hz_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or not 1 <= rate_index <= 14 or hz_index == 3 or header[3] & 3 == 2:
        return None
    rates = _MPEG1_RATES if version == 3 else _MPEG2_RATES
    bits_per_second = rates[layer - 1][rate_index - 1] * 1000
    hz = _MPEG1_HZ[hz_index] >> {3: 0, 2: 1, 0: 2}[version]
    kind = (header[1] & 0x1E) << 8 | header[2] & 0x0C
    if layer == 1:
        return _Frame(AudioContainer.MP3, kind, (12 * bits_per_second // hz + padding) * 4)
    samples = 576 if layer == 3 and version != 3 else 1152
    return _Frame(AudioContainer.MP3, kind, samples // 8 * bits_per_second // hz + padding)


def _adts_frame(header: bytes) -> _Frame | None:
    """Parses ISO 13818-7, 6.2: 12 sync bits, layer 0, a sampling index up to 12, the length including the header."""
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 0xF > 12 or size < 7:
        return None
    return _Frame(AudioContainer.ADTS, (header[1] & 0x1E) << 8 | header[2] & 0x3C, size)
