"""Write weights in the format of demucs' own loader: a safetensors file, and a bag beside it.

The name of the file is the first 8 hex digits of its sha256, so the weights under a name never change.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from training.config import Config, build_model, read_config
from training.weights import BAG_NAME, blended, read_state


def export_weights(config: Config, state: dict[str, torch.Tensor], folder: Path) -> Path:
    """Write `state` as float16 safetensors, and the bag, to `folder`; remove older weights there.

    Returns the path of the safetensors file. Its metadata has the architecture.
    """
    tensors = {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in state.items()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ValueError("a weight is not finite in float16: do not export this state")
    metadata = {
        "klass": config.qualified_class,
        "args": "[]",
        "kwargs": json.dumps(config.model, default=_encode_fraction, sort_keys=True),
        "license": "MIT",
    }
    content = _with_sorted_header(save(tensors, metadata))
    signature = hashlib.sha256(content).hexdigest()[:8]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{signature}.safetensors"
    path.write_bytes(content)
    (folder / f"{BAG_NAME}.yaml").write_text(f"models: ['{signature}']\n", encoding="utf-8")
    for older in folder.glob("*.safetensors"):
        if older != path:
            older.unlink()
    return path


def _with_sorted_header(content: bytes) -> bytes:
    """Sort the header of a safetensors file, so that equal weights get an equal name.

    The format: 8 bytes of header length (little endian), a JSON header that may end in spaces, the tensors.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def _encode_fraction(value: Any) -> dict[str, Any]:
    """Encode a Fraction in JSON as demucs does."""
    if not isinstance(value, Fraction):
        raise TypeError(f"cannot encode {type(value).__name__}")
    return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}


def main() -> None:
    """Command line: export the weights of a best.pt, or fresh ones without a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument(
        "--checkpoint", type=Path, help="best.pt of training.train; without it: untrained weights"
    )
    parser.add_argument(
        "--start", type=Path, help="initial weights of the checkpoint's run, to blend with it"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights and the bag")
    args = parser.parse_args()
    config = read_config(args.config)
    if args.checkpoint:
        state = read_state(args.checkpoint)
        if args.start:
            state = blended(read_state(args.start), state, config.train.blend)
    else:
        torch.manual_seed(config.train.seed)
        state = build_model(config).state_dict()
    path = export_weights(config, state, args.out)
    print(f"{path} {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
