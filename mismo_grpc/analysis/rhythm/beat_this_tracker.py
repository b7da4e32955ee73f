"""The beat tracker beat_this, if its package is installed and a checkpoint of its weights is on this machine.

F. Foscarin, J. Schlüter and G. Widmer, "Beat this! Accurate beat tracking without DBN postprocessing", ISMIR 2024.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mismo_grpc.analysis.arrays import Audio, Features, Samples, Values
from mismo_grpc.analysis.audio_source import downmix
from mismo_grpc.analysis.rhythm.beat_this_import import import_beat_this
from mismo_grpc.analysis.rhythm.tracked import NOTHING, Tracked

CHECKPOINT_NAMES = ("beat_this-final0.ckpt", "final0.ckpt", "beat_this*.ckpt")
"""In order of preference: as torch hub stores the default checkpoint, as its authors name it, any other."""
PACKAGES = ("beat_this", "torch", "torchaudio", "soxr")

RATE = 22_050
HOP = 441
FRAMES_PER_SECOND = 50
"""The rates of beat_this' input, its spectrogram and its output."""
CONTEXT_FRAMES = 4
"""Spectrogram frames at each side of a block whose windows (1024 samples) are not complete there."""
CHUNK_FRAMES, BORDER_FRAMES = 1500, 6
"""The model sees 30 s at once, as in its own inference; predictions at the borders are not used."""
BLOCK_SECONDS = 30


class CheckpointError(Exception):
    """The packages or the checkpoint cannot be loaded."""


def is_installed() -> bool:
    """Whether the packages can be found; nothing is imported."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


def find_checkpoint(model_folders: tuple[Path, ...]) -> Path | None:
    """The first checkpoint in the folders or the cache of torch hub; None if there is none."""
    for folder in (*model_folders, hub_folder()):
        for name in CHECKPOINT_NAMES:
            files = sorted(path for path in folder.glob(name) if path.is_file())
            if files:
                return files[0]
    return None


def track(audio: Audio, sample_rate: int, checkpoint: Path) -> Tracked:
    """Finds beats and bars in audio [frames, channels] or [frames], on a GPU if there is one.

    Takes 26 kB of memory for each second of audio, beside the model and a block.

    Raises CheckpointError if the packages cannot be imported or the file is no checkpoint of beat_this.
    """
    try:
        torch: Any = importlib.import_module("torch")
        inference = import_beat_this("beat_this.inference")
        model = _load(checkpoint, checkpoint.stat().st_mtime_ns)
    except Exception as error:
        # What torch and pickle raise for a damaged file is not documented.
        raise CheckpointError(f"{checkpoint.name}: {error}") from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.inference_mode():
        spectrogram = _spectrogram(audio, sample_rate, device)
        logits = inference.split_predict_aggregate(
            spect=spectrogram,
            chunk_size=CHUNK_FRAMES,
            border_size=BORDER_FRAMES,
            overlap_mode="keep_first",
            model=model.to(device),
        )
        beat, downbeat = (logits[name].float().cpu() for name in ("beat", "downbeat"))
        beats, downbeats = import_beat_this("beat_this.model.postprocessor").Postprocessor()(beat, downbeat)
        certainty = torch.sigmoid(torch.stack([beat, downbeat])).numpy()
    return _tracked(np.asarray(beats, np.float64), np.asarray(downbeats, np.float64), certainty)


def hub_folder() -> Path:
    """Where torch hub keeps checkpoints (as `torch.hub.get_dir`), found without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or os.path.join(cache, "torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


@lru_cache(maxsize=1)
def _load(checkpoint: Path, modified: int) -> Any:
    """The model of a checkpoint; `modified` is its time, so that a new file is loaded anew.

    Only tensors and plain values are unpickled. A checkpoint holds the parameters of the constructor among
    "hyper_parameters", and its weights with the prefix of Lightning's module.
    """
    torch: Any = importlib.import_module("torch")
    module = import_beat_this("beat_this.model.beat_tracker")
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    known = inspect.signature(module.BeatThis).parameters
    model = module.BeatThis(**{k: v for k, v in content["hyper_parameters"].items() if k in known})
    model.load_state_dict(
        {name.removeprefix("model."): value for name, value in content["state_dict"].items()}
    )
    return model.eval()


def _spectrogram(audio: Audio, sample_rate: int, device: str) -> Any:
    """The spectrogram that beat_this takes, [frames, bands]; made by blocks, so that the whole is never complex."""
    torch: Any = importlib.import_module("torch")
    transform = import_beat_this("beat_this.preprocessing").LogMelSpect(device=device)
    parts: list[Any] = []
    pending = np.zeros(0, np.float32)
    lead = 0
    for block in _resampled(audio, sample_rate):
        pending = np.concatenate([pending, block])
        count = len(pending) // HOP - CONTEXT_FRAMES
        if count <= lead + CONTEXT_FRAMES:
            continue
        parts.append(transform(torch.from_numpy(pending).to(device))[lead:count])
        pending = pending[(count - CONTEXT_FRAMES) * HOP :]
        lead = CONTEXT_FRAMES
    # Short audio is lengthened, because windows at the ends are mirrored.
    pending = np.pad(pending, (0, max(0, 2 * HOP * CONTEXT_FRAMES - len(pending))))
    parts.append(transform(torch.from_numpy(pending).to(device))[lead:])
    return torch.cat(parts)


def _resampled(audio: Audio, sample_rate: int) -> Iterator[Samples]:
    """The mono mix at RATE, block by block; NaN and infinite samples count as 0."""
    soxr: Any = importlib.import_module("soxr")
    stream = soxr.ResampleStream(sample_rate, RATE, 1, dtype="float32")
    step = BLOCK_SECONDS * sample_rate
    for begin in range(0, len(audio), step):
        mono = downmix(audio[begin : begin + step])
        yield np.asarray(stream.resample_chunk(mono, last=begin + step >= len(audio)), np.float32)


def _tracked(beats: Values, downbeats: Values, certainty: Features) -> Tracked:
    """The beats with the metre that most bars have; `certainty` is [2, frames], of beats and of downbeats."""
    if len(beats) == 0:
        return NOTHING
    frames = np.round(beats * FRAMES_PER_SECOND).astype(int)
    confidence = float(certainty[0, frames].mean())
    places = np.unique(np.searchsorted(beats, downbeats - 1e-6))
    lengths = Counter(int(length) for length in np.diff(places))
    if not lengths:
        return Tracked(beats, confidence)
    metre, bars = lengths.most_common(1)[0]
    sure = float(certainty[1, frames[places]].mean()) * bars / lengths.total()
    return Tracked(beats, confidence, tuple(int(place) for place in places), metre, sure)
