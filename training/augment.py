"""Augments stems with the effects of music production: equalisers, saturation, rooms, compression, MP3."""

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
"""Reference level of added kicks if the drums are silent."""

Audio = NDArray[np.float32]
Rng = np.random.Generator


def coloured(stem: Audio, rng: Rng, *, equaliser: bool, room: bool) -> Audio:
    """Applies a random equaliser, a random room, or both to a stem (frames, 2); the length does not change."""
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
    """Adds echoes to a stem (frames, 2), each duller than the one before, sometimes alternating between the sides."""
    delay = int(rng.uniform(0.12, 0.55) * SAMPLE_RATE)
    feedback, dullness = rng.uniform(0.2, 0.65), rng.uniform(0.2, 0.7)
    crossed = rng.random() < 0.3
    out = stem.copy()
    echo = stem * np.float32(rng.uniform(0.25, 0.8))
    for begin in range(delay, len(stem), delay):
        # Two taps of a one-pole low-pass are enough to reduce the brightness.
        echo = (1 - dullness) * echo + dullness * np.roll(echo, 1, axis=0)
        out[begin:] += echo[: len(out) - begin]
        echo = echo[:, ::-1] * np.float32(feedback) if crossed else echo * np.float32(feedback)
    return np.asarray(out, dtype=np.float32)


def kicked(drums: Audio, rng: Rng) -> Audio:
    """Adds a drum machine's kick, in a tempo of its own and often louder, to drums (frames, 2)."""
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
    """Clips a stem softly at a random drive; keeps its loudness."""
    peak = float(np.abs(stem).max())
    if peak < 1e-4:
        return stem
    drive = rng.uniform(1.0, 5.0) / peak
    bent = np.tanh(stem * drive)
    loudness = np.sqrt(np.square(stem, dtype=np.float64).mean() / np.square(bent, dtype=np.float64).mean())
    return np.asarray(bent * loudness, dtype=np.float32)


def compressed(stems: list[Audio], rng: Rng) -> list[Audio]:
    """Applies the gain of a compressor on the stems' sum to each stem, so that they still add up to the mix."""
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
    """Encodes the mix (frames, 2) as an MP3 of 64 to 192 kbit/s and decodes it, aligned and of equal length."""
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
        drums = [frame.to_ndarray() for frame in container.decode(audio=0)]
    decoded = np.concatenate(drums, axis=1).T[: len(mix)]
    return np.pad(decoded, ((0, len(mix) - len(decoded)), (0, 0))).astype(np.float32)


def _equaliser(rng: Rng, size: int) -> NDArray[np.float32]:
    """Returns a smooth gain over frequency: a tilt, a few bells, and sometimes a high or low cut."""
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
    """Returns a room's impulse response: direct sound, a few echoes and decaying noise, different left and right."""
    seconds = rng.uniform(0.15, 1.0)
    frames = int(seconds * SAMPLE_RATE)
    time = np.arange(frames)[:, None] / SAMPLE_RATE
    # The tail falls by 60 dB; bright and dull rooms decay equally fast here.
    tail = rng.normal(size=(frames, 2)) * np.exp(-6.9 * time / seconds)
    tail /= np.sqrt(np.square(tail).sum(axis=0))
    response = tail * rng.uniform(0.1, 0.6)
    for _ in range(4):
        response[int(rng.uniform(0.005, 0.05) * SAMPLE_RATE)] += rng.normal(0, 0.15, size=2)
    response[0] = 1.0
    return response.astype(np.float32), frames


def _even_fft_size(frames: int) -> int:
    """Returns the next even size with small prime factors, for a fast FFT."""
    size = 1 << max(0, (frames - 1).bit_length() - 3)
    return -(-frames // size) * size
