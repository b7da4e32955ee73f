"""A composition as a MIDI file that a parser of another make would read."""

from __future__ import annotations

import pytest

from mismo_grpc.generation.score import Note, Part
from mismo_grpc.generation.tempo import TempoMap
from training.midi import TICKS, midi_file

BASS = Part("bass", "synth bass", 38, (Note(0.0, 1.0, 40, 100), Note(1.0, 200.0, 43, 90)), pan=-1.0)
DRUMS = Part("drums", "drum kit", 0, (Note(0.5, 0.25, 36, 127),))


def events(content: bytes) -> list[tuple[int, bytes]]:
    """Ticks and messages of a file of format 0, without running status."""
    assert content[:14] == b"MThd\0\0\0\x06\0\0\0\x01" + TICKS.to_bytes(2, "big")
    assert content[14:18] == b"MTrk"
    assert int.from_bytes(content[18:22], "big") == len(content) - 22
    place, now = 22, 0
    found: list[tuple[int, bytes]] = []
    while place < len(content):
        delta = 0
        while True:
            byte = content[place]
            place += 1
            delta = delta << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        now += delta
        kind = content[place]
        length = 3 + content[place + 2] if kind == 0xFF else 2 if kind & 0xF0 == 0xC0 else 3
        found.append((now, content[place : place + length]))
        place += length
    return found


def test_notes_stand_at_their_beats_on_the_channel_of_their_part() -> None:
    found = events(midi_file([BASS, DRUMS], TempoMap(120.0)))
    assert (0, b"\xff\x51\x03" + (500_000).to_bytes(3, "big")) in found, "microseconds a beat"
    assert (0, bytes((0xC0, 38))) in found
    assert (0, bytes((0xB0, 10, 1))) in found, "hard left"
    assert (TICKS, bytes((0x90, 43, 90))) in found
    assert (201 * TICKS, bytes((0x80, 43, 0))) in found, "a delta of four bytes would be needed for less"
    assert (TICKS // 2, bytes((0x99, 36, 127))) in found, "drums are on channel 10"
    assert found[-1][1] == b"\xff\x2f\x00"


def test_a_note_that_ends_where_another_begins_ends_first() -> None:
    found = events(midi_file([BASS], TempoMap(90.0)))
    at_one = [message for tick, message in found if tick == TICKS]
    assert at_one == [bytes((0x80, 40, 0)), bytes((0x90, 43, 90))]


@pytest.mark.parametrize(("start", "end"), [(90.0, 150.0), (150.0, 60.0)])
def test_the_tempo_events_of_a_ramp_put_its_beats_where_they_are(start: float, end: float) -> None:
    ramp = TempoMap(start, end, 32.0)
    found = [(tick, m) for tick, m in events(midi_file([BASS], ramp)) if m[:2] == b"\xff\x51"]
    seconds, now, micros = 0.0, 0, 0
    for tick, message in found:
        seconds += (tick - now) / TICKS * micros / 1e6
        now, micros = tick, int.from_bytes(message[3:], "big")
        assert seconds == pytest.approx(ramp.seconds(tick / TICKS), abs=1e-4)
    assert now > 31 * TICKS
