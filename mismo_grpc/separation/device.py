"""Devices, which run batches of segments through a loaded model."""

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
    """The device failed, not the model on this input; its segments are computed later, there or on another device."""


@dataclass(frozen=True, eq=False)
class SegmentInput:
    """The input of one segment.

    The network's input has `valid_frames` frames: `mix` [frames, channels] is the part inside the track and begins at
    frame `before` of the input; the rest is silence. `mean` and `std` are statistics of the whole track. The segment's
    output is `length` frames of the network's output, from frame `trim` on.
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
    """Which members of a bag run, scaled by `scale`, and how sources become stems: `matrix` is [stems, sources]."""

    bag: Bag
    members: tuple[int, ...]
    matrix: Samples
    scale: float = 1.0


@dataclass(frozen=True)
class DeviceInfo:
    """A device as clients see it; memory in bytes, 0 if unknown."""

    name: str
    description: str
    precision: str
    max_batch: int
    memory_total: int = 0
    memory_used: int = 0


class Device(Protocol):
    """Computes segments."""

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
        """Returns the stems of each segment, [stems, length, channels] float32; called from one thread.

        Raises DeviceLostError if the device failed and not the model.
        """
        ...

    def close(self) -> None:
        """Frees the device's resources."""
        ...


class TorchDevice:
    """The local CPU or one CUDA card."""

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
            with suppress(torch.AcceleratorError):  # The device is lost; its memory is unknown.
                free, total = torch.cuda.mem_get_info(self._device)
            return DeviceInfo(self.name, description, self._precision, self.max_batch, total, total - free)
        threads = torch.get_num_threads()
        description = "1 thread" if threads == 1 else f"{threads} threads"
        return DeviceInfo(self.name, description, self._precision, self.max_batch)

    def run(self, inference: InferenceSpec, segments: Sequence[SegmentInput]) -> list[Samples]:
        """See Device; raises SeparationFailedError if output samples are not finite."""
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
        """Builds the normalised input [batch, channels, frames]; zero outside the track, as demucs pads it."""
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
        """Returns the members' weighted sum [batch, sources, channels, frames], and each source's sum of weights."""
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
        """See Device; there is nothing to free but the models, which the pool owns."""


def measured_precision(device: torch.device) -> str:
    """Returns "bf16" if this CPU multiplies bf16 clearly faster than fp32, else "fp32"; takes about 10 ms.

    It alternates both on one thread and compares the best times, so that other load does not change the result:
    otherwise a restart could continue a job in another precision.
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
    """Resolves `auto` to the first CUDA card or the CPU; raises SeparationFailedError for a missing card."""
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
    """Builds the local device; `auto` precision is measured, and `max_batch` 0 chooses a default."""
    import torch

    device = torch.device(choose_device(wanted))
    if device.type == "cpu":
        torch.set_num_threads(cpu_threads or len(os.sched_getaffinity(0)))
    else:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    chosen = measured_precision(device) if precision == "auto" else precision
    # On the CPU batches are not faster, delay the first audio, and change a segment's last bits with its batch.
    batch = 1 if device.type == "cpu" else max_batch or 8
    return TorchDevice(device, make_pool(device), chosen, batch)
