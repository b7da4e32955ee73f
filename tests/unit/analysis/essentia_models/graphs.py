"""Writes small frozen TensorFlow graphs with the interface of essentia's models, so that the real predictors run them.

A graph is a GraphDef message: https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/framework
(graph.proto, node_def.proto, attr_value.proto, tensor.proto, types.proto).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

DT_FLOAT, DT_INT32 = 1, 3
VERSION = 440
"""The version of graphs that TensorFlow 2.5 writes."""
BANDS, EMBEDDING = 96, 8
"""Mel bands of a frame; the real embedding has 1280 values, any number works."""


def embedding_graph(path: Path, seed: int = 0) -> npt.NDArray[np.float32]:
    """A model like discogs-effnet-bs64-1: the embedding is the mean of a patch's frames times the returned matrix."""
    matrix = np.random.default_rng(seed).standard_normal((BANDS, EMBEDDING)).astype(np.float32)
    source = "serving_default_melspectrogram"
    path.write_bytes(
        _node("axis", "Const", dtype=_type(DT_INT32), value=_tensor(np.array(1, np.int32)))
        + _node(source, "Placeholder", dtype=_type(DT_FLOAT), shape=_field(7, _shape((64, 128, BANDS))))
        + _node("mean", "Mean", source, "axis", T=_type(DT_FLOAT), Tidx=_type(DT_INT32))
        + _node("matrix", "Const", dtype=_type(DT_FLOAT), value=_tensor(matrix))
        + _node("product", "MatMul", "mean", "matrix", T=_type(DT_FLOAT))
        + _node("PartitionedCall", "IdentityN", "mean", "product", T=_types(DT_FLOAT, DT_FLOAT))
        + _field(4, _number(1, VERSION))
    )
    return matrix


def head_graph(
    folder: Path,
    name: str,
    classes: Sequence[str],
    offsets: Sequence[float],
    *,
    operation: str = "Sigmoid",
    source: str = "serving_default_model_Placeholder",
    output: str = "PartitionedCall",
) -> None:
    """A classifier `name`.pb with its description: it answers operation(offsets) for any embedding.

    The embedding has a weight of 0, so that the answer is known.
    """
    weights = np.zeros((EMBEDDING, len(offsets)), np.float32)
    bias = np.array(offsets, np.float32)
    (folder / f"{name}.pb").write_bytes(
        _node(source, "Placeholder", dtype=_type(DT_FLOAT), shape=_field(7, _shape((-1, EMBEDDING))))
        + _node("weights", "Const", dtype=_type(DT_FLOAT), value=_tensor(weights))
        + _node("bias", "Const", dtype=_type(DT_FLOAT), value=_tensor(bias))
        + _node("product", "MatMul", source, "weights", T=_type(DT_FLOAT))
        + _node("sum", "BiasAdd", "product", "bias", T=_type(DT_FLOAT))
        + _node(output, operation, "sum", T=_type(DT_FLOAT))
        + _field(4, _number(1, VERSION))
    )
    description = {
        "name": name,
        "classes": list(classes),
        "schema": {
            "inputs": [{"name": source, "type": "float", "shape": ["batch_size", EMBEDDING]}],
            "outputs": [
                {"name": "sum", "output_purpose": "logits"},
                {"name": output, "output_purpose": "predictions"},
            ],
        },
    }
    (folder / f"{name}.json").write_text(json.dumps(description))


def _node(name: str, operation: str, *inputs: str, **attributes: bytes) -> bytes:
    body = _field(1, name.encode()) + _field(2, operation.encode())
    body += b"".join(_field(3, source.encode()) for source in inputs)
    for key, value in attributes.items():
        body += _field(5, _field(1, key.encode()) + _field(2, value))
    return _field(1, body)


def _type(data_type: int) -> bytes:
    return _number(6, data_type)


def _types(*data_types: int) -> bytes:
    return _field(1, _field(6, b"".join(map(_varint, data_types))))


def _shape(sizes: Sequence[int]) -> bytes:
    return b"".join(_field(2, _number(1, size)) for size in sizes)


def _tensor(values: npt.NDArray[np.float32] | npt.NDArray[np.int32]) -> bytes:
    data_type = DT_FLOAT if values.dtype == np.float32 else DT_INT32
    return _field(8, _number(1, data_type) + _field(2, _shape(values.shape)) + _field(4, values.tobytes()))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    digits: list[int] = []
    while value >= 128:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
