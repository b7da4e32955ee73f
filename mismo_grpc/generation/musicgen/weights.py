"""Finds the weights of a MusicGen model: in local folders, in the hub's cache, or on the hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from mismo_grpc.errors import ModelUnavailableError

DEFAULT_MODEL = "facebook/musicgen-small"
FIELD = "options.generation.generator"

_FETCHED = ("*.json", "*.safetensors", "spiece.model")
_HUB_SECONDS = 10.0


@dataclass(frozen=True)
class MusicgenWeights:
    """Where the weights of a model are: below `folders`, else in the hub's cache, else (with `hub`) on the hub.

    `model` is its name on the hub, "owner/name"; a local copy is a folder "name" or "owner--name" in one of `folders`.
    `endpoint` is the address of another hub.
    """

    model: str = DEFAULT_MODEL
    folders: Sequence[Path] = ()
    hub: bool = False
    endpoint: str | None = None

    def find(self) -> Path | None:
        """The folder with all files of the model, None if there is none; does not ask the hub."""
        names = (self.model.rpartition("/")[2], self.model.replace("/", "--"))
        for path in (folder / name for folder in self.folders for name in names):
            if is_complete(path):
                return path
        cached = self._cached()
        return cached if cached is not None and is_complete(cached) else None

    def unavailable_reason(self) -> str:
        """Why the model cannot be loaded, and what to do about it; "" if it can, or if the hub may be asked."""
        if package_version("transformers") is None:
            return (
                "the generator musicgen needs the package transformers: install it with "
                "`pip install mismo-grpc[generation]`, or use the generator synthetic"
            )
        return "" if self.hub or self.find() is not None else self._missing()

    def fetch(self) -> Path:
        """The folder of the model, which is fetched from the hub if it is missing and `hub` allows it.

        A fetch takes as long as its network does; it cannot be stopped.
        Raises ModelUnavailableError, which says how to install the weights.
        """
        if reason := self.unavailable_reason():
            raise ModelUnavailableError(reason, field=FIELD)
        found = self.find()
        if found is not None:
            return found
        import huggingface_hub

        try:
            folder = Path(
                huggingface_hub.snapshot_download(
                    self.model,
                    allow_patterns=list(_FETCHED),
                    etag_timeout=_HUB_SECONDS,
                    endpoint=self.endpoint,
                )
            )
        except Exception as error:  # of the network, of the hub and of the disk, in many classes
            raise ModelUnavailableError(
                f"{self._missing()} (the hub does not give them: {type(error).__name__})", field=FIELD
            ) from error
        if not is_complete(folder):
            raise ModelUnavailableError(f"{self._missing()} (the hub's copy is incomplete)", field=FIELD)
        return folder

    def fingerprint(self) -> str:
        """Differs between two sets of weight files of the same name; "missing" if there are none."""
        folder = self.find()
        if folder is None:
            return "missing"
        seen = [
            (path.name, stat.st_size, stat.st_mtime_ns)
            for path in sorted(folder.iterdir())
            if path.suffix in (".safetensors", ".bin")
            or path.name in ("config.json", "generation_config.json")
            for stat in (path.stat(),)
        ]
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]

    def _cached(self) -> Path | None:
        try:
            import huggingface_hub
        except ImportError:
            return None
        try:
            config = huggingface_hub.try_to_load_from_cache(self.model, "config.json")
        except ValueError:  # no name that the hub could have
            return None
        return Path(config).parent if isinstance(config, str) else None

    def _missing(self) -> str:
        name = self.model.rpartition("/")[2]
        return (
            f"the weights of {self.model} are not on this server: put them into a folder {name} in one of the model "
            f"folders (`hf download {self.model} --local-dir MODEL_FOLDER/{name}`), or use the generator synthetic. "
            "MusicGen's weights are licensed CC BY-NC 4.0: they are not for commercial use"
        )


def is_complete(folder: Path) -> bool:
    """Whether a folder has configuration, tokenizer and all weights of a model."""
    if not (folder / "config.json").is_file():
        return False
    if not any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model")):
        return False
    if any((folder / name).is_file() for name in ("model.safetensors", "pytorch_model.bin")):
        return True
    index = folder / "model.safetensors.index.json"
    try:
        shards = cast("dict[str, Any]", json.loads(index.read_text(encoding="utf-8")))["weight_map"]
    except (OSError, ValueError, KeyError):
        return False
    return all((folder / name).is_file() for name in set(shards.values()))


def package_version(name: str) -> str | None:
    """The version of an installed package, None if it is not installed; does not import it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
