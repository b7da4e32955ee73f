"""Separates a track with demucs itself: `python -m benchmarks.reference REPOSITORY MODEL TRACK.wav TARGET.npz`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demucs import apply
from demucs.pretrained import get_model

from mismo_grpc.audio.decode import decode_to_file, open_mix


def main(repository: str, model_name: str, track: str, target: str) -> None:
    """Writes each stem, [frames, channels] float32, as demucs.api.Separator computes it, except for shifts=0.

    The track's mean and deviation are those of the server's decoder (float64; demucs uses float32), so that both sides
    run `apply_model` on the same input.
    """
    demucs_apply: Any = apply
    model: Any = get_model(model_name, Path(repository)).eval()
    with tempfile.TemporaryDirectory() as folder:
        decoded = decode_to_file(Path(track), Path(folder, "mix.f32"), model.samplerate)
        mix = torch.from_numpy(np.array(open_mix(decoded)).T)
    mean, std = torch.tensor(decoded.mean), torch.tensor(decoded.std + 1e-8)  # float32, as on the server
    with torch.inference_mode():
        stems = demucs_apply.apply_model(model, ((mix - mean) / std)[None], shifts=0, overlap=0.25)[0]
        stems = stems * std + mean
    arrays = {str(name): stem.T.numpy() for name, stem in zip(model.sources, stems, strict=True)}
    np.savez(target, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
