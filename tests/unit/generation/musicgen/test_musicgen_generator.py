from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soxr

from benchmarks.music.tiny_musicgen import NAME
from mismo_grpc.errors import ModelLoadError, ModelUnavailableError
from mismo_grpc.generation.musicgen.musicgen_generator import (
    CONTEXT_SECONDS,
    FIRST_SECONDS,
    WINDOW_SECONDS,
    MusicgenGenerator,
    _joined,
    _stem,
)
from mismo_grpc.generation.musicgen.weights import MusicgenWeights
from mismo_grpc.generation.options import GenerationOptions
from tests.unit.generation.listening import rms
from tests.unit.generation.songs.making import RATE, made

SHORT = GenerationOptions(("drums", "bass"), seconds=2.0, style="rock", key="A minor", random_seed=5)


def test_stems_have_the_asked_length_and_sound(musicgen: MusicgenGenerator) -> None:
    for seconds in (0.5, 1.2345, 7.0):
        options = replace(SHORT, seconds=seconds)
        stems = made(options, musicgen)
        assert list(stems) == ["drums", "bass"]
        for stem in stems.values():
            assert stem.shape == (round(seconds * RATE), 2)
            assert np.isfinite(stem).all()
            assert 0 < np.abs(stem).max() <= 1.0
            # Also in its last tenth: nothing is filled up.
            assert rms(stem[-len(stem) // 10 :]) > 0


def test_the_same_seed_gives_the_same_bytes_whatever_else_draws_random_numbers(
    musicgen: MusicgenGenerator,
) -> None:
    import torch

    first = made(SHORT, musicgen)
    torch.rand(1000)
    state = torch.random.get_rng_state()
    again = made(SHORT, musicgen)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = made(replace(SHORT, random_seed=6), musicgen)
    for name in SHORT.target_stems:
        assert first[name].tobytes() == again[name].tobytes()
        assert first[name].tobytes() != other[name].tobytes()


def test_a_stem_is_the_same_whichever_others_are_asked_for(musicgen: MusicgenGenerator) -> None:
    both, alone = made(SHORT, musicgen), made(replace(SHORT, target_stems=("bass",)), musicgen)
    np.testing.assert_array_equal(both["bass"], alone["bass"])
    assert not np.array_equal(both["bass"], both["drums"])


@pytest.mark.parametrize("changes", [{"prompt": "slow strings"}, {"style": "jazz"}, {"target_bpm": 90.0}])
def test_the_description_is_heard(musicgen: MusicgenGenerator, changes: dict[str, object]) -> None:
    one = replace(SHORT, target_stems=("drums",))
    before, after = made(one, musicgen), made(replace(one, **changes), musicgen)
    assert not np.array_equal(before["drums"], after["drums"])


def test_at_temperature_0_the_seed_changes_nothing_else_it_does(musicgen: MusicgenGenerator) -> None:
    for temperature, same in ((0.0, True), (0.5, False)):
        one, other = (
            made(replace(SHORT, temperature=temperature, random_seed=seed), musicgen)["drums"]
            for seed in (1, 2)
        )
        assert np.array_equal(one, other) == same


def test_a_long_stem_is_made_in_windows_and_its_beginning_is_that_of_a_shorter_one(
    musicgen: MusicgenGenerator,
) -> None:
    one = replace(SHORT, target_stems=("drums",))
    long = made(replace(one, seconds=FIRST_SECONDS + 1.5 * WINDOW_SECONDS), musicgen)["drums"]
    short = made(replace(one, seconds=FIRST_SECONDS), musicgen)["drums"]
    heard = int((FIRST_SECONDS - 1) * RATE)
    np.testing.assert_allclose(long[:heard], short[:heard], atol=1e-4)
    assert rms(long[-RATE:]) > 0


def test_joined_windows_are_what_decoding_all_codes_at_once_gives(models: Path) -> None:
    import torch

    from mismo_grpc.generation.musicgen.model import LoadedMusicgen

    model = LoadedMusicgen(models / NAME, "cpu")
    stem = _stem(SHORT, "drums", model)
    first = model.generate("rock", None, 250, 1.0, stem.generator, lambda: None)
    pieces = [_joined(stem, first, model, last=False)]
    assert stem.context is not None
    assert torch.equal(stem.context, first.codes)
    # Its context is all that precedes it, so its audio is the whole.
    second = model.generate("rock", stem.context, 100, 1.0, stem.generator, lambda: None)
    pieces.append(_joined(stem, second, model, last=True))
    joined = np.concatenate(pieces)[:, 0]
    whole = soxr.resample(second.audio[0], model.sample_rate, RATE, quality="HQ")[: len(joined)]
    # Without the end that is held back, the edge would be off by 0.02.
    np.testing.assert_allclose(joined, np.clip(whole, -1, 1), atol=1e-4)


def test_a_later_window_depends_on_the_earlier_audio(models: Path) -> None:
    import torch

    from mismo_grpc.generation.musicgen.model import LoadedMusicgen

    model = LoadedMusicgen(models / NAME, "cpu")
    context = torch.randint(0, 64, (4, 50), generator=torch.Generator().manual_seed(1))

    def continued(context: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(2)
        window = model.generate("rock", context, 30, 1.0, generator, lambda: None)
        assert window.codes.shape == (4, 80)
        assert torch.equal(window.codes[:, :50], context)
        assert window.audio.shape == (1, 80 * model.samples_of_code)
        assert int(window.codes.max()) < 64
        return window.codes[:, 50:]

    assert torch.equal(continued(context), continued(context))
    assert not torch.equal(continued(context), continued((context + 1) % 64))


def test_codes_are_aligned_as_transformers_aligns_them(models: Path) -> None:
    import torch

    from mismo_grpc.generation.musicgen.model import LoadedMusicgen

    for name, codebooks in ((NAME, 4), (f"{NAME}-stereo", 8)):
        model = LoadedMusicgen(models / name, "cpu")
        for context in (None, torch.randint(0, 64, (codebooks, 20))):
            window = model.generate("rock", context, 12, 0.0, torch.Generator(), lambda: None)
            network = model._model
            step = model.channels
            decoded = [
                network.audio_encoder.decode(window.codes[None, None, side::step], audio_scales=[None])
                for side in range(step)
            ]
            heard = np.concatenate([d.audio_values[0].detach().numpy() for d in decoded])
            np.testing.assert_allclose(window.audio, heard, atol=1e-5)


def test_a_stereo_model_keeps_its_sides(models: Path) -> None:
    generator = MusicgenGenerator(MusicgenWeights(f"mismo/{NAME}-stereo", (models,)))
    stem = made(replace(SHORT, seconds=7.0), generator)["drums"]
    assert stem.shape == (7 * RATE, 2)
    assert not np.array_equal(stem[:, 0], stem[:, 1])


def test_progress_grows_with_every_token_to_one(musicgen: MusicgenGenerator) -> None:
    shares: list[float] = []
    for _ in musicgen.render(SHORT, lambda: False, shares.append):
        pass
    assert len(shares) == 2 * (100 + 3)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_it_stops_between_two_tokens(musicgen: MusicgenGenerator) -> None:
    shares: list[float] = []
    blocks = list(musicgen.render(SHORT, lambda: len(shares) >= 10, shares.append))
    assert blocks == []
    assert len(shares) == 10
    # The model can be used afterwards.
    assert made(SHORT, musicgen)["drums"].any()


def test_who_waits_for_the_model_can_stop_waiting(musicgen: MusicgenGenerator) -> None:
    with musicgen._lock:
        assert list(musicgen.render(SHORT, lambda: True, lambda share: None)) == []


def test_two_threads_get_what_each_would_get_alone(musicgen: MusicgenGenerator) -> None:
    wanted = [replace(SHORT, random_seed=seed) for seed in (21, 22)]
    alone = [made(options, musicgen)["drums"] for options in wanted]
    together: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(
            target=lambda o=options: together.update({o.random_seed: made(o, musicgen)["drums"]})
        )
        for options in wanted
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for options, one in zip(wanted, alone, strict=True):
        np.testing.assert_array_equal(together[options.random_seed], one)


def test_the_model_stays_loaded(models: Path) -> None:
    generator = MusicgenGenerator(MusicgenWeights(f"mismo/{NAME}", (models,)))
    made(replace(SHORT, seconds=0.5), generator)
    warm = generator._model
    assert warm is not None
    first = made(replace(SHORT, seconds=0.5), generator)
    again = made(replace(SHORT, seconds=0.5), generator)
    assert generator._model is warm
    np.testing.assert_array_equal(first["drums"], again["drums"])


def test_the_version_changes_with_the_weights(models: Path, tmp_path: Path) -> None:
    generator = MusicgenGenerator(MusicgenWeights(f"mismo/{NAME}", (tmp_path, models)))
    before = generator.version()
    assert NAME in before
    other = tmp_path / NAME
    other.mkdir()
    for file in (models / NAME).iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "model.safetensors").write_bytes((models / NAME / "model.safetensors").read_bytes() + b"\0")
    assert generator.version() != before


def test_missing_weights_are_an_error_that_says_how_to_get_them(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    generator = MusicgenGenerator(MusicgenWeights("mismo/no-such-model", (tmp_path,)))
    assert generator.version().endswith("missing")
    with pytest.raises(ModelUnavailableError) as caught:
        next(generator.render(SHORT, lambda: False, lambda share: None))
    assert caught.value.message == generator.unavailable_reason()
    assert caught.value.field == "options.generation.generator"
    assert "hf download mismo/no-such-model" in caught.value.message
    assert "CC BY-NC" in caught.value.message


def test_broken_weights_are_an_error_and_do_not_stay_loaded(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    for file in (models / NAME).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.safetensors").write_bytes(b"no weights")
    generator = MusicgenGenerator(MusicgenWeights(f"mismo/{NAME}", (tmp_path,)))
    with pytest.raises(ModelLoadError, match=f"{NAME} cannot be loaded"):
        next(generator.render(SHORT, lambda: False, lambda share: None))
    (folder / "model.safetensors").write_bytes((models / NAME / "model.safetensors").read_bytes())
    assert made(SHORT, generator)["drums"].any()


def test_a_window_with_its_context_fits_what_musicgen_was_trained_on() -> None:
    assert CONTEXT_SECONDS + WINDOW_SECONDS <= 30


def test_without_transformers_the_package_imports_and_says_what_is_missing(tmp_path: Path) -> None:
    # Another process, in which the package is not to be found.
    program = """
import json, sys
from importlib import metadata
known = metadata.version
def version(name):
    if name == "transformers":
        raise metadata.PackageNotFoundError(name)
    return known(name)
metadata.version = version
sys.modules["transformers"] = None
from mismo_grpc.generation.musicgen.musicgen_generator import MusicgenGenerator
from mismo_grpc.generation.musicgen.weights import MusicgenWeights
generator = MusicgenGenerator(MusicgenWeights(hub=True))
print(json.dumps([generator.unavailable_reason(), generator.version(), "torch" in sys.modules]))
"""
    root = Path(__file__).resolve().parents[4]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    answer = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    reason, version, torch_loaded = json.loads(answer.stdout)
    assert "pip install mismo-grpc[generation]" in reason
    assert "transformers-None" in version
    assert not torch_loaded
