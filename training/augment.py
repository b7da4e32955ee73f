"""What happens to stems between a recording and a mix: equalisers, saturation, rooms, compression, MP3."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mismo_grpc.generation.kit import MACHINES, draw_kit
from mismo_grpc.generation.score import KICK

SAMPLE_RATE = 44100
KICKS_FROM_DBFS = -30.0
"""Level that added kicks are measured by where there is no drum to measure them by."""

Audio = NDArray[np.float32]
Rng = np.random.Generator


def coloured(stem: Audio, rng: Rng, *, equaliser: bool, room: bool) -> Audio:
    """A stem (frames, 2) through a random equaliser, a random room, or both; as many frames as came in."""
    frames = len(stem)
    response, tail = _room(rng) if room else (None, 0)
    size = _even_fft_size(frames + tail)
    spectrum = np.fft.rfft(stem, size, axis=0)
    if equaliser:
        spectrum *= _equaliser(rng, size)[:, None]
    if response is not None:
        spectrum *= np.fft.rfft(response, size, axis=0)
    return np.fft.irfft(spectrum, size, axis=0)[:frames].astype(np.float32)


def echoed(stem: Audio, rng: Rng) -> Audio:
    """A stem (frames, 2) with echoes of itself, each duller than the one before, at times from side to side."""
    delay = int(rng.uniform(0.12, 0.55) * SAMPLE_RATE)
    feedback, dullness = rng.uniform(0.2, 0.65), rng.uniform(0.2, 0.7)
    crossed = rng.random() < 0.3
    out = stem.copy()
    echo = stem * np.float32(rng.uniform(0.25, 0.8))
    for begin in range(delay, len(stem), delay):
        # Of a one-pole low-pass two taps are enough to lose the brightness.
        echo = (1 - dullness) * echo + dullness * np.roll(echo, 1, axis=0)
        out[begin:] += echo[: len(out) - begin]
        echo = echo[:, ::-1] * np.float32(feedback) if crossed else echo * np.float32(feedback)
    return np.asarray(out, dtype=np.float32)


def kicked(drums: Audio, rng: Rng) -> Audio:
    """Drums (frames, 2) and a drum machine's kick on almost every beat of a tempo of its own, often the louder."""
    strike = draw_kit(int(rng.choice(MACHINES)), SAMPLE_RATE, rng)[KICK].strike
    beat = 60 / rng.uniform(85, 175) * SAMPLE_RATE
    kicks = np.zeros(len(drums), dtype=np.float32)
    for start in np.arange(rng.uniform(0, beat), len(drums), beat).astype(int):
        if rng.random() < 0.9:
            hit = strike(rng.uniform(0.7, 1.0), rng)[: len(drums) - start]
            kicks[start : start + len(hit)] += hit
    rms = max(float(np.sqrt(np.square(drums, dtype=np.float64).mean())), 10 ** (KICKS_FROM_DBFS / 20))
    gain = rms * 10 ** (rng.uniform(-3, 9) / 20) / (float(np.sqrt(np.square(kicks).mean())) + 1e-9)
    kicks *= np.float32(gain)
    return drums + kicks[:, None]


def saturated(stem: Audio, rng: Rng) -> Audio:
    """Soft clipping at a random drive; as loud as before."""
    peak = float(np.abs(stem).max())
    if peak < 1e-4:
        return stem
    drive = rng.uniform(1.0, 5.0) / peak
    bent = np.tanh(stem * drive)
    loudness = np.sqrt(np.square(stem, dtype=np.float64).mean() / np.square(bent, dtype=np.float64).mean())
    return np.asarray(bent * loudness, dtype=np.float32)


def compressed(stems: list[Audio], rng: Rng) -> list[Audio]:
    """Stems under the gain that a compressor on their sum would take: they still add up to the mix."""
    mix: Audio = np.sum(stems, axis=0)
    block = 441
    blocks = -(-len(mix) // block)
    padded = np.pad(np.square(mix).sum(axis=1), (0, blocks * block - len(mix)))
    level = np.sqrt(padded.reshape(blocks, block).mean(axis=1) + 1e-10)
    # Attack within one block of 10 ms, release over some hundred milliseconds.
    release = np.exp(-0.01 / rng.uniform(0.05, 0.3))
    envelope = level.copy()
    for i in range(1, blocks):
        envelope[i] = max(level[i], envelope[i - 1] * release)
    threshold = np.quantile(envelope, rng.uniform(0.3, 0.8))
    ratio = rng.uniform(1.5, 6.0)
    gain: NDArray[np.floating] = np.minimum(1.0, (envelope / threshold) ** (1 / ratio - 1))
    smooth = np.interp(np.arange(len(mix)), (np.arange(blocks) + 0.5) * block, gain).astype(np.float32)
    return [stem * smooth[:, None] for stem in stems]


def through_mp3(mix: Audio, rng: Rng) -> Audio:
    """The mix (frames, 2) as an MP3 of 64 to 192 kbit/s gives it back, aligned; as many frames as came in."""
    encoded = io.BytesIO()
    with av.open(encoded, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="stereo")
        stream.bit_rate = int(rng.choice((64_000, 96_000, 128_000, 192_000)))
        stream.format = "fltp"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mix.T), format="fltp", layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        packets: list[av.Packet[Any]] = [*stream.encode(frame), *stream.encode(None)]
        container.mux(packets)
    encoded.seek(0)
    with av.open(encoded, "r") as container:
        pieces = [frame.to_ndarray() for frame in container.decode(audio=0)]
    decoded = np.concatenate(pieces, axis=1).T[: len(mix)]
    return np.pad(decoded, ((0, len(mix) - len(decoded)), (0, 0))).astype(np.float32)


def _equaliser(rng: Rng, size: int) -> NDArray[np.float32]:
    """A smooth gain over frequency: a tilt, a few bells, and now and then a high or low cut."""
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(hertz, 20.0) / 1000.0)
    decibels = rng.normal(0, 1.0) * octaves
    for _ in range(int(rng.integers(1, 4))):
        decibels += rng.normal(0, 5.0) * np.exp(
            -0.5 * ((octaves - rng.uniform(-5, 4)) / rng.uniform(0.3, 1.5)) ** 2
        )
    if rng.random() < 0.15:
        decibels -= 12 * np.log2(1 + (hertz / rng.uniform(3000, 12000)) ** 2)
    if rng.random() < 0.1:
        decibels -= 12 * np.log2(1 + (rng.uniform(40, 200) / np.maximum(hertz, 1.0)) ** 2)
    return (10 ** (np.clip(decibels, -60, 18) / 20)).astype(np.float32)


def _room(rng: Rng) -> tuple[Audio, int]:
    """The response of a room: the direct sound, a few echoes and decaying noise, different left and right."""
    seconds = rng.uniform(0.15, 1.0)
    frames = int(seconds * SAMPLE_RATE)
    time = np.arange(frames)[:, None] / SAMPLE_RATE
    # 60 dB down at its end; brighter rooms decay as fast as dull ones here.
    tail = rng.normal(size=(frames, 2)) * np.exp(-6.9 * time / seconds)
    tail /= np.sqrt(np.square(tail).sum(axis=0))
    response = tail * rng.uniform(0.1, 0.6)
    for _ in range(4):
        response[int(rng.uniform(0.005, 0.05) * SAMPLE_RATE)] += rng.normal(0, 0.15, size=2)
    response[0] = 1.0
    return response.astype(np.float32), frames


def _even_fft_size(frames: int) -> int:
    """The next size with small factors, which FFTs like."""
    size = 1 << max(0, (frames - 1).bit_length() - 3)
    return -(-frames // size) * size
