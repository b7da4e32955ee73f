"""Times as people write them, headers, and files that are whole or not there."""

from __future__ import annotations

import hashlib
import io
import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from mismo.analysis.v1 import audio_pb2
from mismo_client import StemChunk, StemFormat, StreamCorruptError, wav_header
from mismo_client.command.stem_files import FileFormat, FlacUnavailableError, StemFiles, UnsafeStemNameError
from mismo_client.timecode import format_timecode, parse_timecode

FRAMES = 5_001


def form(encoding: audio_pb2.Encoding = audio_pb2.ENCODING_PCM_S16LE, channels: int = 2) -> StemFormat:
    return StemFormat(encoding, ("vocals", "no_vocals"), FRAMES, 44_100, channels)


def chunk(form: StemFormat, stem: int, start: int, samples: bytes) -> StemChunk:
    return StemChunk(stem, form.stem_names[stem], start, len(samples) // form.frame_bytes, samples, 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1:30", 90), ("01:02:03.5", 3723.5), ("0:00", 0), ("75:00", 4500), (" 12.25 ", 12.25)],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_timecode(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "-1", "1:60", "1:75:00", "1:2:3:4", "abc", "1:", ":30", "1e3", "1,5", "nan"]
)
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time|less than 60"):
        parse_timecode(text)


@given(st.integers(0, 10**6))
def test_times_are_told_as_they_are_read(seconds: int) -> None:
    assert parse_timecode(format_timecode(seconds)) == seconds


@pytest.mark.parametrize(
    ("encoding", "subtype"),
    [
        (audio_pb2.ENCODING_PCM_S16LE, "PCM_16"),
        (audio_pb2.ENCODING_PCM_S24LE, "PCM_24"),
        (audio_pb2.ENCODING_PCM_F32LE, "FLOAT"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_header_is_what_an_audio_library_expects(
    encoding: audio_pb2.Encoding, subtype: str, channels: int
) -> None:
    stem = form(encoding, channels)
    content = wav_header(stem, FRAMES) + bytes(FRAMES * stem.frame_bytes)
    with soundfile.SoundFile(io.BytesIO(content + b"\0" * (len(content) % 2))) as file:
        assert (file.frames, file.samplerate, file.channels) == (FRAMES, 44_100, channels)
        assert (file.format, file.subtype) == ("WAV", subtype)


def test_past_four_gigabytes_the_header_says_where_the_true_sizes_stand() -> None:
    frames = 2**31
    header = wav_header(form(), frames)
    assert (header[:4], header[8:16]) == (b"RF64", b"WAVEds64")
    assert struct.unpack("<I", header[4:8]) == (0xFFFF_FFFF,)
    riff_bytes, data_bytes, sample_count = struct.unpack("<QQQ", header[20:44])
    assert (data_bytes, sample_count) == (frames * 4, frames)
    assert riff_bytes == len(header) + data_bytes - 8
    assert wav_header(form(), 2**29)[:4] == b"RIFF"


@given(
    st.integers(0, 2**32),
    st.permutations([(stem, start) for stem in (0, 1) for start in range(0, FRAMES, 700)]),
)
def test_chunks_in_any_order_make_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, seed: int, pieces: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("stems")
    stem = form()
    noise = random.Random(seed)
    samples = [noise.randbytes(FRAMES * 4), noise.randbytes(FRAMES * 4)]
    files = StemFiles(folder / "track", stem, FileFormat.WAV)
    for index, start in pieces:
        files.write(chunk(stem, index, start, samples[index][start * 4 : (start + 700) * 4]))
    assert not any(target.exists() for target in files.targets), "nothing is seen before it is whole"
    names = dict(zip(stem.stem_names, samples, strict=True))
    files.verify({name: hashlib.sha256(content).hexdigest() for name, content in names.items()})
    files.finish()
    header = wav_header(stem, FRAMES)
    for name, target in zip(stem.stem_names, files.targets, strict=True):
        assert target.read_bytes() == header + names[name]
    assert sorted(path.name for path in (folder / "track").iterdir()) == ["no_vocals.wav", "vocals.wav"]


@pytest.mark.parametrize("encoding", [audio_pb2.ENCODING_PCM_S16LE, audio_pb2.ENCODING_PCM_S24LE])
def test_flac_holds_the_very_samples(tmp_path: Path, encoding: audio_pb2.Encoding) -> None:
    stem = form(encoding)
    samples = random.Random(3).randbytes(FRAMES * stem.frame_bytes)
    for file_format in FileFormat:
        files = StemFiles(tmp_path, stem, file_format)
        files.write(chunk(stem, 0, 0, samples))
        files.write(chunk(stem, 1, 0, bytes(len(samples))))
        files.finish()
    wav, _ = soundfile.read(tmp_path / "vocals.wav", dtype="int32")
    flac, _ = soundfile.read(tmp_path / "vocals.flac", dtype="int32")
    assert (wav == flac).all()
    assert wav.std() > 0
    assert len(list(tmp_path.iterdir())) == 4


def test_samples_that_are_not_the_servers_are_refused(tmp_path: Path) -> None:
    files = StemFiles(tmp_path / "track", form(), FileFormat.WAV)
    with pytest.raises(StreamCorruptError, match="vocals"):
        files.verify({"vocals": "0" * 64})
    files.verify({"vocals": "", "other": "0" * 64})
    files.discard()
    assert list(tmp_path.iterdir()) == [], "not even the folder is left"


def test_giving_up_keeps_what_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "vocals.wav").write_bytes(b"earlier")
    StemFiles(tmp_path, form(), FileFormat.WAV).discard()
    assert [path.name for path in tmp_path.iterdir()] == ["vocals.wav"]
    assert (tmp_path / "vocals.wav").read_bytes() == b"earlier"


def test_floats_do_not_go_into_flac(tmp_path: Path) -> None:
    files = StemFiles(tmp_path, form(audio_pb2.ENCODING_PCM_F32LE), FileFormat.FLAC)
    with pytest.raises(FlacUnavailableError, match="16 or 24"):
        files.finish()
    files.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../vocals", "a/b", "", ".."])
def test_a_stem_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeStemNameError):
        StemFiles(tmp_path, replace(form(), stem_names=(name,)), FileFormat.WAV)
