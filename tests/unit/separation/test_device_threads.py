"""What a device thread survives, and what becomes of its segments when it does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs

from mismo_grpc.errors import SeparationFailedError
from mismo_grpc.separation.device import DeviceLostError, InferenceSpec, Samples, SegmentInput, TorchDevice
from mismo_grpc.separation.device_thread import CRASHES_WITHIN_SECONDS, MAX_CRASHES, DeviceThread
from mismo_grpc.separation.engine import BATCHES_IN_FLIGHT, SegmentEngine
from mismo_grpc.separation.scheduler import Scheduler
from tests.unit.separation.bags import tiny_htdemucs, write_safetensors_bag
from tests.unit.separation.test_engine import Rig, make_mix, read_all, spec_of

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """What is logged; to draw the tracebacks would take minutes."""
    with capture_logs() as logs:
        yield logs


class Vanished(BaseException):
    """Nothing that anyone catches by its class."""


@dataclass
class Trouble:
    """What happens to the next batches, each for the given number of times."""

    times: int = 0
    error: Callable[[], BaseException] = Vanished
    met: int = 0

    def __call__(self, *_: object) -> None:
        if self.times > 0:
            self.times -= 1
            self.met += 1
            raise self.error()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_safetensors_bag(tmp_path / "models", "tiny", [tiny_htdemucs(1)])
    return tmp_path / "models"


class TroubledRig(Rig):
    """An engine whose device, before a batch, and whose report, after it, meet troubles."""

    def __init__(self, models: Path, before: Trouble, after: Trouble | None = None) -> None:
        super().__init__(models)
        self.engine.stop(PATIENCE)
        run = self.device.run

        def troubled(inference: InferenceSpec, segments: Sequence[SegmentInput]) -> list[Samples]:
            before()
            return run(inference, segments)

        self.device.run = troubled
        self.scheduler = Scheduler(time.time)
        self.engine = SegmentEngine([self.device], self.scheduler, after, restart_seconds=0.0)
        self.given_up = threading.Event()
        self.engine.start(self.given_up.set)


MakeRig = Callable[..., TroubledRig]


@pytest.fixture
def make_rig(models: Path) -> Iterator[MakeRig]:
    """Answers rigs that are stopped at the end."""
    with ExitStack() as stack:

        def make(before: Trouble, after: Trouble | None = None) -> TroubledRig:
            rig = TroubledRig(models, before, after)
            stack.callback(rig.engine.stop, PATIENCE)
            return rig

        yield make


def expected(rig: Rig, tmp_path: Path) -> bytes:
    return rig.separate("tiny", spec_of(tmp_path, make_mix(tmp_path, 100_000), "undisturbed")).tobytes()


def all_places_in_flight_are_free(engine: SegmentEngine) -> bool:
    taken = [engine._in_flight.acquire(timeout=PATIENCE) for _ in range(BATCHES_IN_FLIGHT)]
    return all(taken)


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("error", [Vanished, SystemExit, DeviceLostError])
def test_a_device_thread_that_dies_is_restarted_and_no_segment_is_lost(
    tmp_path: Path, make_rig: MakeRig, logs: list[Any], where: str, error: Callable[[], BaseException]
) -> None:
    before, after = Trouble(error=error), Trouble(error=error)
    rig = make_rig(before, after)
    right = expected(rig, tmp_path)
    trouble = before if where == "before" else after
    trouble.times = MAX_CRASHES - 1
    assert trouble.times > BATCHES_IN_FLIGHT, (
        "a place in flight that was lost each time would stop the engine"
    )
    got = rig.separate("tiny", spec_of(tmp_path, make_mix(tmp_path, 100_000), "disturbed"))
    assert trouble.met == MAX_CRASHES - 1
    assert got.tobytes() == right
    assert rig.engine.failure == ""
    died = [line for line in logs if line["event"].startswith("a device thread crashed")]
    assert [line["device"] for line in died] == ["cpu"] * trouble.met
    assert all(line["exc_info"] for line in died)


def test_a_device_that_dies_again_and_again_is_given_up_and_its_jobs_wait_for_the_next_start(
    tmp_path: Path, make_rig: MakeRig, logs: list[Any]
) -> None:
    right = expected(make_rig(Trouble()), tmp_path)
    trouble = Trouble()
    rig = make_rig(trouble)
    spec = spec_of(tmp_path, make_mix(tmp_path, 100_000), "waiting")
    rig.device.permits = threading.Semaphore(2)
    separation = rig.open("tiny", spec)
    assert rig.device.out_of_permits.wait(PATIENCE)
    trouble.times = 1_000
    rig.device.permits.release()
    assert rig.given_up.wait(PATIENCE)
    assert trouble.met == MAX_CRASHES
    assert "Vanished" in rig.engine.failure
    assert [line["log_level"] for line in logs if line["event"].startswith("the device is abandoned")] == [
        "critical"
    ]
    assert not separation.finished.done()
    assert all_places_in_flight_are_free(rig.engine)
    segments = len(separation.plan.segments)
    assert rig.scheduler.waiting == segments - separation.segments_done
    assert separation.segments_done == 3
    other = rig.open("tiny", spec_of(tmp_path, make_mix(tmp_path / "short", 30_000), "later"))
    assert not other.finished.done()
    assert rig.scheduler.waiting == segments - 3 + len(other.plan.segments)
    rig.engine.stop(PATIENCE)
    separation.stems.close()

    again = make_rig(Trouble())
    taken_up = again.open("tiny", spec)
    taken_up.finished.result(PATIENCE)
    assert read_all(taken_up).tobytes() == right
    assert taken_up.forwards == segments - 3


def test_deaths_that_lie_far_apart_do_not_add_up() -> None:
    now = 0.0
    crashes = 0

    def serve() -> None:
        nonlocal now, crashes
        now += CRASHES_WITHIN_SECONDS / (MAX_CRASHES - 1)
        crashes += 1
        if crashes < 4 * MAX_CRASHES:
            raise Vanished

    given_up = threading.Event()
    thread = DeviceThread("cpu", serve, given_up.set, restart_seconds=0.0, clock=lambda: now)
    thread.start()
    thread._thread.join(PATIENCE)
    assert crashes == 4 * MAX_CRASHES
    assert (thread.failure, given_up.is_set()) == ("", False)


def test_a_thread_that_waits_for_its_restart_stops_at_once() -> None:
    died = threading.Event()

    def serve() -> None:
        died.set()
        raise Vanished

    thread = DeviceThread("cpu", serve, lambda: None, restart_seconds=3600.0)
    thread.start()
    assert died.wait(PATIENCE)
    assert thread.stop(PATIENCE)


def test_a_log_that_cannot_be_written_ends_no_device(
    tmp_path: Path, make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = Trouble(2)
    rig = make_rig(trouble)

    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("mismo_grpc.separation.device_thread.log.error", broken, raising=False)
    rig.separate("tiny", spec_of(tmp_path, make_mix(tmp_path, 50_000)))
    assert trouble.met == 2


def test_a_card_that_is_lost_is_told_from_a_model_that_fails(models: Path, tmp_path: Path) -> None:
    """Every later job would fail on the card as well; another start of the server has it back."""
    rig = Rig(models)
    bag = rig.engine.load("tiny")

    def lost(_: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    for member in bag.members:
        member.network.forward = lost
    device: TorchDevice = rig.device._device
    rig.device.permits = threading.Semaphore(0)
    separation = rig.open("tiny", spec_of(tmp_path, make_mix(tmp_path, 10_000)))
    segment = separation.plan.segments[0]
    with pytest.raises(DeviceLostError, match="illegal memory access"):
        device.run(separation.inferences[0], [separation.input_of(segment)])
    rig.engine.cancel(separation, SeparationFailedError("over"))
    rig.device.permits.release()
    rig.engine.stop(PATIENCE)


def test_a_batch_that_finds_no_memory_has_more_at_its_second_try(
    tmp_path: Path, models: Path, make_rig: MakeRig
) -> None:
    write_safetensors_bag(models, "idle", [tiny_htdemucs(2)])
    trouble = Trouble(1, MemoryError)
    rig = make_rig(trouble)
    rig.engine.load("idle")
    rig.separate("tiny", spec_of(tmp_path, make_mix(tmp_path, 10_000)))
    assert rig.device.pool.warm() == ["tiny"]
