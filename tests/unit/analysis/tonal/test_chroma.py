"""Chroma features of single notes and chords."""

from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.analysis.tonal.chroma import chromagram
from mismo_grpc.analysis.tonal.spectrum import BLOCK_FRAMES, FRAMES_PER_SECOND, frame_count, spectral_peaks
from tests.unit.analysis.tonal.tones import RATE, clicks, note, progression


@pytest.mark.parametrize("pitch", [48, 55, 60, 64, 71, 77])
def test_a_note_is_its_pitch_class_without_its_harmonics(pitch: int) -> None:
    # Of the harmonics the third and the fifth are other pitch classes.
    total = chromagram(note(pitch, 2.0), RATE).treble.sum(axis=0)
    assert total[pitch % 12] > 0.8 * total.sum()


def test_low_notes_are_the_bass_alone() -> None:
    low = chromagram(note(33, 2.0), RATE)
    assert np.argmax(low.bass.sum(axis=0)) == 9
    assert low.treble.sum() < 0.3 * low.bass.sum()
    high = chromagram(note(72, 2.0), RATE)
    assert high.bass.sum() < 0.03 * high.treble.sum()


def test_a_chord_has_its_three_pitch_classes() -> None:
    total = chromagram(progression(["Eb"], 2.0), RATE).treble.sum(axis=0)
    assert set(np.argsort(total)[-3:].tolist()) == {3, 7, 10}


def test_clicks_over_a_chord_change_little() -> None:
    audio = progression(["Dm"], 4.0)
    plain = chromagram(audio, RATE).treble.sum(axis=0)
    struck = chromagram(audio + 0.3 * clicks(4.0, 0.25), RATE).treble.sum(axis=0)
    assert np.corrcoef(plain, struck)[0, 1] > 0.95


def test_frames_are_ten_a_second_and_the_time_of_a_change_is_right() -> None:
    chroma = chromagram(progression(["C", "F#"], 3.0), RATE)
    assert len(chroma.treble) == len(chroma.bass) == len(chroma.level) == 60
    stronger = chroma.treble[:, [6, 10, 1]].sum(axis=1) > chroma.treble[:, [0, 4, 7]].sum(axis=1)
    assert not stronger[:28].any()
    assert stronger[32:].all()


def test_blocks_do_not_matter() -> None:
    audio = progression(["C", "Am", "F", "G"], 3.0)
    whole = chromagram(audio, RATE)
    # The last frames, as the peaks of frames that begin at another place in a block.
    frames = np.arange(BLOCK_FRAMES - 5, frame_count(len(audio), RATE))
    peaks = list(spectral_peaks(audio, RATE, frames))
    levels = np.concatenate([block.level for block in peaks])
    np.testing.assert_allclose(levels, whole.level[frames], rtol=1e-6)


def test_the_last_frame_is_not_lost() -> None:
    assert frame_count(RATE * 2 + 1, RATE) == 2 * FRAMES_PER_SECOND + 1
    assert len(chromagram(note(60, 0.02), RATE).level) == 1
    assert len(chromagram(np.zeros(0, np.float32), RATE).level) == 0
