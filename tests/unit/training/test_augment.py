"""Augmentation changes what it should and keeps the truth true."""

from __future__ import annotations

import numpy as np

from training import augment

RATE = augment.SAMPLE_RATE


def tone(hertz: float, frames: int = RATE, level: float = 0.2) -> augment.Audio:
    one = level * np.sin(2 * np.pi * hertz * np.arange(frames) / RATE)
    return np.stack([one, one], axis=1).astype(np.float32)


def test_compressed_stems_still_add_up_and_loud_places_come_down() -> None:
    envelope = np.where(np.arange(RATE) < RATE * 0.9, 0.05, 1.0)[:, None].astype(np.float32)
    stems = [tone(110) * envelope, tone(440) * envelope]
    squeezed = augment.compressed(stems, np.random.default_rng(1))
    gain = squeezed[0][100:, :] / np.where(np.abs(stems[0][100:]) < 1e-3, np.nan, stems[0][100:])
    other = squeezed[1][100:, :] / np.where(np.abs(stems[1][100:]) < 1e-3, np.nan, stems[1][100:])
    both = ~np.isnan(gain) & ~np.isnan(other)
    assert np.allclose(gain[both], other[both], atol=1e-3), "one gain for all"
    assert np.nanmax(gain) <= 1.001
    assert np.nanmean(gain[-RATE // 20 :]) < 0.9 * np.nanmean(gain[: RATE // 4])


def test_added_kicks_are_deep_on_a_beat_and_as_loud_as_asked_with_drums_or_without() -> None:
    frames = 4 * RATE
    for seed, drums in enumerate((tone(3000, frames), np.zeros((frames, 2), dtype=np.float32))):
        kicks = augment.kicked(drums, np.random.default_rng(seed)) - drums
        assert kicks.shape == drums.shape
        assert kicks.dtype == np.float32
        assert np.array_equal(kicks[:, 0], kicks[:, 1])
        power = np.square(np.abs(np.fft.rfft(kicks[:, 0])))
        assert power[: 200 * 4].sum() > 0.8 * power.sum()
        rms = max(float(np.sqrt(np.square(drums).mean())), 10 ** (augment.KICKS_FROM_DBFS / 20))
        assert -3.1 <= 20 * np.log10(np.sqrt(np.square(kicks).mean()) / rms) <= 9.1
        envelope = np.square(kicks[: frames // 1000 * 1000, 0]).reshape(-1, 1000).mean(axis=1)
        spectrum = np.abs(np.fft.rfft(envelope - envelope.mean(), 8 * len(envelope)))
        beats_per_second = np.arange(len(spectrum)) * (RATE / 1000) / (8 * len(envelope))
        strongest = beats_per_second[spectrum.argmax()]
        assert 85 / 60 * 0.9 <= strongest <= 175 / 60 * 1.1


def test_an_mp3_is_aligned_and_not_the_same() -> None:
    rng = np.random.default_rng(2)
    mix = (0.1 * rng.normal(size=(3 * RATE, 2))).astype(np.float32)
    mix = augment.coloured(mix, rng, equaliser=True, room=False) + tone(330, 3 * RATE)
    lossy = augment.through_mp3(mix, rng)
    assert lossy.shape == mix.shape

    # The best lag is none.
    def product(lag: int) -> float:
        return float((lossy[2000 + lag : -2000 + lag] * mix[2000:-2000]).sum())

    assert max(range(-1300, 1301, 1), key=product) == 0
    assert np.abs(lossy - mix).mean() > 0.001


def test_saturation_adds_harmonics_and_keeps_the_loudness() -> None:
    clean = tone(200, level=0.8)
    bent = augment.saturated(clean, np.random.default_rng(3))
    assert np.isclose(np.square(bent).mean(), np.square(clean).mean(), rtol=1e-3)
    spectrum = np.abs(np.fft.rfft(bent[:, 0]))
    assert spectrum[600] > 50 * spectrum[500]


def test_an_equaliser_and_a_room_keep_the_frames_and_differ_from_draw_to_draw() -> None:
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(RATE, 2)).astype(np.float32)
    drawn = [augment.coloured(noise, rng, equaliser=True, room=True) for _ in range(2)]
    assert all(stem.shape == noise.shape and stem.dtype == np.float32 for stem in drawn)
    assert not np.allclose(drawn[0], drawn[1], atol=0.1)


def test_a_room_rings_after_the_sound_has_ended() -> None:
    click = np.zeros((RATE, 2), dtype=np.float32)
    click[0] = 1.0
    wet = augment.coloured(click, np.random.default_rng(5), equaliser=False, room=True)
    assert np.allclose(wet[0], 1.0, atol=1e-3), "the direct sound"
    assert 0.001 < np.square(wet[100:5000]).sum() < 1.0


def test_an_echo_comes_again_and_again_weaker_and_duller() -> None:
    click = np.zeros((2 * RATE, 2), dtype=np.float32)
    click[0] = 1.0
    for seed in range(8):
        wet = augment.echoed(click, np.random.default_rng(seed))
        assert np.array_equal(wet[0], click[0]), "the direct sound"
        starts = np.flatnonzero(wet[1:].any(axis=1)) + 1
        delay = int(starts[0])
        assert 0.12 * RATE <= delay <= 0.55 * RATE
        energy = [float(np.square(wet[k * delay : (k + 1) * delay]).sum()) for k in (1, 2, 3)]
        assert energy[0] > energy[1] > energy[2] > 0
    assert not click[1:].any(), "what came in stays as it is"
