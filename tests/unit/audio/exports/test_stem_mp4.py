"""A STEM file has five streams of the same frames, and says what they are where DJ software looks for it."""

from __future__ import annotations

import importlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.exports.pcm_source import BLOCK_FRAMES, PcmSource
from mismo_grpc.audio.exports.stem_mp4 import (
    CEILING,
    STEM_ORDER,
    has_all_streams,
    stem_mp4_bytes_at_most,
    write_stem_mp4,
)
from tests.unit.audio.exports.pieces import Samples, decoded_stream, lag, noise, probed, samples_of, source_of

FRAMES = 2 * BLOCK_FRAMES + 777


def stems(
    rate: int = 44_100,
    channels: int = 2,
    encoding: Encoding = Encoding.PCM_S16LE,
    names: tuple[str, ...] = ("vocals", "other", "bass", "drums"),
    frames: int = FRAMES,
) -> dict[str, PcmSource]:
    return {
        name: source_of(noise(frames, channels, seed=seed), rate, encoding) for seed, name in enumerate(names)
    }


def written(path: Path, sources: dict[str, PcmSource]) -> Path:
    with path.open("w+b") as file:
        write_stem_mp4(sources, file)
    return path


def atoms_of(path: Path) -> Any:
    """The boxes of the file as mutagen reads them."""
    try:
        module = importlib.import_module("mutagen.mp4._atom")
    except ImportError:
        if os.environ.get("CI") == "true":
            pytest.fail("mutagen reads the boxes in these tests; CI must have it")
        pytest.skip("mutagen is not installed; it reads the boxes here")
    with path.open("rb") as file:
        return module.Atoms(file)


def content_of(path: Path, atom: Any) -> bytes:
    with path.open("rb") as file:
        _, content = atom.read(file)
    return content


@pytest.mark.parametrize("encoding", [Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_five_streams_of_the_same_frames_in_their_place(
    tmp_path: Path, rate: int, channels: int, encoding: Encoding
) -> None:
    sources = stems(rate, channels, encoding)
    path = written(tmp_path / "x.stem.mp4", sources)
    streams = probed(path)
    assert len(streams) == 5
    for stream in streams:
        assert (stream["codec_name"], stream["profile"], stream["channels"]) == ("aac", "LC", 2)
        assert (int(stream["sample_rate"]), stream["start_pts"]) == (rate, 0)
        # The edit list cuts off what the encoder adds before and after.
        assert stream["duration_ts"] == FRAMES
    assert [stream["disposition"]["default"] for stream in streams] == [1, 0, 0, 0, 0]
    lengths: set[int] = set()
    for index, name in enumerate(STEM_ORDER, 1):
        decoded = decoded_stream(path, index)
        lengths.add(len(decoded))
        original = np.repeat(samples_of(sources[name]), 2 // channels, axis=1)
        assert lag(decoded, original) == 0
        # Noise is what the codec keeps least of; of another stem nothing would be alike.
        assert np.corrcoef(decoded[:FRAMES, 0], original[:, 0])[0, 1] > 0.85
    master = decoded_stream(path, 0)
    lengths.add(len(master))
    total = sum(samples_of(source) for source in sources.values())
    assert lag(master, np.asarray(total)) == 0
    # ffmpeg gives the last packet whole.
    assert lengths == {-(-FRAMES // 1024) * 1024}
    assert path.stat().st_size <= stem_mp4_bytes_at_most(next(iter(sources.values())))


def test_the_stem_atom_is_where_another_program_finds_it(tmp_path: Path) -> None:
    path = written(tmp_path / "x.stem.mp4", stems())
    document = json.loads(content_of(path, atoms_of(path).path(b"moov", b"udta", b"stem")[-1]))
    assert document["version"] == 1
    assert [stem["name"] for stem in document["stems"]] == ["Drums", "Bass", "Other", "Vocals"]
    assert all(stem["color"].startswith("#") and len(stem["color"]) == 7 for stem in document["stems"])
    compressor, limiter = document["mastering_dsp"]["compressor"], document["mastering_dsp"]["limiter"]
    assert (compressor["enabled"], limiter["enabled"]) == (False, False)
    assert set(compressor) == {
        *("enabled", "ratio", "output_gain", "release", "attack", "input_gain", "threshold", "hp_cutoff"),
        "dry_wet",
    }
    assert set(limiter) == {"enabled", "release", "threshold", "ceiling"}


def test_only_the_master_is_enabled(tmp_path: Path) -> None:
    path = written(tmp_path / "x.stem.mp4", stems())
    tracks = [child for child in atoms_of(path)[b"moov"].children if child.name == b"trak"]
    # The flags of a track header: bit 0 is "enabled" (ISO/IEC 14496-12, 8.3.2).
    enabled = [content_of(path, track[(b"tkhd",)])[3] & 1 for track in tracks]
    assert enabled == [1, 0, 0, 0, 0]


def test_guitar_and_piano_are_added_to_other(tmp_path: Path) -> None:
    names = (*STEM_ORDER, "guitar", "piano")
    sources = stems(names=names)
    path = written(tmp_path / "x.stem.mp4", sources)
    other = decoded_stream(path, 3)[:FRAMES, 0]
    expected = sum(samples_of(sources[name])[:, 0] for name in ("other", "guitar", "piano"))
    assert np.corrcoef(other, np.asarray(expected))[0, 1] > 0.85


def test_a_loud_sum_is_limited(tmp_path: Path) -> None:
    seconds = np.arange(FRAMES) / 44_100
    tone = (0.6 * np.sin(2 * np.pi * 220 * seconds)).astype(np.float32)
    sources = {name: source_of(np.stack([tone, tone], 1)) for name in STEM_ORDER}
    master = decoded_stream(written(tmp_path / "x.stem.mp4", sources), 0)[:FRAMES]
    # The codec itself goes over it where the tone sets in.
    assert np.abs(master[4096:]).max() <= CEILING * 1.02
    assert np.abs(master[FRAMES // 2 :]).max() > CEILING * 0.9


@pytest.mark.parametrize("frames", [1, 1023, 1024, 1025, 50_000])
def test_short_stems(tmp_path: Path, frames: int) -> None:
    streams = probed(written(tmp_path / "x.stem.mp4", stems(frames=frames)))
    assert {stream["duration_ts"] for stream in streams} == {frames}


def test_the_same_stems_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = (written(tmp_path / name, stems()) for name in ("a.mp4", "b.mp4"))
    assert one.read_bytes() == other.read_bytes()


def test_stems_that_the_format_has_no_place_for_are_refused() -> None:
    assert has_all_streams(("vocals", "drums", "bass", "other", "piano"))
    assert not has_all_streams(("vocals", "no_vocals"))
    assert not has_all_streams((*STEM_ORDER, "synth"))
    assert not has_all_streams(("drums", "bass", "other"))
    with pytest.raises(ValueError, match="not possible"):
        write_stem_mp4(stems(names=("vocals", "no_vocals")), io.BytesIO())
    with pytest.raises(ValueError, match="96000 Hz"):
        write_stem_mp4(stems(96_000), io.BytesIO())


def test_a_damaged_float_sample_stays_alone(tmp_path: Path) -> None:
    samples: Samples = noise(FRAMES)
    samples[1000] = np.nan
    sources = stems(encoding=Encoding.PCM_F32LE)
    sources["bass"] = source_of(samples, encoding=Encoding.PCM_F32LE)
    master = decoded_stream(written(tmp_path / "x.stem.mp4", sources), 0)
    assert np.isfinite(master).all()
    assert np.abs(master[5000:]).max() > 0.1
