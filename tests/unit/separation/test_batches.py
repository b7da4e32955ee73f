"""Batches, as a CUDA card runs them, on the CPU: a segment gets what it would get alone, whatever is beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from mismo_grpc.audio.decode import DecodedMix
from mismo_grpc.errors import SeparationFailedError
from mismo_grpc.separation.catalog import ModelCatalog
from mismo_grpc.separation.device import InferenceSpec, Samples, SegmentInput, TorchDevice
from mismo_grpc.separation.engine import SegmentEngine
from mismo_grpc.separation.models import Bag, ModelPool
from mismo_grpc.separation.scheduler import Scheduler
from tests.unit.separation.bags import tiny_htdemucs, write_safetensors_bag
from tests.unit.separation.test_engine import RATE, make_mix, read_all, snr, spec_of

FP32_SNR = 110
"""Decibels. Libraries add in another order where a matrix has more rows, so the last bits may differ: one rounding of a
float32 is 144 dB below the value, and what a network's some hundred layers make of it stays tens of dB above that."""

LENGTH = RATE // 2
"""Frames of a segment."""


@pytest.fixture
def pool(tmp_path: Path) -> ModelPool:
    write_safetensors_bag(tmp_path / "models", "tiny", [tiny_htdemucs(1)])
    return ModelPool(ModelCatalog([tmp_path / "models"]), torch.device("cpu"), 1 << 30)


def segment(bag: Bag, seed: int, level: float, offset: float, common: float, before: int) -> SegmentInput:
    """Half a second whose first `before` frames lie before the track; `common` is what its channels have in common."""
    member, length = bag.members[0], LENGTH
    valid = member.valid_frames(length)
    noise = np.random.default_rng(seed).standard_normal((valid - before, 2)).astype(np.float32)
    noise[:, 1] += common * noise[:, 0]
    mix = noise * np.float32(level) + np.float32(offset)
    return SegmentInput(mix, before, valid, (valid - length) // 2, length, offset, level)


def batched_and_alone(pool: ModelPool, model: str, precision: str) -> tuple[list[Samples], list[Samples]]:
    """Two segments of tracks that differ in level, offset and place, in one batch and one by one."""
    bag = pool.get(model)
    segments = [
        segment(bag, 1, level=0.02, offset=0.01, common=0.3, before=LENGTH // 3),
        segment(bag, 2, level=0.4, offset=-0.2, common=-2.0, before=0),
    ]
    inference = InferenceSpec(bag, (0,), np.eye(4, dtype=np.float32))
    device = TorchDevice(torch.device("cpu"), pool, precision, max_batch=2)
    return device.run(inference, segments), [device.run(inference, [each])[0] for each in segments]


@pytest.mark.parametrize("model", ["tiny", "mismo_lite"])
def test_a_batch_of_two_equals_two_runs_of_one(pool: ModelPool, model: str) -> None:
    batched, alone = batched_and_alone(pool, model, "fp32")
    for expected, ours in zip(alone, batched, strict=True):
        assert np.square(expected).mean() > 0
        assert snr(expected, ours) > FP32_SNR


@pytest.mark.parametrize("model", ["tiny", "mismo_lite"])
def test_in_bf16_a_batch_differs_less_than_bf16_from_fp32(pool: ModelPool, model: str) -> None:
    _, exact = batched_and_alone(pool, model, "fp32")
    batched, alone = batched_and_alone(pool, model, "bf16")
    for reference, expected, ours in zip(exact, alone, batched, strict=True):
        # Sums in another order may be rounded to another of bf16's values, which costs what the first rounding did.
        assert snr(expected, ours) > snr(reference, expected) > 40


class RecordingDevice(TorchDevice):
    """Notes the mean of the track of each segment that ran in one batch."""

    def __init__(self, pool: ModelPool, max_batch: int) -> None:
        super().__init__(torch.device("cpu"), pool, "fp32", max_batch)
        self.batches: list[tuple[float, ...]] = []

    def run(self, inference: InferenceSpec, segments: Sequence[SegmentInput]) -> list[Samples]:
        self.batches.append(tuple(segment.mean for segment in segments))
        return super().run(inference, segments)


def loud(mix: DecodedMix) -> DecodedMix:
    """The same track, louder and with another offset."""
    (np.fromfile(mix.path, dtype="<f4") * np.float32(5) - np.float32(0.2)).tofile(mix.path)
    return replace(mix, mean=mix.mean * 5 - 0.2, std=mix.std * 5)


@pytest.fixture
def mixes(tmp_path: Path) -> list[DecodedMix]:
    """Two tracks of different length, of nine and eleven segments."""
    return [make_mix(tmp_path / "a", 150_000, seed=1), loud(make_mix(tmp_path / "b", 4 * RATE, seed=2))]


@pytest.fixture
def separate(tmp_path: Path, pool: ModelPool) -> Callable[..., list[Samples | BaseException]]:
    """Separates tracks at the same time; answers each one's stems, or the error it ended with."""

    def run(device: RecordingDevice, mixes: Sequence[DecodedMix], name: str) -> list[Samples | BaseException]:
        engine = SegmentEngine([device], Scheduler(lambda: 0.0))
        # All are played from their start, so that their segments take turns; nothing runs before all are there.
        specs = [spec_of(tmp_path, mix, f"{name}-{number}") for number, mix in enumerate(mixes)]
        jobs = [engine.open(replace(spec, playing=True), engine.load("tiny")) for spec in specs]
        engine.start()
        try:
            return [job.finished.exception(60) or read_all(job) for job in jobs]
        finally:
            engine.stop(10)
            for job in jobs:
                job.stems.close()

    return run


def test_two_jobs_side_by_side_get_what_each_gets_alone(
    pool: ModelPool, mixes: list[DecodedMix], separate: Callable[..., list[Samples]]
) -> None:
    alone = [separate(RecordingDevice(pool, 1), [mix], f"alone-{mix.frames}")[0] for mix in mixes]
    with closing(RecordingDevice(pool, 2)) as device:
        together = separate(device, mixes, "together")
    mixed = [batch for batch in device.batches if len(set(batch)) == 2]
    assert len(mixed) >= 8
    for expected, ours in zip(alone, together, strict=True):
        assert snr(expected, ours) > FP32_SNR


def test_a_track_that_the_model_cannot_take_fails_alone(
    pool: ModelPool, mixes: list[DecodedMix], separate: Callable[..., list[Samples | BaseException]]
) -> None:
    (alone,) = separate(RecordingDevice(pool, 1), mixes[:1], "alone")
    bad = replace(mixes[1], mean=float("nan"))
    with capture_logs() as lines:
        good, failed = separate(RecordingDevice(pool, 2), [mixes[0], bad], "together")
    assert {line["event"] for line in lines} >= {"the model failed on a batch"}
    assert isinstance(failed, SeparationFailedError)
    assert isinstance(good, np.ndarray), good
    assert isinstance(alone, np.ndarray)
    assert snr(alone, good) > FP32_SNR
