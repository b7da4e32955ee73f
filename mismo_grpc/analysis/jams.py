"""Writes results of the analyses as a JAMS document, the exchange format of music annotations.

Format: Humphrey et al., "JAMS: a JSON annotated music specification for reproducible MIR research", ISMIR 2014, in the
schema 0.3 of https://jams.readthedocs.io. Chord labels are in the syntax of Harte et al. (ISMIR 2005).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mismo_grpc.analysis.results import BasicFeaturesResult, ChordsResult, SectionsResult, TempoPoint

JAMS_VERSION = "0.3.5"
"""The version of the schema."""
TOOL = "mismo_grpc"
_DIGITS = 6

Document = dict[str, object]
"""A JSON object."""


def annotation_jams(
    basic_features: BasicFeaturesResult | None,
    sections: SectionsResult | None,
    chords: ChordsResult | None,
    *,
    duration: float,
    title: str = "",
    version: str = "",
) -> Document:
    """The JAMS document of a track of `duration` seconds, ready for `json.dumps`.

    It has annotations in this order, each with confidences, and only of the results that are given and not empty:

    - `tempo`: one observation, or one for each point of the tempo curve;
    - `key_mode`: one observation for the whole track;
    - `beat`: every beat, its value the position in the bar from 1, or None if no bars were found;
    - `beat` again with the downbeats alone, each with the value 1, and {"content": "downbeats"} in its sandbox;
    - `segment_open`: the sections; their roles (None if unclear) and energies are lists in its sandbox;
    - `chord`.

    `version` is that of this program. The same arguments give the same document.
    """
    annotations: list[Document] = []
    if basic_features is not None:
        annotations += _of_basic_features(basic_features, duration, version)
    if sections is not None and sections.sections:
        observations = [_span(s.start, s.end, s.label, s.confidence) for s in sections.sections]
        sandbox: Document = {
            "roles": [s.role.value if s.role else None for s in sections.sections],
            "energies": [s.energy for s in sections.sections],
        }
        annotations.append(_annotation("segment_open", observations, duration, version, sandbox=sandbox))
    if chords is not None and chords.chords:
        observations = [_span(c.start, c.end, c.label, c.confidence) for c in chords.chords]
        annotations.append(_annotation("chord", observations, duration, version, {"source": chords.source}))
    file_metadata: Document = {
        "title": title,
        "artist": "",
        "release": "",
        "duration": round(duration, _DIGITS),
        "identifiers": {},
        "jams_version": JAMS_VERSION,
    }
    return {"annotations": annotations, "file_metadata": file_metadata, "sandbox": {}}


def bar_positions(
    beats: Sequence[float], downbeats: Sequence[float], beats_per_bar: int
) -> tuple[int | None, ...]:
    """The position in the bar of every beat, 1 for a downbeat; None for all if there are no downbeats.

    `downbeats` are some of the `beats`, both in seconds and ascending. Beats before the first downbeat are counted
    backwards from it, and are None if `beats_per_bar` is 0.
    """
    places = set(downbeats)
    first = next((index for index, beat in enumerate(beats) if beat in places), None)
    if first is None:
        return (None,) * len(beats)
    positions: list[int | None] = [
        (index - first) % beats_per_bar + 1 if beats_per_bar else None for index in range(first)
    ]
    position = 0
    for beat in beats[first:]:
        position = 1 if beat in places else position + 1
        positions.append(position)
    return tuple(positions)


def _of_basic_features(features: BasicFeaturesResult, duration: float, version: str) -> list[Document]:
    annotations: list[Document] = []
    tracker: Document = {"beat_tracker": features.beat_tracker}
    if features.tempo is not None:
        points = features.tempo_curve or (TempoPoint(0.0, features.tempo),)
        ends = [*(point.time for point in points[1:]), duration]
        observations = [
            _span(point.time, end, point.tempo, features.tempo_confidence)
            for point, end in zip(points, ends, strict=True)
        ]
        annotations.append(_annotation("tempo", observations, duration, version, tracker))
    if features.key is not None:
        label = features.key.name.replace(" ", ":")
        observations = [_span(0.0, duration, label, features.key.confidence)]
        annotations.append(_annotation("key_mode", observations, duration, version))
    if features.beats:
        positions = bar_positions(features.beats, features.downbeats, features.beats_per_bar)
        observations = [
            _span(beat, beat, position, features.tempo_confidence)
            for beat, position in zip(features.beats, positions, strict=True)
        ]
        annotations.append(_annotation("beat", observations, duration, version, tracker))
    if features.downbeats:
        observations = [_span(beat, beat, 1, features.metre_confidence) for beat in features.downbeats]
        content: Document = {"content": "downbeats"}
        annotations.append(_annotation("beat", observations, duration, version, tracker, content))
    return annotations


def _annotation(
    namespace: str,
    observations: Sequence[Document],
    duration: float,
    version: str,
    annotator: Document | None = None,
    sandbox: Document | None = None,
) -> Document:
    metadata: Document = {
        "annotator": annotator or {},
        "version": version,
        "annotation_tools": f"{TOOL} {version}".rstrip(),
        # The schema's documentation names crowd, experts and programs as sources.
        "data_source": "program",
    }
    return {
        "namespace": namespace,
        "annotation_metadata": metadata,
        "data": list(observations),
        "sandbox": sandbox or {},
        "time": 0.0,
        "duration": round(duration, _DIGITS),
    }


def _span(start: float, end: float, value: str | float | None, confidence: float) -> Document:
    begin = round(max(0.0, start), _DIGITS)
    stop = max(begin, round(end, _DIGITS))
    duration = stop - begin
    if begin + duration > stop:
        # Readers add the two, and refuse a span that overlaps the next one by a rounding error.
        duration = math.nextafter(duration, 0.0)
    return {"time": begin, "duration": duration, "value": value, "confidence": confidence}
