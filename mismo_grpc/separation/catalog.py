"""Lists the models, finds their weights and describes what they separate; loads nothing.

It searches for weights in the operator's folders, in the package, in the model hub's cache and in torch's cache, in
this order. Only `download` uses the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import yaml

from mismo_grpc.errors import ModelLoadError, ModelUnavailableError

EMBEDDED_MODEL = "mismo_lite"
EMBEDDED_DIR = Path(__file__).parent / "weights"
FOUR_STEMS = ("drums", "bass", "other", "vocals")
SIX_STEMS = (*FOUR_STEMS, "guitar", "piano")
MAX_SAFETENSORS_HEADER = 100 << 20


@dataclass(frozen=True)
class OfficialBag:
    """The properties of a published Demucs bag that are known before its weights are present."""

    sources: tuple[str, ...]
    segment_seconds: Fraction
    quantized: bool = False


# Sources and segments as in demucs 4.1.0's remote/*.yaml and the models' own arguments.
OFFICIAL: Mapping[str, OfficialBag] = {
    "htdemucs": OfficialBag(FOUR_STEMS, Fraction(39, 5)),
    "htdemucs_ft": OfficialBag(FOUR_STEMS, Fraction(39, 5)),
    "htdemucs_6s": OfficialBag(SIX_STEMS, Fraction(39, 5)),
    "hdemucs_mmi": OfficialBag(FOUR_STEMS, Fraction(44)),
    "mdx": OfficialBag(FOUR_STEMS, Fraction(44)),
    "mdx_extra": OfficialBag(FOUR_STEMS, Fraction(44)),
    "mdx_q": OfficialBag(FOUR_STEMS, Fraction(44), quantized=True),
    "mdx_extra_q": OfficialBag(FOUR_STEMS, Fraction(44), quantized=True),
}


class ModelState(Enum):
    """Whether a model can be used."""

    WARM = "warm"
    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class ModelFiles:
    """A bag on disk: its members' weight files in order, `weights` [members][sources], `segment` in seconds."""

    name: str
    members: tuple[Path, ...]
    weights: tuple[tuple[float, ...], ...] | None = None
    segment_seconds: Fraction | None = None


@dataclass(frozen=True)
class ModelDescription:
    """A model as clients see it; `segment_frames` is the length of its longest member's segment, 0 while unknown.

    `fingerprint` differs between two sets of weight files under the same name.
    """

    name: str
    sources: tuple[str, ...]
    sample_rate: int
    segment_frames: int
    state: ModelState
    reason: str = ""
    fingerprint: str = ""


class ModelCatalog:
    """Finds models by name."""

    def __init__(self, model_dirs: Sequence[Path], *, embedded_dir: Path = EMBEDDED_DIR) -> None:
        self._dirs = (*model_dirs, embedded_dir)

    def names(self) -> list[str]:
        """Returns the names of all present or officially known models, the embedded one last."""
        found = {path.stem for folder in self._folders() for path in folder.glob("*.yaml")}
        return [*sorted({*found, *OFFICIAL} - {EMBEDDED_MODEL}), EMBEDDED_MODEL]

    def find(self, name: str) -> ModelFiles | None:
        """Returns the files of a model; None if any is missing. Raises ModelLoadError for an invalid definition."""
        if not is_model_name(name):
            return None
        for folder in self._folders():
            files = _bag_in(folder, name)
            if files is not None:
                return files
        return _bag_in_hub_cache(name) or _bag_in_torch_cache(name)

    def describe(self, name: str) -> ModelDescription:
        """Describes a model; raises ModelUnavailableError for an unknown name."""
        official = OFFICIAL.get(name)
        published = (
            (official.sources, 44100, int(official.segment_seconds * 44100)) if official else ((), 44100, 0)
        )
        try:
            files = self.find(name)
            if files is not None:
                shape = _describe_files(files) or published
                mark = fingerprint(files)
                return ModelDescription(name, *shape, ModelState.AVAILABLE, fingerprint=mark)
        except ModelLoadError as error:
            return ModelDescription(name, *published, ModelState.UNAVAILABLE, error.message)
        names = self.names()
        if name not in names:
            raise ModelUnavailableError(
                f"options.stems.model: there is no model {name[:64]!r}; known models: {', '.join(names)}",
                field="options.stems.model",
            )
        return ModelDescription(name, *published, ModelState.UNAVAILABLE, unavailable_reason(name))

    def _folders(self) -> Iterable[Path]:
        for folder in self._dirs:
            if folder.is_dir():
                yield folder
                yield from sorted(child for child in folder.iterdir() if child.is_dir())


def is_model_name(name: str) -> bool:
    """Whether a name is safe as part of a file name; other names from clients never become paths."""
    return 0 < len(name) <= 64 and all(c.isalnum() or c in "_-." for c in name) and not name.startswith(".")


def unavailable_reason(name: str) -> str:
    """Explains why an official model cannot be used, and what the operator can do."""
    return (
        f"the weights of {name} are not on this server: put {name}.yaml and its .th or .safetensors files into a "
        "folder of MISMO_MODEL_DIRS, or let the server reach the model hub (MISMO_HUB=true) and restart it"
    )


@contextmanager
def _broken_as_load_error(path: Path) -> Generator[None]:
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        struct.error,
        yaml.YAMLError,
    ) as error:
        raise ModelLoadError(
            f"{path.name} is not a valid Demucs file ({type(error).__name__}); repair or remove it"
        ) from error


def _read_bag(path: Path) -> tuple[list[str], tuple[tuple[float, ...], ...] | None, Fraction | None]:
    with _broken_as_load_error(path):
        bag = cast("dict[str, Any]", yaml.safe_load(path.read_text()))
        signatures = [str(s) for s in bag["models"]]
        weights = bag.get("weights")
        segment = bag.get("segment")
        return (
            signatures,
            tuple(tuple(float(w) for w in row) for row in weights) if weights else None,
            Fraction(segment) if segment else None,
        )


def _bag_in(folder: Path, name: str) -> ModelFiles | None:
    """Finds a bag, or a single model whose file has that name, in a folder."""
    definition = folder / f"{name}.yaml"
    if not definition.is_file():
        single = _member_in(folder, name)
        return ModelFiles(name, (single,)) if single else None
    signatures, weights, segment = _read_bag(definition)
    members = [_member_in(folder, signature) for signature in signatures]
    if any(member is None for member in members):
        return None
    return ModelFiles(name, tuple(m for m in members if m is not None), weights, segment)


def _member_in(folder: Path, signature: str) -> Path | None:
    plain = folder / f"{signature}.safetensors"
    if plain.is_file():
        return plain
    # demucs names its files SIGNATURE.th or SIGNATURE-CHECKSUM.th
    for path in sorted(folder.glob("*.th")):
        if path.stem == signature or path.stem.rsplit("-", 1)[0] == signature:
            return path
    return None


def _remote_bag(name: str) -> Path | None:
    """Finds demucs' own definition of an official bag without importing demucs (which imports torch)."""
    import importlib.util

    spec = importlib.util.find_spec("demucs")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "remote" / f"{name}.yaml"
    return path if path.is_file() else None


def hub_repository(name: str) -> str:
    """Returns the hub repository of an official model, named as demucs names it."""
    if name == "htdemucs":
        return "adefossez/HTDemucs"
    if name.startswith("htdemucs_"):
        return f"adefossez/HTDemucs-{name.removeprefix('htdemucs_')}"
    return f"adefossez/Demucs-{name}"


def _cached(repository: str, filename: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, filename)
    return Path(path) if isinstance(path, str) else None


def _bag_in_hub_cache(name: str) -> ModelFiles | None:
    if name not in OFFICIAL or not _hub_cache_folder().is_dir():
        return None
    repository = hub_repository(name)
    definition = _cached(repository, f"{name}.yaml")
    if definition is None:
        return None
    signatures, weights, segment = _read_bag(definition)
    members = [_cached(repository, f"{signature}.safetensors") for signature in signatures]
    if any(member is None for member in members):
        return None
    return ModelFiles(name, tuple(m for m in members if m is not None), weights, segment)


def _hub_cache_folder() -> Path:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub"))


def _bag_in_torch_cache(name: str) -> ModelFiles | None:
    home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    folder = Path(home).expanduser() / "hub" / "checkpoints"
    definition = _remote_bag(name)
    if definition is None or not folder.is_dir():
        return None
    signatures, weights, segment = _read_bag(definition)
    members = [_member_in(folder, signature) for signature in signatures]
    if any(member is None for member in members):
        return None
    return ModelFiles(name, tuple(m for m in members if m is not None), weights, segment)


def fingerprint(files: ModelFiles) -> str:
    """Returns a text that differs between two sets of weight files under the same name. Raises OSError."""
    seen = [(path.name, stat.st_size, stat.st_mtime_ns) for path in files.members for stat in (path.stat(),)]
    return hashlib.sha256(repr((seen, files.weights, files.segment_seconds)).encode()).hexdigest()[:16]


def _describe_files(files: ModelFiles) -> tuple[tuple[str, ...], int, int] | None:
    """Reads (sources, sample rate in Hz, segment frames) from the safetensors headers; None for pickled members."""
    longest = 0
    sources: tuple[str, ...] = ()
    rate = 44100
    for path in files.members:
        if path.suffix != ".safetensors":
            return None
        with _broken_as_load_error(path):
            metadata = _safetensors_metadata(path)
            kwargs = cast("dict[str, Any]", json.loads(metadata["kwargs"]))
            args = cast("list[Any]", json.loads(metadata["args"]))
            sources = tuple(cast("list[str]", kwargs["sources"] if "sources" in kwargs else args[0]))
            rate = int(kwargs.get("samplerate", 44100))
            own = _fraction(kwargs.get("segment", 10))
            longest = max(longest, int((files.segment_seconds or own) * rate))
    return sources, rate, longest


def _fraction(value: Any) -> Fraction:
    if isinstance(value, dict):
        parts = cast("dict[str, int]", value)
        return Fraction(parts["numerator"], parts["denominator"])
    return Fraction(str(value))


def _safetensors_metadata(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > MAX_SAFETENSORS_HEADER:
            raise ValueError("the header is too large")
        header = cast("dict[str, Any]", json.loads(file.read(size)))
    return cast("dict[str, str]", header["__metadata__"])


def download(name: str, report: Callable[[str], None]) -> bool:
    """Fetches an official model from the hub into its cache; on failure calls `report` and returns False.

    Blocks, for long if the hub cannot be reached; called in the background only.
    """
    import huggingface_hub

    fetch = cast("Callable[..., str]", huggingface_hub.hf_hub_download)
    repository = hub_repository(name)
    try:
        definition = Path(fetch(repository, f"{name}.yaml", etag_timeout=5))
        for signature in _read_bag(definition)[0]:
            fetch(repository, f"{signature}.safetensors", etag_timeout=5)
    except Exception as error:  # whatever the hub's client raises, the model is unavailable
        report(f"{name} could not be fetched from the hub: {type(error).__name__}")
        return False
    return True
