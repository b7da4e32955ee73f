"""Chroma features: how strong each pitch class sounds, ten times a second.

The features are tuned, whitened, and free of overtones as far as possible: each frame's spectrum is explained as a sum
of notes with harmonics (as in Mauch and Dixon, Approximate note transcription for the improved identification of
difficult chords, ISMIR 2010). Percussion is suppressed because only spectral peaks near semitones count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.arrays import Features, Indices, Values
from mismo_grpc.analysis.audio_source import AudioSource, check_audio
from mismo_grpc.analysis.tonal.spectrum import frame_count, spectral_peaks
from mismo_grpc.analysis.tonal.tuning import Tuning, estimate_tuning

LOWEST_PITCH = 24
"""MIDI pitch C1, 33 Hz."""
PITCHES = 84
"""Seven octaves, up to B7."""
WHITENING = 0.7
"""The power of the spectral envelope by which amplitudes are divided; 1 would make all octaves equally strong."""
ENVELOPE_REACH = 9
"""The semitones to each side over which the envelope is taken."""
HARMONICS = 12
DECAY = 0.7
"""The amplitude of each harmonic relative to the one below it."""
ITERATIONS = 25
TREBLE = (43.0, 52.0, 84.0, 96.0)
"""MIDI pitches between which notes count for the treble: from nothing to fully, and from fully to nothing."""
BASS = (24.0, 28.0, 45.0, 55.0)


@dataclass(frozen=True)
class Chromagram:
    """Chroma features of audio; frame n is centred at (n + 0.5) / FRAMES_PER_SECOND seconds.

    `treble` and `bass` are [frames, 12], from C to B, not negative: the strengths of the pitch classes of all notes but
    the lowest, and of the low notes. Values are linear in the whitened amplitude, with no upper limit. `level` is the
    RMS of each frame.
    """

    treble: Features
    bass: Features
    level: Values
    tuning: Tuning


def chromagram(audio: AudioSource, sample_rate: int) -> Chromagram:
    """Computes the chroma of audio [frames, channels] or [frames], of any length.

    NaN and infinite samples count as 0. Takes 100 bytes of memory for each frame besides some blocks of audio.

    Raises ValueError as `check_audio` does.
    """
    check_audio(audio, sample_rate)
    tuning = estimate_tuning(audio, sample_rate)
    frames = frame_count(audio.shape[0], sample_rate)
    treble, bass = np.zeros((frames, 12), np.float32), np.zeros((frames, 12), np.float32)
    level = np.zeros(frames)
    dictionary = note_dictionary()
    place = 0
    for peaks in spectral_peaks(audio, sample_rate):
        count = len(peaks.level)
        spectrum = semitone_spectrum(peaks.frame, peaks.frequency, peaks.amplitude, count, tuning.a4)
        notes = note_strengths(whitened(spectrum), dictionary)
        treble[place : place + count] = notes @ _folding(*TREBLE)
        bass[place : place + count] = notes @ _folding(*BASS)
        level[place : place + count] = peaks.level
        place += count
    return Chromagram(treble, bass, level, tuning)


def semitone_spectrum(
    frame: Indices,
    frequency: Values,
    amplitude: Values,
    frames: int,
    a4: float,
) -> Values:
    """The amplitudes at the semitones, [frames, PITCHES]; peaks count by their nearness to a semitone."""
    pitch = 69.0 + 12.0 * np.log2(frequency / a4) - LOWEST_PITCH
    nearest = np.round(pitch).astype(np.int64)
    weight = amplitude * np.square(np.cos(np.pi * (pitch - nearest)))
    used = (nearest >= 0) & (nearest < PITCHES)
    flat = np.bincount(frame[used] * PITCHES + nearest[used], weight[used], frames * PITCHES)
    return flat.astype(np.float64, copy=False).reshape(frames, PITCHES)


def whitened(spectrum: Values) -> Values:
    """Divides amplitudes [frames, PITCHES] by a power of their envelope; a frame's loudness keeps its power, too."""
    sums = np.zeros((len(spectrum), PITCHES + 1))
    np.cumsum(np.square(spectrum), axis=1, out=sums[:, 1:])
    places = np.arange(PITCHES)
    low, high = np.maximum(places - ENVELOPE_REACH, 0), np.minimum(places + ENVELOPE_REACH + 1, PITCHES)
    envelope = np.sqrt(np.maximum(sums[:, high] - sums[:, low], 0.0) / (high - low))
    # The envelope does not fall further below the loudest, so that faint noise stays faint.
    envelope = np.maximum(envelope, 0.02 * envelope.max(axis=1, keepdims=True))
    result: Values = spectrum / np.maximum(envelope, 1e-9) ** WHITENING
    return result


def note_dictionary() -> Values:
    """[PITCHES, PITCHES]: the spectrum of each note, with harmonics that decay geometrically; rows of unit length."""
    spectra = np.zeros((PITCHES, PITCHES))
    for harmonic in range(1, HARMONICS + 1):
        above = 12.0 * np.log2(harmonic)
        nearest = round(above)
        strength = DECAY ** (harmonic - 1) * np.cos(np.pi * (above - nearest)) ** 2
        notes = np.arange(max(0, PITCHES - nearest))
        spectra[notes, notes + nearest] += strength
    return spectra / np.linalg.norm(spectra, axis=1, keepdims=True)


def note_strengths(spectrum: Values, dictionary: Values) -> Values:
    """The strengths of notes, [frames, PITCHES], whose sum of spectra is near the given one, none negative.

    Non-negative least squares by multiplicative updates (Lee and Seung, NIPS 2000), with a fixed number of steps.
    """
    target = spectrum @ dictionary.T
    gram = dictionary @ dictionary.T
    notes = target.copy()
    for _ in range(ITERATIONS):
        notes *= target / np.maximum(notes @ gram, 1e-12)
    return notes


def _folding(rise: float, full: float, fall: float, end: float) -> Values:
    """[PITCHES, 12]: sums notes by pitch class, with weights that rise and fall linearly."""
    pitches = LOWEST_PITCH + np.arange(PITCHES)
    weights = np.minimum((pitches - rise) / (full - rise), (end - pitches) / (end - fall))
    folding = np.zeros((PITCHES, 12))
    folding[np.arange(PITCHES), pitches % 12] = np.clip(weights, 0.0, 1.0)
    return folding
