"""The engine against demucs itself: same samples, whatever the order and the interruptions."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from demucs.apply import BagOfModels, Model, apply_model

from mismo_grpc.audio.decode import DecodedMix
from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import InvalidFieldError, JobNotReadyError, ModelLoadError, SeparationFailedError
from mismo_grpc.separation.catalog import ModelCatalog
from mismo_grpc.separation.device import InferenceSpec, Samples, SegmentInput, TorchDevice, torch_device
from mismo_grpc.separation.engine import SegmentEngine, Separation, SeparationSpec
from mismo_grpc.separation.models import ModelPool
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.storage.run_files import RunFiles
from tests.unit.separation.bags import (
    SOURCES,
    tiny_demucs,
    tiny_hdemucs,
    tiny_htdemucs,
    write_safetensors_bag,
    write_th_bag,
)

RATE = 44100


def make_mix(folder: Path, frames: int, seed: int = 1) -> DecodedMix:
    """Noise with a slow swell and an offset, as the decoder leaves it."""
    noise = np.random.default_rng(seed).standard_normal((frames, 2)).astype(np.float32) * 0.1
    noise *= np.linspace(0.2, 1.0, frames, dtype=np.float32)[:, None]
    noise += 0.01
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mix.f32"
    noise.astype("<f4").tofile(path)
    mono = noise.astype(np.float64).mean(axis=1)
    std = float(mono.std(ddof=1)) if frames > 1 else float("nan")
    return DecodedMix(path, frames, RATE, 2, float(mono.mean()), std, float(np.abs(noise).max()), 0, None, 0)


def offline(bag: Model | BagOfModels, mix: DecodedMix, shifts: int = 0, overlap: float = 0.25) -> Samples:
    """demucs' own result [sources, frames, channels], normalised as its Separator does."""
    wav = torch.from_numpy(np.fromfile(mix.path, dtype="<f4").reshape(-1, 2).T.copy())
    ref = wav.mean(0)
    mean, std = ref.mean(), ref.std() + 1e-8
    out = apply_model(bag, ((wav - mean) / std)[None], shifts=shifts, overlap=overlap)
    return (out[0] * std + mean).permute(0, 2, 1).numpy()


def snr(reference: Samples, estimate: Samples) -> float:
    return float(10 * np.log10((reference**2).sum() / max(1e-30, ((reference - estimate) ** 2).sum())))


class CountingDevice:
    """The real device, which also counts, and fails where it is told to."""

    def __init__(self, device: TorchDevice) -> None:
        self._device = device
        self.name = device.name
        self.max_batch = device.max_batch
        self.pool = device.pool
        self.info = device.info
        self.close = device.close
        self.forwards = 0
        self.members = 0
        self.fail_next = 0
        self.gate: threading.Event | None = None
        self.permits: threading.Semaphore | None = None
        self.out_of_permits = threading.Event()

    def run(self, inference: InferenceSpec, segments: Sequence[SegmentInput]) -> list[Samples]:
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.permits is not None and not self.permits.acquire(blocking=False):
            self.out_of_permits.set()
            assert self.permits.acquire(timeout=30)
        if self.fail_next > 0:
            self.fail_next -= 1
            raise RuntimeError("the device lost its mind")
        self.forwards += len(segments)
        self.members += len(inference.members) * len(segments)
        return self._device.run(inference, segments)


class Rig:
    """An engine over a folder of models."""

    def __init__(self, models: Path) -> None:
        device = torch_device(
            "cpu",
            lambda place: ModelPool(ModelCatalog([models]), place, 1 << 30),
            precision="fp32",
            cpu_threads=1,
        )
        self.device = CountingDevice(device)
        self.scheduler = Scheduler(time.time)
        self.engine = SegmentEngine([self.device], self.scheduler)
        self.engine.start()

    def open(self, model: str, spec: SeparationSpec) -> Separation:
        return self.engine.open(spec, self.engine.load(model))

    def separate(self, model: str, spec: SeparationSpec) -> Samples:
        separation = self.open(model, spec)
        separation.finished.result(60)
        return read_all(separation)


def read_all(separation: Separation) -> Samples:
    stems, layout = separation.stems, separation.stems.layout
    assert list(stems.ready) == [(0, layout.total_frames)]
    raw = [stems.read(i, 0, layout.total_frames) for i in range(len(layout.stem_names))]
    return np.stack([np.frombuffer(r, dtype="<f4").reshape(-1, layout.channels) for r in raw])


def peaks_of(separation: Separation) -> list[npt.NDArray[np.int16]]:
    """What was taken while the stems were written."""
    peaks, layout = separation.stems.peaks, separation.stems.layout
    assert peaks is not None
    return [peaks.waveform(i, layout.sample_rate).peaks for i in range(len(layout.stem_names))]


def direct_peaks(stems: Samples) -> list[npt.NDArray[np.int16]]:
    """The same from the finished samples: at 16 bits, the mean of the channels, 256 frames at a time."""
    integers = (np.clip(stems, -1, 1) * np.float32(32767)).astype(np.int16).astype(np.int32)
    mono = np.trunc(integers.sum(axis=2) / stems.shape[2]).astype(np.int16)
    pixels = [mono[:, at : at + 256] for at in range(0, mono.shape[1], 256)]
    both = [np.stack([pixel.min(axis=1), pixel.max(axis=1)], axis=1) for pixel in pixels]
    return list(np.stack(both, axis=1))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def rig(models: Path) -> Iterator[Rig]:
    rig = Rig(models)
    yield rig
    rig.engine.stop(10)


def spec_of(tmp_path: Path, mix: DecodedMix, name: str = "job") -> SeparationSpec:
    return SeparationSpec(mix, RunFiles(tmp_path / name), encoding=Encoding.PCM_F32LE, boot="this boot")


@pytest.mark.parametrize("frames", [1, 5_000, 22_050, 100_003])
def test_htdemucs_equals_demucs(tmp_path: Path, models: Path, rig: Rig, frames: int) -> None:
    network = tiny_htdemucs(1)
    write_safetensors_bag(models, "tiny", [network])
    mix = make_mix(tmp_path, frames)
    if frames == 1:
        # demucs itself divides by the deviation of one sample, which is not a number; here it is silence's.
        assert np.isfinite(rig.separate("tiny", spec_of(tmp_path, mix))).all()
        return
    ours = rig.separate("tiny", spec_of(tmp_path, mix))
    assert snr(offline(network, mix), ours) > 80


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5])
def test_other_overlaps_equal_demucs(tmp_path: Path, models: Path, rig: Rig, overlap: float) -> None:
    network = tiny_htdemucs(1)
    write_safetensors_bag(models, "tiny", [network])
    mix = make_mix(tmp_path, 90_001)
    ours = rig.separate("tiny", replace(spec_of(tmp_path, mix), overlap=overlap))
    assert snr(offline(network, mix, overlap=overlap), ours) > 80


@pytest.mark.parametrize("make", [tiny_hdemucs, tiny_demucs])
def test_models_with_other_padding_equal_demucs(
    tmp_path: Path, models: Path, rig: Rig, make: Callable[[int], Model]
) -> None:
    networks = [make(1), make(2)]
    weights = [[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 1.0]]
    write_th_bag(models, "bag", networks, weights)
    mix = make_mix(tmp_path, 120_000)
    ours = rig.separate("bag", spec_of(tmp_path, mix))
    assert snr(offline(BagOfModels(networks, weights), mix), ours) > 80


@pytest.mark.parametrize("frames", [1, 2048, 3 * 33_075 + 100])
def test_a_last_segment_too_short_for_the_network_is_padded(
    tmp_path: Path, models: Path, rig: Rig, frames: int
) -> None:
    write_th_bag(models, "bag", [tiny_hdemucs(1)])
    mix = make_mix(tmp_path, frames)
    short = rig.separate("bag", spec_of(tmp_path, mix))
    assert short.shape[1] == frames
    assert np.isfinite(short).all(), "demucs itself fails here"
    if frames > 1:
        assert np.square(short[:, -100:]).mean() > 0


def test_bag_whose_models_have_different_segments_equals_demucs(
    tmp_path: Path, models: Path, rig: Rig
) -> None:
    networks: list[Model] = [tiny_htdemucs(1), tiny_htdemucs(2, segment=Fraction(2, 3))]
    write_th_bag(models, "bag", networks)
    mix = make_mix(tmp_path, 80_000)
    assert snr(offline(BagOfModels(networks), mix), rig.separate("bag", spec_of(tmp_path, mix))) > 80


def test_shifts_equal_demucs_with_the_same_draw(
    tmp_path: Path, models: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny_htdemucs(1)
    write_safetensors_bag(models, "tiny", [network])
    mix = make_mix(tmp_path, 60_000)
    # demucs draws from the global generator; the plan from its own, seeded with 0.
    monkeypatch.setattr(random, "randint", random.Random(0).randint)
    expected = offline(network, mix, shifts=2)
    ours = rig.separate("tiny", replace(spec_of(tmp_path, mix), shifts=2))
    assert snr(expected, ours) > 80


def test_a_specialist_alone_runs_when_one_stem_is_asked(tmp_path: Path, models: Path, rig: Rig) -> None:
    networks = [tiny_htdemucs(i) for i in range(4)]
    identity = [[float(i == j) for j in range(4)] for i in range(4)]
    write_th_bag(models, "ft", networks, identity)
    mix = make_mix(tmp_path, 40_000)
    ours = rig.separate("ft", replace(spec_of(tmp_path, mix), stem_names=("vocals",)))
    assert rig.device.members == rig.device.forwards > 0
    assert snr(offline(networks[3], mix)[3], ours[0]) > 80


def test_two_stems_are_the_stem_and_the_sum_of_the_others(tmp_path: Path, models: Path, rig: Rig) -> None:
    network = tiny_htdemucs(1)
    write_safetensors_bag(models, "tiny", [network])
    mix = make_mix(tmp_path, 40_000)
    ours = rig.separate("tiny", replace(spec_of(tmp_path, mix), two_stems="bass"))
    expected = offline(network, mix)
    bass = SOURCES.index("bass")
    assert snr(expected[bass], ours[0]) > 80
    assert snr(expected.sum(axis=0) - expected[bass], ours[1]) > 80


def test_any_playhead_and_any_interruption_give_the_same_bytes(tmp_path: Path, models: Path) -> None:
    write_safetensors_bag(models, "tiny", [tiny_htdemucs(1)])
    mix = make_mix(tmp_path, 150_000)
    straight = Rig(models)
    expected = straight.separate("tiny", spec_of(tmp_path, mix, "straight")).tobytes()
    total = straight.device.forwards
    straight.engine.stop(10)

    spec = replace(spec_of(tmp_path, mix, "broken"), start_frame=90_000, playing=True)
    counted, got = 0, b""
    for segments in (2, 3, 100):
        rig = Rig(models)
        rig.device.permits = threading.Semaphore(segments)
        separation = rig.open("tiny", spec)
        if segments < 100:
            assert rig.device.out_of_permits.wait(30)
            # Stopped in the middle of a segment, which is the last one that is kept.
            rig.device.permits.release()
        else:
            separation.finished.result(60)
            stems = read_all(separation)
            got = stems.tobytes()
            np.testing.assert_array_equal(peaks_of(separation), direct_peaks(stems))
        rig.engine.stop(10)
        counted += separation.forwards
        separation.stems.close()
    assert got == expected
    assert counted == total


def test_another_sample_rate_gives_the_same_bytes_in_any_order(
    tmp_path: Path, models: Path, rig: Rig
) -> None:
    write_safetensors_bag(models, "tiny", [tiny_htdemucs(1)])
    mix = make_mix(tmp_path, 150_000)
    spec = replace(spec_of(tmp_path, mix, "straight"), sample_rate=48_000)
    straight = rig.separate("tiny", spec)
    assert straight.shape[1] == round(150_000 * 48_000 / RATE)
    separation = rig.open(
        "tiny", replace(spec, files=RunFiles(tmp_path / "sought"), start_frame=90_000, playing=True)
    )
    separation.finished.result(60)
    assert read_all(separation).tobytes() == straight.tobytes()
    np.testing.assert_array_equal(peaks_of(separation), direct_peaks(straight))


def test_silence_and_a_device_that_recovers(tmp_path: Path, models: Path, rig: Rig) -> None:
    write_safetensors_bag(models, "tiny", [tiny_htdemucs(1)])
    folder = tmp_path / "silent"
    folder.mkdir()
    path = folder / "mix.f32"
    np.zeros((50_000, 2), dtype="<f4").tofile(path)
    rig.device.fail_next = 1
    ours = rig.separate(
        "tiny", spec_of(tmp_path, DecodedMix(path, 50_000, RATE, 2, 0.0, 0.0, 0.0, 0, None, 0))
    )
    assert np.isfinite(ours).all()
    assert np.abs(ours).max() < 1e-4


def test_a_device_that_fails_twice_fails_the_job_and_not_the_next(
    tmp_path: Path, models: Path, rig: Rig
) -> None:
    write_safetensors_bag(models, "tiny", [tiny_htdemucs(1)])
    mix = make_mix(tmp_path, 50_000)
    rig.device.gate = threading.Event()
    rig.device.fail_next = 1000
    separation = rig.open("tiny", spec_of(tmp_path, mix, "bad"))
    rig.device.gate.set()
    with pytest.raises(SeparationFailedError, match="RuntimeError"):
        separation.finished.result(30)
    rig.device.fail_next = 0
    assert np.isfinite(rig.separate("tiny", spec_of(tmp_path, mix, "good"))).all()


def test_cancel_frees_the_device_within_one_segment(tmp_path: Path, models: Path, rig: Rig) -> None:
    write_safetensors_bag(models, "tiny", [tiny_htdemucs(1)])
    mix = make_mix(tmp_path, 400_000)
    rig.device.gate = threading.Event()
    separation = rig.open("tiny", spec_of(tmp_path, mix, "cancelled"))
    rig.engine.cancel(separation, JobNotReadyError("cancelled"))
    rig.device.gate.set()
    with pytest.raises(JobNotReadyError):
        separation.finished.result(5)
    rig.separate("tiny", spec_of(tmp_path, make_mix(tmp_path / "short", 10_000), "next"))
    assert rig.device.forwards <= 2
    assert separation.forwards == 0


def test_an_unknown_stem_costs_nothing(tmp_path: Path, models: Path, rig: Rig) -> None:
    write_safetensors_bag(models, "tiny", [tiny_htdemucs(1)])
    with pytest.raises(InvalidFieldError):
        rig.open("tiny", replace(spec_of(tmp_path, make_mix(tmp_path, 1000)), stem_names=("kazoo",)))
    assert not (tmp_path / "job").exists()


def test_more_work_than_a_job_may_ask_for_costs_nothing(tmp_path: Path, models: Path, rig: Rig) -> None:
    write_safetensors_bag(models, "tiny", [tiny_htdemucs(1)])
    mix = replace(make_mix(tmp_path, 1000), frames=200 * RATE)
    os.truncate(mix.path, mix.frames * 8)
    with pytest.raises(
        InvalidFieldError, match=r"options\.stems\.overlap: 0\.95 with options\.stems\.shifts 20"
    ):
        rig.open("tiny", replace(spec_of(tmp_path, mix), overlap=0.95, shifts=20))
    assert not (tmp_path / "job").exists()


def test_weights_that_are_none_say_so(models: Path, rig: Rig) -> None:
    models.mkdir()
    (models / "broken.yaml").write_text("models: [abc]\n")
    (models / "abc.th").write_bytes(b"no pickle")
    with pytest.raises(ModelLoadError, match=r"abc\.th"):
        rig.engine.load("broken")
