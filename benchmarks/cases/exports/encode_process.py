"""Makes one export in a process of its own, so that its memory is measured alone; or runs a command for comparison.

Prints {"seconds", "cpu_seconds", "rss_mb"} as JSON. Without a format, the memory that the imports take.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import soundfile

from benchmarks.process_memory import peak_rss
from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.exports.flac_file import write_flac
from mismo_grpc.audio.exports.mp3_file import write_mp3
from mismo_grpc.audio.exports.pcm_source import PcmSource
from mismo_grpc.audio.exports.stem_mp4 import STEM_ORDER, write_stem_mp4

STEMS = len(STEM_ORDER)


def source_of(track: Path) -> PcmSource:
    """A stem whose samples are those of a 16-bit stereo WAV file, read as they are needed."""
    sound = soundfile.SoundFile(track)

    def read(first: int, count: int) -> bytes:
        sound.seek(first)
        return sound.read(count, dtype="int16", always_2d=True).tobytes()

    return PcmSource(read, sound.frames, sound.samplerate, sound.channels, Encoding.PCM_S16LE)


def export(kind: str, track: Path, target: Path) -> None:
    """Makes all files of a format; each stem is the track."""
    if kind == "stem.mp4":
        with target.open("w+b") as file:
            write_stem_mp4({name: source_of(track) for name in STEM_ORDER}, file)
        return
    for _ in range(STEMS):
        with target.open("w+b") as file:
            if kind == "flac":
                write_flac(source_of(track), file)
            else:
                write_mp3(source_of(track), file, 320)


def main(arguments: list[str]) -> None:
    """`none`; `flac`, `mp3` or `stem.mp4` with TRACK TARGET; or `command` with a command."""
    kind, *rest = arguments
    began = time.perf_counter()
    if kind == "command":
        subprocess.run(rest, check=True, capture_output=True)
    elif kind != "none":
        export(kind, Path(rest[0]), Path(rest[1]))
    seconds = time.perf_counter() - began
    child = resource.getrusage(resource.RUSAGE_CHILDREN)
    of_command = kind == "command"
    result = {
        "seconds": seconds,
        "cpu_seconds": child.ru_utime + child.ru_stime if of_command else time.process_time(),
        "rss_mb": (child.ru_maxrss * 1024 if of_command else peak_rss()) / 1e6,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
