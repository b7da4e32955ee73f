"""A device: runs batches of segments through a warm model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt

from mismo_grpc.errors import SeparationFailedError
from mismo_grpc.separation.models import Bag, ModelPool

if TYPE_CHECKING:
    import torch

Samples = npt.NDArray[np.float32]


class DeviceLostError(Exception):
    """The device failed, not the model on this input: what it was to compute waits for it or for another."""


@dataclass(frozen=True, eq=False)
class SegmentInput:
    """What a device needs of one segment.

    The network's input has `valid_frames`; the track's part of it is `mix`, [frames, channels], from
    frame `before` on, the rest is silence. `mean` and `std` are the whole track's. Of the output,
    `length` frames from `trim` on are the segment's.
    """

    mix: Samples
    before: int
    valid_frames: int
    trim: int
    length: int
    mean: float
    std: float


@dataclass(frozen=True, eq=False)
class InferenceSpec:
    """What to make of the model's sources: `matrix` is [stems, sources]; `members` run, scaled by `scale`."""

    bag: Bag
    members: tuple[int, ...]
    matrix: Samples
    scale: float = 1.0


@dataclass(frozen=True)
class DeviceInfo:
    """A device as clients see it; memory in bytes, 0 where it cannot be told."""

    name: str
    description: str
    precision: str
    max_batch: int
    memory_total: int = 0
    memory_used: int = 0


class Device(Protocol):
    """Where segments are computed."""

    name: str
    max_batch: int

    @property
    def pool(self) -> ModelPool:
        """The warm models of this device."""
        ...

    def info(self) -> DeviceInfo:
        """What it is and how full it is."""
        ...

    def run(self, inference: InferenceSpec, segments: Sequence[SegmentInput]) -> list[Samples]:
        """The stems of each segment, [stems, length, channels] float32; called from one thread.

        Raises DeviceLostError if it is not the model that failed.
        """
        ...

    def close(self) -> None:
        """Frees what the device holds."""
        ...


class TorchDevice:
    """The local processor or one CUDA card."""

    def __init__(self, device: torch.device, pool: ModelPool, precision: str, max_batch: int) -> None:
        self.name = str(device)
        self._device = device
        self._pool = pool
        self._precision = precision
        self.max_batch = max_batch

    @property
    def pool(self) -> ModelPool:
        """The warm models of this device."""
        return self._pool

    def info(self) -> DeviceInfo:
        """What it is and how full it is."""
        import torch

        if self._device.type == "cuda":
            description = torch.cuda.get_device_name(self._device)
            free = total = 0
            with suppress(torch.AcceleratorError):  # Lost; who asks is to hear of the other devices.
                free, total = torch.cuda.mem_get_info(self._device)
            return DeviceInfo(self.name, description, self._precision, self.max_batch, total, total - free)
        return DeviceInfo(self.name, f"{torch.get_num_threads()} threads", self._precision, self.max_batch)

    def run(self, inference: InferenceSpec, segments: Sequence[SegmentInput]) -> list[Samples]:
        """The stems of each segment; raises SeparationFailedError if samples are not finite, DeviceLostError."""
        import torch

        try:
            return self._run(inference, segments)
        except torch.AcceleratorError as error:
            raise DeviceLostError(str(error)) from error

    def _run(self, inference: InferenceSpec, segments: Sequence[SegmentInput]) -> list[Samples]:
        import torch

        with torch.inference_mode():
            normal = self._normalised(segments)
            first = segments[0]
            estimate, shares = self._bag_forward(inference, normal)
            estimate = estimate[..., first.trim : first.trim + first.length]
            mean = torch.tensor([segment.mean for segment in segments], device=self._device).view(-1, 1, 1, 1)
            std = torch.tensor([segment.std for segment in segments], device=self._device).view(-1, 1, 1, 1)
            estimate = estimate * std + mean * shares.view(1, -1, 1, 1)
            matrix = torch.from_numpy(inference.matrix).to(self._device)
            stems = torch.einsum("ns,bsct->bntc", matrix, estimate) * inference.scale
            if not bool(torch.isfinite(stems).all()):
                raise SeparationFailedError(f"model {inference.bag.name} gave samples that are not finite")
            result = stems.contiguous().to("cpu").numpy()
        return [cast("Samples", result[i]) for i in range(len(segments))]

    def _normalised(self, segments: Sequence[SegmentInput]) -> torch.Tensor:
        """The network's input [batch, channels, frames]: zero outside the track, as demucs pads the normalised mix."""
        import torch

        cuda = self._device.type == "cuda"
        shape = (len(segments), segments[0].mix.shape[1], segments[0].valid_frames)
        host = torch.zeros(shape, pin_memory=cuda)
        for row, segment in zip(host, segments, strict=True):
            normal = (np.asarray(segment.mix) - np.float32(segment.mean)) / np.float32(segment.std)
            row[:, segment.before : segment.before + len(normal)] = torch.from_numpy(normal).T
        return host.to(self._device, non_blocking=cuda)

    def _bag_forward(
        self, inference: InferenceSpec, normal: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The members' weighted sum [batch, sources, channels, frames], and their share of each source."""
        import torch

        bag = inference.bag
        batch, channels, frames = normal.shape
        estimate = torch.zeros(batch, len(bag.sources), channels, frames, device=self._device)
        shares = torch.zeros(len(bag.sources), device=self._device)
        for index in inference.members:
            member = bag.members[index]
            share = torch.tensor(
                [w / t if t else 0.0 for w, t in zip(member.weights, bag.totals, strict=True)],
                device=self._device,
            )
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._precision == "bf16"):
                out = cast("torch.Tensor", member.network(normal))
            estimate += out.float() * share[None, :, None, None]
            shares += share
        return estimate, shares

    def close(self) -> None:
        """Nothing is held beyond the models."""


def measured_precision(device: torch.device) -> str:
    """bf16 where this processor multiplies it clearly faster than fp32, else fp32; takes some 10 ms.

    On one thread and in turns, best against best: others that use the machine at the same time must not decide, or
    a restart would go on with a job in another precision.
    """
    import torch

    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    size, rounds = 256, 20
    matrices = {dtype: torch.ones(size, size, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    best = dict.fromkeys(matrices, float("inf"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(rounds):
                for dtype, a in matrices.items():
                    begin = time.perf_counter()
                    torch.mm(a, a)
                    best[dtype] = min(best[dtype], time.perf_counter() - begin)
    finally:
        torch.set_num_threads(threads)
    return "bf16" if best[torch.bfloat16] * 1.3 < best[torch.float32] else "fp32"


def choose_device(wanted: str) -> str:
    """`auto` becomes the first CUDA card, or the CPU; raises SeparationFailedError for a card that is not there."""
    import torch

    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda"):
        index = int(wanted.partition(":")[2] or 0)
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise SeparationFailedError(
                f"--device {wanted}: there is no such CUDA device here; use auto or cpu"
            )
        return f"cuda:{index}"
    return wanted


def torch_device(
    wanted: str,
    make_pool: Callable[[torch.device], ModelPool],
    *,
    precision: str = "auto",
    max_batch: int = 0,
    cpu_threads: int = 0,
) -> TorchDevice:
    """Builds the local device: name, precision and batch size as asked, or as measured."""
    import torch

    device = torch.device(choose_device(wanted))
    if device.type == "cpu":
        torch.set_num_threads(cpu_threads or len(os.sched_getaffinity(0)))
    else:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    chosen = measured_precision(device) if precision == "auto" else precision
    # On the CPU a batch gains nothing, delays the first audio and would let neighbours change a segment's last bits.
    batch = 1 if device.type == "cpu" else max_batch or 8
    return TorchDevice(device, make_pool(device), chosen, batch)
