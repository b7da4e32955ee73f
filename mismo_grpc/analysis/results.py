"""The results of the analyses, as values that the job store keeps.

Times are in seconds from the first frame of the decoded track, tempi in beats per minute (BPM), confidences and scores
from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

PITCH_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
"""The usual names of the pitch classes as tonics of keys."""


class Mode(StrEnum):
    """The mode of a key."""

    MAJOR = "major"
    MINOR = "minor"


@dataclass(frozen=True)
class Key:
    """A key: `tonic` is a pitch class, 0 for C to 11 for B."""

    tonic: int
    mode: Mode
    confidence: float = 0.0

    @property
    def name(self) -> str:
        """As in "F# minor"."""
        return f"{PITCH_NAMES[self.tonic]} {self.mode.value}"

    @property
    def camelot(self) -> str:
        """The place on the Camelot wheel: a fifth up is one step up, 8B is C major and 8A its relative A minor."""
        relative_major = self.tonic if self.mode is Mode.MAJOR else self.tonic + 3
        number = (relative_major * 7 + 7) % 12 + 1
        return f"{number}{'B' if self.mode is Mode.MAJOR else 'A'}"


@dataclass(frozen=True)
class TempoPoint:
    """The tempo from `time` on, until the next point."""

    time: float
    tempo: float


@dataclass(frozen=True)
class BasicFeaturesResult:
    """The properties of a track that a DJ mixes by.

    `duration` is in seconds. `tempo` is the median, None if no beat was found. `tempo_stability` is 1 if all beats are
    equally far apart, 0 if there is no steady beat. `tempo_curve` is empty if the tempo is constant. Every downbeat is
    one of the beats. `beats_per_bar` is 0 if no bars were found. `tuning` is the frequency of A4 in Hz. `key` and
    `tuning` are None if the track has no pitched sound.

    `dynamic_range_db` is the difference between the peaks and the level of the loudest fifth of the track, None for
    silence. `beat_tracker` is what found the beats: "beat_this", or "pulse" (`rhythm/pulse_tracker.py`).
    """

    duration: float
    tempo: float | None
    tempo_confidence: float
    tempo_stability: float
    tempo_curve: tuple[TempoPoint, ...]
    beats: tuple[float, ...]
    downbeats: tuple[float, ...]
    beats_per_bar: int
    metre_confidence: float
    key: Key | None
    tuning: float | None
    integrated_lufs: float | None
    loudness_range_lu: float | None
    true_peak_dbtp: float | None
    dynamic_range_db: float | None
    beat_tracker: str


@dataclass(frozen=True)
class ScoredLabel:
    """A label with its score."""

    label: str
    score: float


@dataclass(frozen=True)
class CharacteristicsResult:
    """The character of a track, in numbers from 0 to 1; docs/analyses.md explains each.

    `moods` has the most likely first, and is empty if the mood models are not installed. `vocal_source` says what
    the vocals were measured on: "stems" or "mix".
    """

    danceability: float
    energy: float
    brightness: float
    acousticness: float
    instrumentalness: float
    vocal_presence: float
    moods: tuple[ScoredLabel, ...]
    vocal_source: str


@dataclass(frozen=True)
class GenreResult:
    """Genres and styles as in "Electronic---House" (Discogs' taxonomy), the most likely first."""

    genres: tuple[ScoredLabel, ...]
    model: str


class SectionRole(StrEnum):
    """What a section is for a DJ."""

    INTRO = "intro"
    OUTRO = "outro"
    BREAKDOWN = "breakdown"
    DROP = "drop"


@dataclass(frozen=True)
class Section:
    """A part of the track; sections with the same label (A, B, C, ...) sound alike.

    `role` is None unless the energy makes it clear. `energy` is the mean, relative to the loudest part of the track.
    """

    start: float
    end: float
    label: str
    role: SectionRole | None
    confidence: float
    energy: float


@dataclass(frozen=True)
class SectionsResult:
    """The sections, which cover the track without gaps."""

    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Chord:
    """A chord; `label` is in Harte's syntax, as in "C:maj", "A:min7" or "N" for no chord."""

    start: float
    end: float
    label: str
    confidence: float


@dataclass(frozen=True)
class ChordsResult:
    """The chords, which cover the track without gaps; `source` is "mix" or "stems" (the stems without the drums)."""

    chords: tuple[Chord, ...]
    source: str


@dataclass(frozen=True)
class CuePoint:
    """A downbeat at which a transition can begin, the `bars` that suit it, and their mean energy."""

    time: float
    bars: int
    energy: float
    score: float


@dataclass(frozen=True)
class TransitionResult:
    """Where a track can be mixed in and out.

    `mix_in` has the places to start this track under another one, `mix_out` those to start another track over this
    one, the best first. `phrase_bars` is the length of a phrase, 0 if no phrases were found; `phrases` are their first
    beats, each a downbeat. `energy` has a value for every `energy_interval` seconds, relative to the loudest part.
    """

    mix_in: tuple[CuePoint, ...]
    mix_out: tuple[CuePoint, ...]
    phrase_bars: int
    phrases: tuple[float, ...]
    energy: tuple[float, ...]
    energy_interval: float


class KeyRelation(StrEnum):
    """How two keys relate; up and down are from the outgoing track to the incoming one."""

    SAME = "same"
    RELATIVE = "relative"
    FIFTH_UP = "fifth_up"
    FIFTH_DOWN = "fifth_down"
    PARALLEL = "parallel"
    TONE_UP = "tone_up"
    DISTANT = "distant"


@dataclass(frozen=True)
class CuePair:
    """A place in each track that fit together, in seconds of each track at its own tempo."""

    mix_out: float
    mix_in: float
    bars: int
    score: float


@dataclass(frozen=True)
class TrackComparison:
    """How well an incoming track follows an outgoing one.

    `tempo_ratio` is the incoming tempo divided by the outgoing one, after doubling or halving it to the nearest;
    `incoming_speed` is the playback speed of the incoming track at which the beats match. `camelot_distance` counts
    steps between the keys on the Camelot wheel, a change of mode as one. `key_shift` is by how many semitones the
    incoming track must be shifted to the nearest key that fits. `score` is the weighted mean of the other scores.
    Values are None if one track lacks a tempo, a key or a loudness.
    """

    tempo_ratio: float | None
    incoming_speed: float | None
    key_relation: KeyRelation | None
    camelot_distance: int | None
    key_shift: int | None
    loudness_difference_lu: float | None
    cue_pairs: tuple[CuePair, ...]
    score: float
    tempo_score: float
    key_score: float
    energy_score: float
    cue_score: float
