"""Containers are told by their bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.audio.sniff import AudioContainer, locate, sniff
from mismo_grpc.errors import EmptyAudioError, UnsupportedAudioError

Samples = npt.NDArray[np.float32]
ID3 = b"ID3\x03\0\0\0\0\0\x14" + bytes(20)
ID3_WITH_FOOTER = b"ID3\x04\0\x10\0\0\0\x14" + bytes(20) + b"3DI\x04\0\x10\0\0\0\x14"

CONTAINERS = {
    "wav-s16": AudioContainer.WAV,
    "wav-extensible": AudioContainer.WAV,
    "rf64": AudioContainer.RF64,
    "w64": AudioContainer.W64,
    "aiff": AudioContainer.AIFF,
    "aifc": AudioContainer.AIFF,
    "caf": AudioContainer.CAF,
    "flac-16": AudioContainer.FLAC,
    "vorbis": AudioContainer.OGG,
    "opus": AudioContainer.OGG,
    "mp3": AudioContainer.MP3,
    "m4a": AudioContainer.MP4,
    "adts": AudioContainer.ADTS,
    "webm": AudioContainer.MATROSKA,
}


@pytest.mark.parametrize(("name", "container"), CONTAINERS.items())
def test_the_content_decides_and_not_the_name(
    studio: Any, chord: Callable[..., Samples], name: str, container: AudioContainer
) -> None:
    path = studio.record(name, chord(5000, 48000, 2), 48000).rename(studio.folder / "track.txt")

    assert sniff(path) is container


@pytest.mark.parametrize("tag", [ID3, ID3 + ID3, ID3_WITH_FOOTER])
@pytest.mark.parametrize("name", ["wav-s16", "aiff", "flac-16", "mp3", "adts"])
def test_tags_in_front_are_passed_over(
    studio: Any, chord: Callable[..., Samples], name: str, tag: bytes
) -> None:
    plain = studio.record(name, chord(5000, 48000, 2), 48000)
    tagged = studio.file("tagged", tag + plain.read_bytes())

    container, start = locate(tagged)

    assert container is CONTAINERS[name]
    assert start == (len(tag) if name in {"wav-s16", "aiff"} else 0)


@pytest.mark.parametrize("name", ["mp3", "adts"])
def test_padding_before_the_first_frame_is_passed_over(
    studio: Any, chord: Callable[..., Samples], name: str
) -> None:
    plain = studio.record(name, chord(5000, 48000, 2), 48000)

    assert (
        sniff(studio.file("padded", ID3 + bytes(5000) + b"\xff" * 9 + plain.read_bytes())) is CONTAINERS[name]
    )


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000])
def test_frames_of_every_rate_are_measured(studio: Any, chord: Callable[..., Samples], rate: int) -> None:
    """The second frame is found only where the length of the first is right."""
    assert sniff(studio.record("mp3", chord(5000, rate, 2), rate)) is AudioContainer.MP3


def test_a_single_frame_is_enough(studio: Any, chord: Callable[..., Samples]) -> None:
    content = studio.record("adts", chord(5000, 48000, 2), 48000).read_bytes()
    size = (content[3] & 3) << 11 | content[4] << 3 | content[5] >> 5

    assert sniff(studio.file("one", content[:size])) is AudioContainer.ADTS


def test_a_file_cut_off_inside_its_tag_is_left_to_the_decoder(studio: Any) -> None:
    assert sniff(studio.file("cut", b"ID3\x03\0\0\0\x7f\0\0" + bytes(100))) is AudioContainer.MP3


def test_an_empty_file_is_refused(studio: Any) -> None:
    with pytest.raises(EmptyAudioError, match="empty"):
        sniff(studio.file("nothing.wav", b""))


@pytest.mark.parametrize(
    "content",
    [
        b"This is a text that somebody has named track.mp3.\n" * 100,
        "Ein Text mit Umlauten: äöüß\n".encode() * 100,
        "UTF-16 begins with FF FE.\n".encode("utf-16"),
        ("UTF-16 begins with FF FE.\n" * 1000).encode("utf-16"),
        b"ID3 is what this text is about.\n" * 100,
        b"\x89PNG\r\n\x1a\n" + bytes(1000),
        b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(1000),
        b"%PDF-1.7\n" + bytes(1000),
        b"PK\x03\x04" + bytes(1000),
        b"RIFF\x24\0\0\0AVI LIST" + bytes(1000),
        b"#EXTM3U\n#EXTINF:1,\nhttp://localhost/a.ts\n",
        b"\xff",
        b"\0",
        b"ID3",
        bytes(100_000),
        b"\xff" * 100_000,
    ],
)
def test_what_is_no_audio_is_refused_with_the_formats_that_are(studio: Any, content: bytes) -> None:
    with pytest.raises(UnsupportedAudioError, match="flac"):
        sniff(studio.file("track.mp3", content))


def test_a_path_that_cannot_be_read_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        sniff(tmp_path)
    with pytest.raises(FileNotFoundError):
        sniff(tmp_path / "missing.wav")


@given(
    content=st.binary(max_size=300), start=st.sampled_from([b"", b"ID3", b"\xff\xfb", b"\xff\xf1", b"RIFF"])
)
def test_no_bytes_can_upset_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, start: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-bytes"
    path.write_bytes(start + content)
    try:
        assert sniff(path) in AudioContainer
    except EmptyAudioError:
        assert not start + content
    except UnsupportedAudioError:
        pass
