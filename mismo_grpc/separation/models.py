"""Loads Demucs bags and keeps them warm within a memory budget."""

from __future__ import annotations

import errno
import gc
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

import structlog

from mismo_grpc.errors import MismoError, ModelLoadError, ModelUnavailableError, OutOfMemoryError
from mismo_grpc.separation.catalog import ModelCatalog, ModelFiles, fingerprint, unavailable_reason

if TYPE_CHECKING:
    import torch

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Member:
    """One network of a bag: [batch, channels, frames] -> [batch, sources, channels, frames].

    `valid_frames` returns how many input frames it needs for a segment of a given length (demucs pads to that).
    `weights` has its weight for each source; a source's sum over members is divided by the sum of weights.
    """

    network: torch.nn.Module
    segment_frames: int
    valid_frames: Callable[[int], int]
    weights: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Bag:
    """A loaded model; compared by identity, so that only segments of the same loaded bag share a batch."""

    name: str
    sources: tuple[str, ...]
    sample_rate: int
    channels: int
    members: tuple[Member, ...]
    memory_bytes: int
    fingerprint: str
    """Fingerprint of the weight files that were loaded."""

    @property
    def totals(self) -> tuple[float, ...]:
        """The sum of the members' weights for each source."""
        return tuple(sum(column) for column in zip(*(m.weights for m in self.members), strict=True))

    def needed_members(self, sources: Sequence[int]) -> tuple[int, ...]:
        """Returns the indexes of the members that contribute to any of these sources."""
        return tuple(i for i, m in enumerate(self.members) if any(m.weights[s] != 0 for s in sources))


def load_bag(files: ModelFiles, device: torch.device) -> Bag:
    """Loads a bag onto a device; raises ModelLoadError, which says what is wrong with its files."""
    loaded = fingerprint(files)
    networks = [_load_network(path) for path in files.members]
    first = cast("Any", networks[0])
    sources = tuple(cast("Sequence[str]", first.sources))
    weights = files.weights or tuple((1.0,) * len(sources) for _ in networks)
    if len(weights) != len(networks) or any(len(row) != len(sources) for row in weights):
        raise ModelLoadError(f"model {files.name}: the bag's weights do not fit its {len(networks)} models")
    members: list[Member] = []
    size = 0
    for network, row in zip(networks, weights, strict=True):
        other = cast("Any", network)
        if tuple(other.sources) != sources or other.samplerate != first.samplerate:
            raise ModelLoadError(f"model {files.name}: the bag's models differ in sources or sample rate")
        if files.segment_seconds is not None and (
            not _is_htdemucs(network) or files.segment_seconds <= other.segment
        ):
            other.segment = files.segment_seconds
        network.to(device).eval()
        size += sum(p.numel() * p.element_size() for p in network.parameters())
        members.append(
            Member(network, int(other.samplerate * other.segment), _valid_frames(network), tuple(row))
        )
    return Bag(
        files.name, sources, int(first.samplerate), int(first.audio_channels), tuple(members), size, loaded
    )


def _is_htdemucs(network: object) -> bool:
    from demucs.htdemucs import HTDemucs

    return isinstance(network, HTDemucs)


def _valid_frames(network: torch.nn.Module) -> Callable[[int], int]:
    valid = cast("Callable[[int], int] | None", getattr(network, "valid_length", None))
    if valid is not None:
        return valid
    # HDemucs takes any length above half a window, because its spectrogram reflects that much at both ends.
    least = int(getattr(network, "nfft", 0)) // 2 + 1
    return lambda length: max(length, least)


def _load_network(path: Path) -> torch.nn.Module:
    from demucs import hf, states

    from_safetensors = cast("Callable[[Path], torch.nn.Module]", hf.load_safetensors_model)
    from_pickle = cast("Callable[[Path], torch.nn.Module]", states.load_model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return from_safetensors(path) if path.suffix == ".safetensors" else from_pickle(path)
    except SystemExit as error:  # demucs ends the process when diffq, which quantized bags need, is missing
        raise ModelLoadError(
            f"{path.name} is quantized and needs the package diffq: install it, or use another model"
        ) from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ModelLoadError(
            f"{path.name} cannot be loaded as a Demucs model: {type(error).__name__}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that the machine's or the card's memory ran out."""
    import torch

    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        # torch has no error class of its own for the machine's memory.
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


class ModelPool:
    """The loaded bags of one device; over the budget (bytes) it unloads the least recently used. Thread-safe."""

    def __init__(
        self, catalog: ModelCatalog, device: torch.device, budget_bytes: int, *, keep_warm: bool = True
    ) -> None:
        self._catalog = catalog
        self._device = device
        self._budget = budget_bytes
        self._keep_warm = keep_warm
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._bags: OrderedDict[str, Bag] = OrderedDict()
        # Also bags that the pool has unloaded but a job still uses: loading a second copy would double the memory.
        self._alive: WeakValueDictionary[str, Bag] = WeakValueDictionary()
        self._failures: dict[str, str] = {}

    def get(self, name: str) -> Bag:
        """Returns a bag, loading it if necessary; raises ModelUnavailableError, ModelLoadError or OutOfMemoryError.

        A caller whose bag is loaded does not wait while another bag is being loaded.
        """
        with self._lock:
            loading = self._loading.setdefault(name, threading.Lock())
            bag = self._used(name)
        if bag is not None:
            return bag
        with loading:
            with self._lock:
                bag = self._used(name)
            if bag is not None:
                return bag
            try:
                bag = self._load(name)
            except (ModelLoadError, OutOfMemoryError) as error:
                with self._lock:
                    self._failures[name] = error.message
                raise
            with self._lock:
                self._failures.pop(name, None)
                self._store(bag)
            return bag

    def _load(self, name: str) -> Bag:
        """Loads a bag; if memory runs out, unloads idle bags and tries once more."""
        try:
            files = self._catalog.find(name)
            if files is None:
                raise ModelUnavailableError(unavailable_reason(name), field="options.stems.model")
            try:
                return load_bag(files, self._device)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                log.warning(
                    "no memory to load a model; idle models are unloaded", model=name, warm=self.warm()
                )
            # After the handler has ended, because its traceback references what was loaded so far.
            self.free()
            return load_bag(files, self._device)
        except MismoError:
            raise
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(
                    f"there is not enough memory to load model {name}; try again later, or use a smaller model",
                    metadata={"model": name},
                ) from error
            raise ModelLoadError(f"model {name} cannot be loaded: {type(error).__name__}") from error

    def free(self) -> None:
        """Unloads the bags that no job uses, and frees their memory."""
        import torch

        with self._lock:
            self._bags.clear()
        gc.collect()
        with self._lock:
            self._bags.update(self._alive)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _used(self, name: str) -> Bag | None:
        bag = self._alive.get(name)
        if bag is not None:
            self._store(bag)
        return bag

    def _store(self, bag: Bag) -> None:
        if not self._keep_warm:
            self._bags.clear()
        self._bags[bag.name] = self._alive[bag.name] = bag
        self._bags.move_to_end(bag.name)
        # A bag that a job still uses stays in memory through that job's reference; only the pool drops it.
        while len(self._bags) > 1 and sum(b.memory_bytes for b in self._bags.values()) > self._budget:
            self._bags.popitem(last=False)

    def warm(self) -> list[str]:
        """Names of the bags in memory, the most recently used last."""
        with self._lock:
            return list(self._bags)

    def failures(self) -> dict[str, str]:
        """Returns the models whose last load failed, each with the reason."""
        with self._lock:
            return dict(self._failures)
