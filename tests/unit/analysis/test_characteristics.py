"""Characteristics: each number moves the way it is documented to, on signals and songs that are made here."""

from __future__ import annotations

import math
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mismo_grpc.analysis.character import frames
from mismo_grpc.analysis.characteristics import analyse_characteristics, measure_characteristics
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.results import CharacteristicsResult
from tests.support.packages import needs
from tests.unit.analysis.character.songs import RATE, instruments, mix, stems
from tests.unit.analysis.essentia_models.graphs import embedding_graph, head_graph
from tests.unit.analysis.memory import growth_a_second
from tests.unit.analysis.signals import Samples, music, silence, tone

SILENT = CharacteristicsResult(0.0, 0.0, 0.0, 0.0, 1.0, 0.0, (), "mix")


def noise(seconds: float, rate: int = RATE, channels: int = 2, level: float = 0.1) -> Samples:
    return (level * np.random.default_rng(3).standard_normal((round(seconds * rate), channels))).astype(
        np.float32
    )


def pulse(seconds: float, tempo: float, rate: int = RATE) -> Samples:
    """A decaying burst of noise on every beat."""
    time = np.arange(round(seconds * rate)) / rate
    return noise(seconds, rate, level=0.3) * np.exp(-30 * (time % (60 / tempo)))[:, np.newaxis].astype(
        np.float32
    )


def scores(result: CharacteristicsResult) -> tuple[float, ...]:
    return astuple(replace(result, moods=(), vocal_source=""))[:6]


@pytest.mark.parametrize("tempo", [70, 180])
def test_a_steady_pulse_is_danceable_and_noise_and_a_swell_are_not(tempo: float) -> None:
    steady = measure_characteristics(pulse(30, tempo), RATE).danceability
    time = np.arange(30 * RATE) / RATE
    swell = tone(-6, 30, RATE) * (1 + np.sin(2 * np.pi * time / 11))[:, np.newaxis].astype(np.float32) / 2
    assert steady > 0.7
    assert measure_characteristics(noise(30), RATE).danceability < 0.2
    assert measure_characteristics(swell, RATE).danceability < 0.2


def test_a_pulse_that_loses_its_tempo_is_less_danceable() -> None:
    random = np.random.default_rng(1)
    places = np.cumsum(random.uniform(0.15, 1.2, 60))
    irregular = noise(30, level=0.3)
    time = np.arange(len(irregular)) / RATE
    since = time - np.append(0.0, places)[np.searchsorted(places, time, side="right")]
    irregular *= np.exp(-30 * since)[:, np.newaxis].astype(np.float32)
    steady, loose = (measure_characteristics(audio, RATE) for audio in (pulse(30, 120), irregular))
    assert steady.danceability > loose.danceability + 0.3


def test_louder_and_busier_music_has_more_energy() -> None:
    quiet, loud = (measure_characteristics(pulse(12, 120) * gain, RATE).energy for gain in (0.1, 1.0))
    slow, fast = (measure_characteristics(pulse(12, tempo), RATE).energy for tempo in (60, 200))
    assert loud > quiet + 0.2
    assert fast > slow + 0.05


def test_brightness_follows_the_frequency_on_the_erb_scale() -> None:
    found = [
        measure_characteristics(tone(-12, 4, RATE, hz=hz), RATE).brightness
        for hz in (60, 250, 1000, 2500, 8000)
    ]
    assert found == sorted(found)
    assert found[0] == 0.0
    assert found[-1] == 1.0
    low, high = frames.erb_number([123.0, 3500.0])
    expected = (float(frames.erb_number(1000.0)) - low) / (high - low)
    assert found[2] == pytest.approx(expected, abs=0.05)


def test_acoustic_instruments_are_more_acoustic_than_synthesisers_with_the_same_notes() -> None:
    pairs = [
        [
            measure_characteristics(instruments(seed, synthetic), RATE).acousticness
            for synthetic in (False, True)
        ]
        for seed in range(60, 63)
    ]
    assert sum(acoustic > synthetic for acoustic, synthetic in pairs) >= 2
    means = np.mean(pairs, axis=0)
    assert means[0] > means[1] + 0.25


def test_vocals_of_the_stems() -> None:
    parts = stems(3)
    result = measure_characteristics(mix(parts), RATE, vocals=parts["vocals"])
    powers = [
        np.square(audio[: len(audio) // 4410 * 4410]).mean(axis=1).reshape(-1, 4410).mean(axis=1)
        for audio in (parts["vocals"], mix(parts))
    ]
    truth = float((powers[0] > 0.01 * powers[1]).mean())
    assert result.vocal_source == "stems"
    assert result.vocal_presence == pytest.approx(truth, abs=0.12)
    assert result.instrumentalness == 0.0


@pytest.mark.parametrize("bleed_db", [-60, -35, -22])
def test_what_a_separation_leaves_in_the_vocals_is_no_voice(bleed_db: float) -> None:
    parts = stems(3)
    instrumental = mix(parts) - parts["vocals"]
    bleed = instrumental * np.float32(10 ** (bleed_db / 20))
    result = measure_characteristics(instrumental, RATE, vocals=bleed)
    assert result.vocal_presence < 0.05
    assert result.instrumentalness > 0.8


def test_vocals_may_have_another_sample_rate() -> None:
    parts = stems(3)
    vocals = parts["vocals"]
    half = vocals[: len(vocals) // 2 * 2].reshape(-1, 2, 2).mean(axis=1)
    whole = measure_characteristics(mix(parts), RATE, vocals=vocals)
    other = measure_characteristics(mix(parts), RATE, vocals=half, vocals_rate=RATE // 2)
    assert other.vocal_presence == pytest.approx(whole.vocal_presence, abs=0.03)


def test_the_estimate_from_the_mix_is_lower_without_the_singer() -> None:
    found: list[tuple[float, float]] = []
    for seed in (3, 7):
        parts = stems(seed)
        sung, instrumental = mix(parts), mix(parts) - parts["vocals"]
        results = [measure_characteristics(audio, RATE) for audio in (sung, instrumental)]
        assert {result.vocal_source for result in results} == {"mix"}
        found.append((results[0].vocal_presence, results[1].vocal_presence))
    means = np.mean(found, axis=0)
    assert means[0] > means[1] + 0.15


def test_noise_is_not_taken_for_a_voice() -> None:
    assert measure_characteristics(noise(10), RATE).vocal_presence == 0.0
    assert measure_characteristics(tone(-6, 10, RATE, hz=440), RATE).vocal_presence == 0.0


@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_the_sample_rate_hardly_matters(rate: int) -> None:
    import soxr

    audio = mix(stems(3))
    at_rate = soxr.resample(audio, RATE, rate)
    for ours, other in zip(
        scores(measure_characteristics(audio, RATE)),
        scores(measure_characteristics(at_rate, rate)),
        strict=True,
    ):
        assert other == pytest.approx(ours, abs=0.25)


def test_the_result_does_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = mix(stems(3))
    expected = measure_characteristics(audio, RATE)
    monkeypatch.setattr(frames, "BLOCK_FRAMES", 37)
    assert scores(measure_characteristics(audio, RATE)) == pytest.approx(scores(expected), abs=2e-4)
    assert measure_characteristics(audio, RATE) == measure_characteristics(audio, RATE)


@pytest.mark.parametrize(
    "audio",
    [
        silence(5, RATE),
        np.zeros((0, 2), np.float32),
        np.full((RATE, 2), np.nan, np.float32),
        np.zeros(1, np.float32),
    ],
    ids=["silence", "empty", "nan", "one sample"],
)
def test_silence_has_no_character(audio: Samples) -> None:
    assert measure_characteristics(audio, RATE) == SILENT
    assert measure_characteristics(audio, RATE, vocals=audio) == replace(SILENT, vocal_source="stems")


@pytest.mark.parametrize(
    ("audio", "rate"),
    [
        (noise(0.5), RATE),
        (noise(0.001), RATE),
        (noise(5, 8_000, 1)[:, 0], 8_000),
        (np.eye(1, 5 * RATE, RATE, dtype=np.float32)[0], RATE),
        (np.full((5 * RATE, 2), np.inf, np.float32), RATE),
        (1e30 * noise(2), RATE),
        (noise(2, 192_000), 192_000),
        (np.stack([noise(3)[:, 0]] * 6, axis=1), RATE),
        (noise(3)[:, :1] * np.array([1, -1], np.float32), RATE),
        (tone(0, 3, RATE).astype(np.float64), RATE),
    ],
    ids=[
        "0.5 s",
        "1 ms",
        "8 kHz mono",
        "click",
        "inf",
        "huge",
        "192 kHz",
        "6 channels",
        "out of phase",
        "float64",
    ],
)
def test_any_audio_gives_numbers_from_0_to_1(audio: Samples, rate: int) -> None:
    for vocals in (None, audio[: len(audio) // 2]):
        result = measure_characteristics(audio, rate, vocals=vocals)
        assert all(
            type(score) is float and math.isfinite(score) and 0 <= score <= 1 for score in scores(result)
        )


def test_memory_grows_by_the_features_only(tmp_path: Path) -> None:
    """A second of the audio has 64 kB."""
    rate = 8_000  # The number of frames, and so the memory, is the same at any rate.
    results: list[CharacteristicsResult] = []

    def analyse(mix_file: MixFile) -> None:
        results.append(analyse_characteristics(AnalysisInputs(mix_file)))

    assert growth_a_second(analyse, pulse(60, 120, rate), rate, tmp_path) < 40e3
    assert results[-1].danceability > 0.7


def test_single_bad_samples_count_as_0() -> None:
    audio = music(6, RATE)
    audio[RATE : RATE + 5] = 0.0
    damaged = audio.copy()
    damaged[RATE : RATE + 5] = (np.nan, np.inf)
    assert measure_characteristics(damaged, RATE) == measure_characteristics(audio, RATE)


def test_the_audio_is_not_changed() -> None:
    audio = mix(stems(3))
    audio.setflags(write=False)
    measure_characteristics(audio, RATE, vocals=audio)


@pytest.mark.parametrize(
    ("audio", "rate"),
    [(np.zeros((2, 2, 2), np.float32), RATE), (np.zeros((10, 2), np.int16), RATE), (noise(1), 3_000)],
)
def test_other_shapes_types_and_rates_are_refused(audio: Samples, rate: int) -> None:
    with pytest.raises(ValueError, match=r"audio is floating point|sample rate"):
        measure_characteristics(audio, rate)


@pytest.fixture
def inputs(tmp_path: Path) -> AnalysisInputs:
    """A composed song as the server stores it, with its vocals."""
    parts = stems(3)
    audio = np.ascontiguousarray(mix(parts), "<f4")
    (tmp_path / "mix.f32").write_bytes(audio.tobytes())
    soundfile.write(tmp_path / "vocals.wav", parts["vocals"], RATE, subtype="FLOAT")
    mix_file = MixFile(tmp_path / "mix.f32", len(audio), 2, RATE)
    return AnalysisInputs(mix_file, stems={"vocals": tmp_path / "vocals.wav"})


def test_the_task_reads_the_stems_of_the_job(inputs: AnalysisInputs) -> None:
    parts = stems(3)
    expected = measure_characteristics(mix(parts), RATE, vocals=parts["vocals"])
    assert analyse_characteristics(inputs) == expected
    without = analyse_characteristics(replace(inputs, stems={}))
    assert without.vocal_source == "mix"
    assert replace(without, vocal_source="stems", vocal_presence=0, instrumentalness=0) == replace(
        expected, vocal_presence=0, instrumentalness=0
    )


@pytest.mark.parametrize("content", [None, b"", b"RIFF and nothing else"])
def test_vocals_that_cannot_be_read_are_estimated_from_the_mix(
    inputs: AnalysisInputs, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "damaged.wav"
    if content is not None:
        path.write_bytes(content)
    result = analyse_characteristics(replace(inputs, stems={"vocals": path}))
    assert result == analyse_characteristics(replace(inputs, stems={}))


@needs("essentia")
def test_moods_come_from_the_models_that_are_there(inputs: AnalysisInputs, tmp_path: Path) -> None:
    embedding_graph(tmp_path / "discogs-effnet-bs64-1.pb")
    # The order of the classes is in the description: it differs between the published models.
    for mood, classes, offsets in (
        ("happy", ("happy", "non_happy"), (0.0, 2.0)),
        ("relaxed", ("non_relaxed", "relaxed"), (0.0, 3.0)),
        ("sad", ("non_sad", "sad"), (0.0, 0.0)),
    ):
        name = f"mood_{mood}-discogs-effnet-1"
        nodes = {"operation": "Softmax", "source": "model/Placeholder", "output": "model/Softmax"}
        head_graph(tmp_path, name, classes, offsets, **nodes)
    (tmp_path / "mood_sad-discogs-effnet-1.pb").write_bytes(b"damaged")
    (tmp_path / "mood_party-discogs-effnet-1.pb").write_bytes(b"without a description")
    result = analyse_characteristics(replace(inputs, model_folders=(tmp_path,)))
    assert [mood.label for mood in result.moods] == ["relaxed", "happy"]
    assert [mood.score for mood in result.moods] == pytest.approx(
        [1 / (1 + math.exp(-3)), 1 / (1 + math.exp(2))], abs=1e-3
    )


def test_without_a_usable_embedding_there_are_no_moods_and_all_else_is_measured(
    inputs: AnalysisInputs, tmp_path: Path
) -> None:
    head_graph(tmp_path, "mood_happy-discogs-effnet-1", ("happy", "non_happy"), (0.0, 2.0))
    expected = analyse_characteristics(inputs)
    assert analyse_characteristics(replace(inputs, model_folders=(tmp_path,))) == expected
    (tmp_path / "discogs-effnet-bs64-1.pb").write_bytes(b"damaged")
    assert analyse_characteristics(replace(inputs, model_folders=(tmp_path,))) == expected
