from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.generation.composer import DRUM_KITS
from mismo_grpc.generation.kit import MACHINES, draw_kit
from mismo_grpc.generation.score import (
    CLAP,
    CLOSED_HAT,
    COWBELL,
    CRASH,
    HIGH_TOM,
    KICK,
    LOW_TOM,
    MID_TOM,
    OPEN_HAT,
    RIDE,
    SHAKER,
    SNARE,
    TAMBOURINE,
    Note,
    Part,
)
from mismo_grpc.generation.synthetic import Audio, render_part
from mismo_grpc.generation.tempo import TempoMap
from tests.unit.generation.listening import RATE, Sound, rms, share, strongest_line


def hit(drum: int, program: int = 0, seed: int = 1, strength: float = 0.8) -> Sound:
    rng = np.random.default_rng(seed)
    return draw_kit(program, RATE, rng)[drum].strike(strength, rng)


def drum(*notes: Note, program: int = 0, seconds: float = 2.0) -> Audio:
    return render_part(
        Part("drums", "drum kit", program, notes), TempoMap(60.0), int(seconds * RATE), RATE, 3
    )


@pytest.mark.parametrize("program", DRUM_KITS)
def test_a_kick_is_deep_and_falls(program: int) -> None:
    for seed in range(4):
        sound = hit(KICK, program, seed)
        start, end = sound[: int(0.03 * RATE)], sound[int(0.06 * RATE) : int(0.2 * RATE)]
        low, _ = strongest_line(end, 20, 2000)
        assert 28 < low < 80
        assert strongest_line(start, 20, 2000)[0] > low
        assert share(sound, 20, 200) > 0.6


@pytest.mark.parametrize("program", DRUM_KITS)
@pytest.mark.parametrize("drum", [CLOSED_HAT, OPEN_HAT, SHAKER, TAMBOURINE])
def test_hats_and_shakers_have_no_bass(drum: int, program: int) -> None:
    sound = hit(drum, program)
    assert share(sound, 0, 1000) < 0.01
    assert share(sound, 4000, 18000) > 0.7


@pytest.mark.parametrize("drum", [SNARE, CLAP])
@pytest.mark.parametrize("program", DRUM_KITS)
def test_a_snare_and_a_clap_are_noise_in_the_middle(drum: int, program: int) -> None:
    sound = hit(drum, program)
    assert share(sound, 20, 120) < 0.05
    assert share(sound, 800, 12000) > 0.15


@pytest.mark.parametrize("program", DRUM_KITS)
def test_toms_are_tuned_low_to_high(program: int) -> None:
    found = [
        strongest_line(hit(p, program)[int(0.1 * RATE) :], 40, 400)[0] for p in (LOW_TOM, MID_TOM, HIGH_TOM)
    ]
    assert 65 < found[0] < 1.1 * found[0] < found[1] < 1.1 * found[1] < found[2] < 260


def test_a_drum_machines_cowbell_is_two_squares() -> None:
    sound = hit(COWBELL, MACHINES[0])
    assert strongest_line(sound, 500, 580)[0] == pytest.approx(540, rel=0.01)
    assert strongest_line(sound, 760, 840)[0] == pytest.approx(800, rel=0.01)


def test_cymbals_ring_longer_than_drums() -> None:
    def length(sound: Sound) -> float:
        power = np.cumsum(sound[::-1] ** 2)[::-1]
        return float(np.argmax(power < 1e-3 * power[0])) / RATE

    assert length(hit(CRASH)) > 3 * length(hit(SNARE))
    assert length(hit(RIDE)) > 2 * length(hit(CLOSED_HAT))
    assert length(hit(OPEN_HAT)) > 2 * length(hit(CLOSED_HAT))


def test_a_closed_hat_silences_an_open_one_but_not_one_struck_with_it() -> None:
    opened, closed = Note(0.0, 0.2, OPEN_HAT, 110), Note(0.3, 0.2, CLOSED_HAT, 1)
    free, choked = drum(opened, seconds=1.0), drum(opened, closed, seconds=1.0)
    together = drum(opened, Note(0.01, 0.2, CLOSED_HAT, 1), seconds=1.0)
    late = slice(int(0.35 * RATE), int(0.6 * RATE))
    assert rms(choked[late]) < 0.05 * rms(free[late])
    assert rms(together[late]) > 0.5 * rms(free[late])


def test_no_two_hits_in_a_row_are_the_same() -> None:
    sound = drum(*(Note(i * 0.5, 0.2, SNARE, 90) for i in range(3)), seconds=1.5)
    first, second, third = np.split(sound, 3)
    assert np.abs(first - second).max() > 0.05
    assert np.abs(second - third).max() > 0.05


def test_a_drum_that_no_kit_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no such drums"):
        drum(Note(0.0, 0.2, 12, 90))
