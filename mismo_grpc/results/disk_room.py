"""How much disk space a job needs, in bytes."""

from __future__ import annotations

from mismo_grpc.audio.decode import MIX_CHANNELS
from mismo_grpc.audio.encode import Encoding, sample_bytes
from mismo_grpc.separation.engine import SeparationSpec
from mismo_grpc.separation.models import Bag
from mismo_grpc.separation.selection import select_stems
from mismo_grpc.storage.disk import Disk, folder_bytes

_FLOAT_BYTES = 4


def mix_bytes(frames: int) -> int:
    """The size of the decoded track of `frames` frames."""
    return frames * MIX_CHANNELS * _FLOAT_BYTES


def stems_bytes(frames: int, model_rate: int, stems: int, output_rate: int, encoding: Encoding) -> int:
    """The size of all stem files of a track of `frames` frames, and of the files for their conversion to another rate.

    Rates in Hz; an `output_rate` of 0 is the model's.
    """
    rate = output_rate or model_rate
    files = frames * rate // model_rate * MIX_CHANNELS * stems * sample_bytes(encoding)
    return files + (frames * MIX_CHANNELS * stems * _FLOAT_BYTES if rate != model_rate else 0)


def check_room_for_stems(disk: Disk, reserve: int, spec: SeparationSpec, bag: Bag) -> None:
    """Raises DiskFullError unless the stems of a decoded track fit without using the disk reserve; blocks.

    The check at the submit did not cover sources of unknown length. A resumed job has its files already.
    """
    mix, files = spec.mix, spec.files
    stems = len(select_stems(bag.sources, spec.stem_names, spec.two_stems).names)
    needed = stems_bytes(mix.frames, mix.sample_rate, stems, spec.sample_rate, spec.encoding)
    there = folder_bytes(files.stems)
    if files.unconverted.exists():
        there += files.unconverted.stat().st_size
    if there < needed:
        disk.require(files.folder, needed - there, reserve)
