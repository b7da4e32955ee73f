"""The picture of a track: what it is drawn from, and that it stays readable."""

# ruff: noqa: E402
from __future__ import annotations

from pathlib import Path

from tests.support.packages import optional

optional("matplotlib")  # The modules of the picture import it.

import av
import numpy as np
import pytest
import soundfile
from av.error import DecoderNotFoundError
from matplotlib.collections import LineCollection
from matplotlib.text import Text

from mismo.analysis.v1 import job_pb2, results_pb2
from mismo_client.plotting.canvas import Canvas
from mismo_client.plotting.lanes import thinned
from mismo_client.plotting.picture import LEFT, RIGHT, draw_picture, save_picture
from mismo_client.plotting.results import TrackResults
from mismo_client.plotting.style import WIDTH
from mismo_client.plotting.waveform import (
    UnreadableTrackError,
    Waveform,
    _av_blocks,
    _measured,
    read_waveform,
)
from tests.unit.client.analysed import analysed

RATE = 22_050


def tone(path: Path, hertz: float, seconds: float = 2.0) -> Path:
    time = np.arange(int(seconds * RATE)) / RATE
    soundfile.write(path, np.stack([0.5 * np.sin(2 * np.pi * hertz * time)] * 2, axis=1), RATE)
    return path


def flat(seconds: float, windows: int = 4000) -> Waveform:
    return Waveform(seconds, np.full(windows, 0.5, np.float32), np.full((windows, 3), 0.1, np.float32))


@pytest.mark.parametrize(("hertz", "band"), [(80, 0), (800, 1), (6000, 2)])
def test_a_tone_is_in_its_band_at_its_level(tmp_path: Path, hertz: float, band: int) -> None:
    waveform = read_waveform(tone(tmp_path / "tone.flac", hertz))
    middle = waveform.bands[5:-5]
    assert middle[:, band] == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    assert np.delete(middle, band, axis=1).max() < 0.02
    assert waveform.seconds == pytest.approx(2.0)
    assert waveform.peaks[5:-5] == pytest.approx(0.5, rel=0.02)


def test_both_decoders_agree(tmp_path: Path) -> None:
    path = tone(tmp_path / "tone.wav", 300)
    ours, other = read_waveform(path), _measured(_av_blocks(path))
    assert other.seconds == pytest.approx(ours.seconds)
    assert other.bands == pytest.approx(ours.bands, abs=0.01)


def test_joined_windows_keep_the_peak_and_the_power() -> None:
    peaks = np.asarray([0.1, 0.9, 0.2, 0.3], np.float32)
    bands = np.asarray([[0.6, 0, 0], [0.8, 0, 0], [0, 0, 0], [0, 0.2, 0]], np.float32)
    joined = Waveform(4.0, peaks, bands).columns(2)
    assert joined.peaks == pytest.approx([0.9, 0.3])
    assert joined.bands[0] == pytest.approx([np.sqrt(0.5), 0, 0])
    assert joined.seconds == 4.0


def test_a_file_that_is_no_audio_is_named(tmp_path: Path) -> None:
    path = tmp_path / "song.flac"
    path.write_bytes(b"no audio at all")
    with pytest.raises(UnreadableTrackError, match=r"song\.flac"):
        read_waveform(path)


def test_a_codec_without_a_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "song.flac"
    path.write_bytes(b"soundfile refuses it")

    def missing(name: str) -> None:
        raise DecoderNotFoundError(1, "no decoder", name)

    monkeypatch.setattr(av, "open", missing)
    with pytest.raises(UnreadableTrackError, match="no decoder"):
        read_waveform(path)


def test_places_are_thinned_by_powers_of_two() -> None:
    assert list(thinned([0, 1, 2, 3, 4, 5, 6, 7, 8], 3.5)) == [0, 4, 8]
    assert list(thinned([0, 10, 20], 3)) == [0, 10, 20]
    assert list(thinned([], 3)) == []


def texts(canvas: Canvas) -> list[Text]:
    return [text for text in canvas.axes.texts if text.get_text()]


@pytest.mark.parametrize("seconds", [12.0, 200.0, 7200.0])
def test_no_text_lies_on_another_however_long_the_track_is(seconds: float) -> None:
    results = TrackResults.of(analysed(job_pb2.Job(), seconds), seconds)
    canvas = draw_picture(
        "A title that is much longer than the room for it is, by far", results, flat(seconds)
    )
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(canvas)]
    for place, (name, box) in enumerate(boxes):
        assert 0 <= box.x0 <= box.x1 <= WIDTH, name
        for other_name, other in boxes[place + 1 :]:
            apart = box.x1 <= other.x0 or other.x1 <= box.x0 or box.y1 <= other.y0 or other.y1 <= box.y0
            assert apart, (name, other_name)
    lines = [line for line in canvas.axes.collections if isinstance(line, LineCollection)]
    assert all(len(line.get_segments()) <= WIDTH / 4 for line in lines)


def test_numbers_of_bars_keep_their_distance() -> None:
    # Five bars 20 pixels apart: the least power of two that brings 70 pixels between two numbers is four.
    pixels_per_second = (RIGHT - LEFT) / 100
    bars = [place * 20 / pixels_per_second for place in range(5)]
    features = results_pb2.BasicFeaturesResult(beats=bars, downbeats=bars, beats_per_bar=4)
    canvas = draw_picture("song", TrackResults(100, features), flat(100))
    assert [text.get_text() for text in texts(canvas) if text.get_text().isdigit()] == ["1", "5"]


def test_values_are_written_with_their_units() -> None:
    results = TrackResults.of(analysed(job_pb2.Job(), 60), 60)
    shown = {text.get_text() for text in texts(draw_picture("song", results, flat(60)))}
    assert {"song", "120.0", "BPM", "F# minor", "11A", "4/4", "−9.2", "LUFS", "INTRO", "DROP"} <= shown
    assert {"IN 0:00 · 4 bars", "OUT 0:52 · 4 bars", "F#m", "Dmaj7"} <= shown


@pytest.mark.parametrize(
    ("share", "shown"), [(0.5, {"A", "BREAKDOWN"}), (0.06, {"A", "BREAKDOWN"}), (0.02, {"A"}), (0.001, set())]
)
def test_a_section_shows_what_it_has_room_for(share: float, shown: set[str]) -> None:
    breakdown = results_pb2.SECTION_ROLE_BREAKDOWN
    section = results_pb2.Section(start=10, end=10 + 100 * share, label="A", role=breakdown)
    results = TrackResults(100, sections=results_pb2.SectionsResult(sections=[section]))
    found = {text.get_text() for text in texts(draw_picture("song", results, flat(100)))}
    assert found & {"A", "BREAKDOWN"} == shown


def test_what_has_no_result_is_left_out() -> None:
    canvas = draw_picture("$x_1$ is no formula", TrackResults(3.0), flat(3.0))
    shown = {text.get_text() for text in texts(canvas)}
    assert {"$x_1$ is no formula", "waveform"} <= shown
    assert not {"sections", "chords", "energy", "bars", "mix"} & shown


@pytest.mark.parametrize("seconds", [0.02, 0.5])
def test_short_and_silent_tracks_are_drawn(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(int(seconds * RATE)), RATE)
    waveform = read_waveform(path)
    save_picture(tmp_path / "out.png", "静けさ", TrackResults(waveform.seconds), waveform)
    assert {file.name for file in tmp_path.iterdir()} == {"silence.wav", "out.png"}
