"""Writes an NI STEM file (.stem.mp4): five AAC streams, and the JSON that tells DJ software what they are.

Stream 0 is the master, the sum of the stems; streams 1 to 4 are drums, bass, other and vocals. The streams of the stems
are not enabled, so that an ordinary player plays the master alone. The JSON is in the box moov/udta/stem.
Source: Native Instruments, "Stem file specification" (stems-music.com, "Stems is for developers"), as the open tools
stemgen (github.com/axeldelafosse/stemgen) and stempeg (github.com/faroit/stempeg) write it, with the same settings of
the mastering, which are off: the master is finished.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.stream import Disposition

from mismo_grpc.audio.exports.frames import audio_frame
from mismo_grpc.audio.exports.limiter import Limiter
from mismo_grpc.audio.exports.mp4_boxes import add_user_data
from mismo_grpc.audio.exports.muxing import muxer
from mismo_grpc.audio.exports.pcm_source import BLOCK_FRAMES, PcmSource

STEM_ORDER = ("drums", "bass", "other", "vocals")
"""The streams after the master."""
ADDED_TO_OTHER = ("guitar", "piano")
"""Stems of six-stem models that have no stream of their own."""
STEM_RATES = (44_100, 48_000)
"""The sample rates in Hz that players of the format know."""
KBPS = 256
"""Bit rate of each stream, in kbit/s."""
CEILING = 10 ** (-0.35 / 20)
"""The highest sample of the master: -0.35 dBFS, the ceiling of the format's own limiter."""
LOOK_AHEAD_SECONDS = 0.01
_COLORS = {"drums": "#009E73", "bass": "#D55E00", "other": "#CC79A7", "vocals": "#56B4E9"}

Samples = npt.NDArray[np.float32]


def has_all_streams(stem_names: Sequence[str]) -> bool:
    """Whether a job with these stems can have the format: the four stems, and none but those that are added to one."""
    return set(STEM_ORDER) <= set(stem_names) <= {*STEM_ORDER, *ADDED_TO_OTHER}


def stem_metadata() -> bytes:
    """The JSON of the box moov/udta/stem."""
    document = {
        "mastering_dsp": {
            "compressor": {
                "enabled": False,
                "ratio": 3,
                "output_gain": 0.5,
                "release": 0.300000011920929,
                "attack": 0.003000000026077032,
                "input_gain": 0.5,
                "threshold": 0,
                "hp_cutoff": 300,
                "dry_wet": 50,
            },
            "limiter": {
                "enabled": False,
                "release": 0.05000000074505806,
                "threshold": 0,
                "ceiling": -0.3499999940395355,
            },
        },
        "version": 1,
        "stems": [{"name": name.capitalize(), "color": _COLORS[name]} for name in STEM_ORDER],
    }
    return json.dumps(document).encode()


def stem_mp4_bytes_at_most(source: PcmSource) -> int:
    """The most that the file takes, in bytes; `source` is any of the stems."""
    seconds = source.total_frames / source.sample_rate + 1
    packets = seconds * source.sample_rate / 1024
    # The encoder may exceed its bit rate a little; the movie box has a few numbers for each packet.
    return 5 * int(seconds * KBPS * 125 * 1.1 + packets * 24) + 65536


def write_stem_mp4(
    stems: Mapping[str, PcmSource], file: BinaryIO, check: Callable[[], None] = lambda: None
) -> None:
    """Writes the stems of a job into an empty file that is open to read and write; mono becomes stereo.

    Calls `check` before each block, which may raise to stop. Blocks. Raises OSError, and ValueError if a stem is
    missing or the sample rate is not one of STEM_RATES.
    """
    first = next(iter(stems.values()))
    rate = first.sample_rate
    if not has_all_streams(list(stems)) or rate not in STEM_RATES:
        raise ValueError(f"a STEM file of {', '.join(stems)} at {rate} Hz is not possible")
    # The edit lists, which cut off the encoder's delay, count in the time scale of the movie: in frames here.
    options = {"movie_timescale": str(rate), "fflags": "+bitexact"}
    with muxer(file, "mp4", options) as output:
        streams = [_set_up(output.add("aac", rate), rate, index) for index in range(1 + len(STEM_ORDER))]
        positions = [0] * len(streams)
        for blocks in _blocks(stems, check):
            for index, samples in enumerate(blocks):
                if len(samples):
                    output.encode(streams[index], audio_frame(samples, positions[index], rate))
                    positions[index] += len(samples)
        for stream in streams:
            output.encode(stream, None)
    add_user_data(file, b"stem", stem_metadata())


def _set_up(stream: AudioStream, rate: int, index: int) -> AudioStream:
    stream.layout = "stereo"
    stream.bit_rate = KBPS * 1000
    stream.time_base = Fraction(1, rate)
    stream.codec_context.flags |= Flags.bitexact
    # In MP4 a track of the default disposition is an enabled one.
    stream.disposition = Disposition.default if index == 0 else Disposition(0)
    return stream


def _blocks(stems: Mapping[str, PcmSource], check: Callable[[], None]) -> Iterator[list[Samples]]:
    """Blocks of all streams; those of the master come a little later than the others."""
    first = next(iter(stems.values()))
    limiter = Limiter(2, CEILING, max(2, int(LOOK_AHEAD_SECONDS * first.sample_rate)))
    for start in range(0, first.total_frames, BLOCK_FRAMES):
        check()
        count = min(BLOCK_FRAMES, first.total_frames - start)
        parts = {name: _stereo(source.samples(start, count)) for name, source in stems.items()}
        for name in ADDED_TO_OTHER:
            if name in parts:
                parts["other"] = parts["other"] + parts[name]
        blocks = [parts[name] for name in STEM_ORDER]
        yield [limiter.push(blocks[0] + blocks[1] + blocks[2] + blocks[3]), *blocks]
    yield [limiter.finish()]


def _stereo(samples: Samples) -> Samples:
    # A damaged float sample must not spoil the whole sum.
    finite = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
    return finite if finite.shape[1] == 2 else np.repeat(finite[:, :1], 2, axis=1)
