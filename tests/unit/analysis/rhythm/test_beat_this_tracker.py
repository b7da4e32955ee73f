"""The adapter of beat_this: which file it takes, with a model of random weights in the format of a checkpoint."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from mismo_grpc.analysis.rhythm import beat_this_tracker, rhythm
from mismo_grpc.analysis.rhythm.beat_this_tracker import PACKAGES, find_checkpoint, track
from mismo_grpc.analysis.rhythm.rhythm import estimate_rhythm
from tests.support.packages import needs
from tests.unit.analysis.rhythm.songs import RATE, Samples, drum_loop

needs_beat_this = needs(*PACKAGES)

PARAMETERS = {
    "spect_dim": 128,
    "transformer_dim": 32,
    "ff_mult": 1,
    "n_layers": 1,
    "head_dim": 8,
    "stem_dim": 4,
    "partial_transformers": False,
    "lr": 0.0008,  # Checkpoints hold the parameters of the training too.
}


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of torch hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails on a download by torch hub."""
    hub: Any = importlib.import_module("torch.hub")

    def download(*_: object, **__: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(hub, "load_state_dict_from_url", download)
    monkeypatch.setattr(hub, "download_url_to_file", download)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch: Any = importlib.import_module("torch")
    module = importlib.import_module("beat_this.model.beat_tracker")
    torch.manual_seed(1)
    model = module.BeatThis(**{name: value for name, value in PARAMETERS.items() if name != "lr"})
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    path = tmp_path_factory.mktemp("models") / "beat_this-final0.ckpt"
    torch.save({"state_dict": weights, "hyper_parameters": PARAMETERS}, path)
    return path


def music(seconds: float) -> Samples:
    return drum_loop(0.5 * np.arange(int(2 * seconds)), seconds)


def test_folders_come_before_the_cache(cache: Path, tmp_path: Path) -> None:
    assert find_checkpoint((tmp_path / "missing",)) is None
    (cache / "beat_this-final0.ckpt").touch()
    assert find_checkpoint(()) == cache / "beat_this-final0.ckpt"
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("beat_this-small0.ckpt", "final0.ckpt"):
        (folder / name).touch()
        assert find_checkpoint((folder,)) == folder / name


def test_without_a_checkpoint_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beat_this_tracker, "import_beat_this", pytest.fail)
    assert estimate_rhythm(music(10), RATE).beat_tracker == "pulse"


def test_without_the_package_a_checkpoint_is_left_alone(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    (cache / "beat_this-final0.ckpt").touch()
    monkeypatch.setattr(beat_this_tracker, "PACKAGES", ("beat_this_is_not_installed",))
    assert estimate_rhythm(music(10), RATE).beat_tracker == "pulse"


@needs_beat_this
@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04"])
def test_a_file_that_is_no_checkpoint_falls_through(cache: Path, content: bytes) -> None:
    (cache / "beat_this-final0.ckpt").write_bytes(content)
    assert estimate_rhythm(music(10), RATE).beat_tracker == "pulse"


@needs_beat_this
@pytest.mark.usefixtures("no_network")
def test_a_checkpoint_is_used(checkpoint: Path) -> None:
    found = estimate_rhythm(music(10), RATE, model_folders=(checkpoint.parent,))
    assert found.beat_tracker == "beat_this"
    assert set(found.downbeats) <= set(found.beats)
    # Random weights find beats at random, but the same ones each time.
    assert found == estimate_rhythm(music(10), RATE, model_folders=(checkpoint.parent,))


@needs_beat_this
def test_the_model_is_that_of_its_own_package(checkpoint: Path) -> None:
    """The same beats as by beat_this' own inference, over blocks and chunks."""
    audio = music(45)
    own = importlib.import_module("beat_this.inference").Audio2Beats(str(checkpoint))
    beats, _ = own(audio, RATE)
    assert len(beats) > 10
    np.testing.assert_array_equal(track(audio, RATE, checkpoint).beats, beats)


@needs_beat_this
@pytest.mark.parametrize("frames", [0, 1, 600, 11_025])
def test_short_audio(checkpoint: Path, frames: int) -> None:
    found = track(np.zeros((frames, 2), np.float32), RATE, checkpoint)
    assert np.isfinite(found.beats).all()


def test_bars_are_those_between_most_downbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    beats = 0.5 * np.arange(1, 30, dtype=np.float64)
    downbeats = beats[[2, 5, 8, 11, 15, 18]]
    certainty = np.full((2, 1000), 0.75, np.float32)
    found = beat_this_tracker._tracked(beats, downbeats, certainty)
    assert found.beats_per_bar == 3
    assert found.downbeats == (2, 5, 8, 11, 15, 18)
    assert found.confidence == pytest.approx(0.75)
    assert found.metre_confidence == pytest.approx(0.75 * 4 / 5)
    monkeypatch.setattr(rhythm, "_tracker", lambda _: ("beat_this", lambda *_: found))
    whole = estimate_rhythm(music(15), RATE)
    assert whole.tempo == pytest.approx(120)
    assert whole.downbeats == tuple(downbeats)


@needs_beat_this
@pytest.mark.heavy
def test_long_audio_in_bounded_memory(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "mix.f32"
    mix = np.memmap(path, np.float32, "w+", shape=(1800 * RATE, 2))
    mix[:, :] = np.tile(music(60), 30)[:, np.newaxis]
    before = psutil.Process().memory_info().rss
    found = track(mix, RATE, checkpoint)
    assert found.beats[-1] > 1790
    # Pages of the file count too.
    assert psutil.Process().memory_info().rss - before - mix.nbytes < 300e6
