from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.generation.options import TARGET_STEMS, GenerationOptions
from mismo_grpc.generation.songs.styles import STYLES
from mismo_grpc.generation.songs.synthetic_generator import SyntheticGenerator
from mismo_grpc.generation.songs.writing import truth
from tests.unit.generation.listening import rms, share
from tests.unit.generation.songs.making import RATE, digest, made

ROOT = Path(__file__).resolve().parents[4]
SHORT = GenerationOptions(TARGET_STEMS, seconds=4.0, key="A minor", random_seed=7)


@pytest.mark.parametrize("seconds", [0.5, 1.2345, 3.0])
def test_stems_have_exactly_the_asked_length_in_the_asked_order(seconds: float) -> None:
    options = GenerationOptions(("bass", "drums"), seconds=seconds)
    plan = SyntheticGenerator().plan(options)
    assert plan.stem_names == ("bass", "drums")
    assert (plan.sample_rate, plan.channels, plan.total_frames) == (RATE, 2, round(seconds * RATE))
    assert all(stem.shape == (plan.total_frames, 2) for stem in made(options).values())


@pytest.mark.parametrize("style", ["", *STYLES])
def test_every_stem_of_every_style_sounds_and_none_clips(style: str) -> None:
    stems = made(replace(SHORT, style=style, seconds=6.0))
    for name, stem in stems.items():
        assert np.isfinite(stem).all(), name
        assert 0.008 < rms(stem) < 0.2, name
        assert np.abs(stem).max() < 0.96, name
        assert np.abs(stem.mean(axis=0)).max() < 0.05 * rms(stem), name
    assert share(stems["bass"][: 4 * RATE].mean(axis=1), 20, 500, RATE) > 0.6
    assert share(stems["vocals"][: 4 * RATE].mean(axis=1), 20, 75, RATE) < 0.05


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_same_options_give_the_same_bytes_in_another_process_with_any_number_of_threads(
    threads: str,
) -> None:
    fields = {"target_stems": TARGET_STEMS, "seconds": 4.0, "key": "A minor", "random_seed": 7}
    command = [sys.executable, "-m", "tests.unit.generation.songs.making", json.dumps(fields)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PYTHONHASHSEED": "99",
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
    }
    other = subprocess.run(
        command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True, timeout=100
    )
    assert other.stdout.strip() == digest(SHORT)


def test_a_stem_is_the_same_whichever_others_are_asked_for() -> None:
    whole = made(SHORT)
    for name in TARGET_STEMS:
        alone = made(replace(SHORT, target_stems=(name,)))
        np.testing.assert_array_equal(alone[name], whole[name])
    turned = made(replace(SHORT, target_stems=tuple(reversed(TARGET_STEMS))))
    np.testing.assert_array_equal(turned["piano"], whole["piano"])


@pytest.mark.parametrize(
    "changes",
    [
        {"random_seed": 8},
        {"target_bpm": 121.0},
        {"key": "Bb major"},
        {"style": "jazz"},
        {"chord_progression": ("Am", "F")},
    ],
)
def test_every_option_is_heard(changes: dict[str, object]) -> None:
    before, after = made(SHORT), made(replace(SHORT, **changes))
    for name in ("bass", "piano"):
        assert not np.array_equal(before[name], after[name])


def test_prompt_and_temperature_change_nothing() -> None:
    assert digest(replace(SHORT, prompt="a brass band", temperature=0.0)) == digest(SHORT)


def test_kicks_fall_on_the_beats_of_the_asked_tempo() -> None:
    options = GenerationOptions(("drums",), target_bpm=100.0, seconds=24.0, style="house")
    drums = made(options)["drums"].mean(axis=1)
    beats = truth(options).beats
    assert beats == tuple(k * 60 / 100.0 for k in range(40))
    # The kick is what is low; its onset is the steepest rise of the level below 150 Hz.
    spectrum = np.fft.rfft(drums)
    spectrum[np.fft.rfftfreq(len(drums), 1 / RATE) > 150] = 0
    level = np.abs(np.fft.irfft(spectrum, len(drums)))
    level = np.convolve(level, np.ones(441) / 441, "same")
    late: list[float] = []
    for beat in beats[1:-1]:
        begin = int((beat - 0.1) * RATE)
        rise = np.diff(level[begin : begin + int(0.2 * RATE)])
        late.append((begin + int(np.argmax(np.convolve(rise, np.ones(441), "same")))) / RATE - beat)
    # Drummers deviate by some milliseconds at random, but never drift.
    assert np.std(late) < 0.02
    first, last = np.median(late[:10]), np.median(late[-10:])
    assert abs(first - last) < 0.01
    assert -0.005 < np.median(late) < 0.04


def test_it_stops_between_sounds_and_ends_cleanly() -> None:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 30

    blocks = list(
        SyntheticGenerator().render(replace(SHORT, seconds=1800.0), should_stop, lambda share: None)
    )
    assert asked == 31
    assert len(blocks) < 3


def test_it_stops_before_the_first_block() -> None:
    assert list(SyntheticGenerator().render(SHORT, lambda: True, lambda share: None)) == []


def test_progress_grows_to_one() -> None:
    shares: list[float] = []
    for _ in SyntheticGenerator().render(SHORT, lambda: False, shares.append):
        pass
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) == 3


def test_the_first_block_of_a_long_song_takes_a_bounded_amount_of_memory() -> None:
    tracemalloc.start()
    try:
        blocks = SyntheticGenerator().render(
            replace(SHORT, seconds=1800.0), lambda: False, lambda share: None
        )
        for _ in range(6):
            next(blocks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # One track of 30 minutes has 635 MB; the scores of seven stems have some tens.
    assert peak < 250e6


def test_it_is_available_and_its_version_names_what_the_bytes_depend_on() -> None:
    generator = SyntheticGenerator()
    assert generator.name == "synthetic"
    assert generator.unavailable_reason() == ""
    assert generator.version().endswith(np.__version__)
