"""Finds the files of essentia's models in local folders; nothing is ever downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mismo_grpc.errors import ModelUnavailableError

SOURCE = "https://essentia.upf.edu/models.html"
LICENCE = "CC BY-NC-SA 4.0 (not for commercial use)"
EMBEDDING = "discogs-effnet-bs64-1"
"""Alonso-Jiménez, Serra and Bogdanov (2022): an EfficientNet trained on the metadata of Discogs."""


@dataclass(frozen=True)
class ModelFile:
    """A frozen TensorFlow graph; `modified` (ns) and `size` are those of the file when it was found."""

    path: Path
    modified: int
    size: int


@dataclass(frozen=True)
class Head:
    """A classifier on embeddings: the names of its input and output nodes, and its classes in their order."""

    name: str
    graph: ModelFile
    input: str
    output: str
    classes: tuple[str, ...]


def find_graph(name: str, folders: Sequence[Path]) -> ModelFile | None:
    """The file `name`.pb in the first folder that has it; None if no folder has it."""
    path = _find(f"{name}.pb", folders)
    if path is None:
        return None
    status = path.stat()
    return ModelFile(path, status.st_mtime_ns, status.st_size)


def find_head(name: str, folders: Sequence[Path]) -> Head | None:
    """The classifier of `name`.pb and `name`.json; None if one of the files is missing.

    Raises ModelUnavailableError if the JSON file is not one of essentia's descriptions of a classifier.
    """
    graph, description = find_graph(name, folders), _find(f"{name}.json", folders)
    if graph is None or description is None:
        return None
    try:
        return _head(name, graph, json.loads(description.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ModelUnavailableError(
            f"the model file {name}.json is damaged; get it again from {SOURCE}"
        ) from error


def missing_files(names: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Those of the file names that no folder has."""
    return [name for name in names if _find(name, folders) is None]


def _find(name: str, folders: Sequence[Path]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _head(name: str, graph: ModelFile, description: Mapping[str, object]) -> Head:
    """Reads a description: `classes`, and of `schema` the input and the output whose purpose is predictions."""
    classes = tuple(str(label) for label in cast(Sequence[object], description["classes"]))
    schema = cast(Mapping[str, Sequence[Mapping[str, object]]], description["schema"])
    outputs = schema["outputs"]
    predictions = next((o for o in outputs if o.get("output_purpose") == "predictions"), outputs[0])
    if not classes:
        raise ValueError("no classes")
    return Head(name, graph, str(schema["inputs"][0]["name"]), str(predictions["name"]), classes)
