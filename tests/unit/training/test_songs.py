"""Training examples: repeatable, adding up, and never from what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from training.config import DataConfig, LeaveOut
from training.songs import SAMPLE_RATE, STEMS, Sampler, open_rendered, open_songs

CONFIG = DataConfig(
    crop_seconds=1.0,
    rendered_probability=0.5,
    remix_probability=0.5,
    drop_probability=dict.fromkeys(STEMS, 0.2),
    sounding_probability=0.9,
    gain_db=4.0,
    loud_probability=0.3,
    loud_db=12.0,
    remix_level_db=-25.0,
    speed_range=0.1,
    octave_down_probability={},
    kick_probability=0.0,
    equaliser_probability=0.5,
    saturation_probability=0.5,
    room_probability=0.5,
    echo_probability=0.5,
    compression_probability=0.5,
    mp3_probability=0.0,
    leave_out=(),
)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Two songs of 8 s, each stem a tone of its own; the second has no bass."""
    for index, name in enumerate(("first", "second")):
        folder = tmp_path / "music" / name
        folder.mkdir(parents=True)
        time = np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE
        for place, stem in enumerate(STEMS):
            hertz = 100 * (1 + place) + 1000 * index
            tone = 0.2 * np.sin(2 * np.pi * hertz * time) * (not (index and stem == "bass"))
            soundfile.write(folder / f"{stem}.ogg", np.stack([tone, tone], axis=1), SAMPLE_RATE)
    return tmp_path / "music"


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    folder = tmp_path / "rendered"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, size=(len(STEMS), 4 * SAMPLE_RATE, 2))
    np.save(folder / "rendered-000001.npy", noise.astype(np.float16))
    return folder


def test_an_example_depends_on_the_seed_and_its_number_alone(
    music: Path, rendered: Path, tmp_path: Path
) -> None:
    songs = open_songs(music, tmp_path / "cache", CONFIG)
    made = Sampler(songs, open_rendered(rendered), CONFIG, seed=7)
    again = Sampler(songs, open_rendered(rendered), CONFIG, seed=7)
    again.batch(3, 2)
    for one, other in zip(made.batch(5, 4), again.batch(5, 4), strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(made.batch(5, 4)[0], made.batch(6, 4)[0])


def test_the_mix_is_the_sum_of_its_stems_and_does_not_clip(
    music: Path, rendered: Path, tmp_path: Path
) -> None:
    sampler = Sampler(open_songs(music, tmp_path / "cache", CONFIG), open_rendered(rendered), CONFIG, seed=1)
    silent = 0
    for step in range(8):
        mix, stems = sampler.batch(step, 4)
        assert mix.shape == (4, 2, SAMPLE_RATE)
        assert stems.shape == (4, 4, 2, SAMPLE_RATE)
        assert np.allclose(stems.sum(axis=1), mix, atol=1e-5)
        assert np.abs(mix).max() <= 1.0 + 1e-5
        silent += int((np.abs(stems).max(axis=(2, 3)) == 0).sum())
    assert 8 <= silent <= 70, "of 128 stems, a fifth and the bass that one song has not"


def test_a_song_that_is_left_out_is_not_opened(music: Path, tmp_path: Path) -> None:
    songs = open_songs(music, tmp_path / "cache", CONFIG, without="second")
    assert [song.name for song in songs] == ["first"]
    with pytest.raises(ValueError, match=r"no song .third.*first, second"):
        open_songs(music, tmp_path / "cache", CONFIG, without="third")


def test_a_stretch_that_is_left_out_is_not_heard(music: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, leave_out=(LeaveOut("first", 0.0, 4.0),))
    first = open_songs(music, tmp_path / "cache", config, without="second")[0]
    assert not first.allows(int(3.5 * SAMPLE_RATE), SAMPLE_RATE)
    assert first.allows(4 * SAMPLE_RATE, SAMPLE_RATE)
    everything = replace(CONFIG, leave_out=(LeaveOut("first", 0.0, 8.0),))
    nothing = open_songs(music, tmp_path / "cache", everything, without="second")
    with pytest.raises(ValueError, match="first: no stretch"):
        Sampler(nothing, [], everything, seed=1).batch(0, 1)


def test_the_stems_that_are_to_be_are_played_an_octave_lower(music: Path, tmp_path: Path) -> None:
    lower = replace(CONFIG, remix_probability=1.0, drop_probability={}, saturation_probability=0.0)
    lower = replace(lower, octave_down_probability={"bass": 1.0})
    sampler = Sampler(open_songs(music, tmp_path / "cache", lower, without="second"), [], lower, seed=1)
    found: dict[str, set[float]] = {name: set() for name in STEMS}
    for step in range(6):
        _, stems = sampler.batch(step, 1)
        for name, stem in zip(STEMS, stems[0], strict=True):
            spectrum = np.abs(np.fft.rfft(stem[0] * np.hanning(stem.shape[1])))
            found[name].add(float(spectrum.argmax()))
    assert all(200 * 0.4 - 2 <= hertz <= 200 * 0.7 + 2 for hertz in found["bass"])
    for place, name in enumerate(STEMS):
        if name != "bass":
            assert all(abs(hertz / (100 * (1 + place)) - 1) <= 0.12 for hertz in found[name])


def test_kicks_are_added_to_the_drums_alone(music: Path, tmp_path: Path) -> None:
    changes = dict.fromkeys(("remix_probability", "loud_probability", "compression_probability"), 0.0)
    changes |= dict.fromkeys(("equaliser_probability", "saturation_probability", "room_probability"), 0.0)
    plain = replace(CONFIG, **changes, drop_probability={}, echo_probability=0.0)
    songs = open_songs(music, tmp_path / "cache", plain, without="second")
    deep: dict[float, dict[str, float]] = {}
    for probability in (0.0, 1.0):
        _, stems = Sampler(songs, [], replace(plain, kick_probability=probability), seed=1).batch(0, 1)
        power = np.square(np.abs(np.fft.rfft(stems[0], axis=-1))).sum(axis=1)
        deep[probability] = dict(zip(STEMS, power[:, :90].sum(axis=1) / power.sum(axis=1), strict=True))
    assert max(deep[0.0].values()) < 0.05
    assert [name for name in STEMS if deep[1.0][name] > 0.1] == ["drums"]


def test_no_songs_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--music, --rendered"):
        Sampler([], [], CONFIG, seed=1)
    with pytest.raises(FileNotFoundError, match=r"training\.rendering"):
        open_rendered(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"vocals\.ogg|drums\.ogg"):
        open_songs(tmp_path, tmp_path / "cache", CONFIG)
