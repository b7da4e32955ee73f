"""JAMS documents: the jams library validates them, and mir_eval compares them with the truth of a composition."""

from __future__ import annotations

import json
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from mismo_grpc.analysis.jams import annotation_jams, bar_positions
from mismo_grpc.analysis.results import (
    PITCH_NAMES,
    BasicFeaturesResult,
    Chord,
    ChordsResult,
    Key,
    Mode,
    Section,
    SectionRole,
    SectionsResult,
    TempoPoint,
)
from mismo_grpc.generation.annotation import Annotation, annotate, nearest_mode
from mismo_grpc.generation.composer import Brief, compose
from tests.support.packages import optional

with warnings.catch_warnings():
    # Of the library's own imports.
    warnings.simplefilter("ignore")
    jams, mir_eval = optional("jams"), optional("mir_eval")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
NAMESPACES = ["tempo", "key_mode", "beat", "beat", "segment_open", "chord"]
LATE = 0.02


@pytest.fixture(scope="module")
def truth() -> Annotation:
    return annotate(compose(Brief(50, key="F# minor", tempo_end=120.0), 4))


def basic(truth: Annotation, late: float = 0.0, **changes: Any) -> BasicFeaturesResult:
    beats = [round(beat + late, 4) for beat in truth.beats]
    fields: dict[str, Any] = {
        "duration": truth.sections[-1].end,
        "tempo": truth.tempo,
        "tempo_confidence": 0.9,
        "tempo_stability": 0.8,
        "tempo_curve": (),
        "beats": tuple(beats),
        "downbeats": tuple(beats[:: truth.beats_per_bar]),
        "beats_per_bar": truth.beats_per_bar,
        "metre_confidence": 0.7,
        "key": Key(truth.key.tonic, Mode(nearest_mode(truth.key.mode)), 0.6),
        "tuning": 440.0,
        "integrated_lufs": None,
        "loudness_range_lu": None,
        "true_peak_dbtp": None,
        "dynamic_range_db": None,
        "beat_tracker": "pulse",
    }
    return BasicFeaturesResult(**{**fields, **changes})


def sections(truth: Annotation) -> SectionsResult:
    names = sorted({span.label for span in truth.sections})
    return SectionsResult(
        tuple(
            Section(
                s.start, s.end, "ABCDE"[names.index(s.label)], SectionRole.INTRO if not n else None, 0.5, 0.4
            )
            for n, s in enumerate(truth.sections)
        )
    )


def chords(truth: Annotation) -> ChordsResult:
    return ChordsResult(tuple(Chord(s.start, s.end, s.label, 0.8) for s in truth.chords), "mix")


def document(truth: Annotation, late: float = 0.0, **changes: Any) -> dict[str, Any]:
    return annotation_jams(
        basic(truth, late, **changes),
        sections(truth),
        chords(truth),
        duration=truth.sections[-1].end,
        title="Träume",
        version="1.2.3",
    )


def loaded(written: dict[str, Any], folder: Path) -> Any:
    """The document after a file, validated strictly."""
    path = folder / "song.jams"
    path.write_text(json.dumps(written, allow_nan=False))
    jam = jams.load(str(path), validate=True, strict=True)
    assert jam.validate(strict=True)
    return jam


def test_the_library_validates_a_document_and_reads_all_of_it(truth: Annotation, tmp_path: Path) -> None:
    jam = loaded(document(truth), tmp_path)
    assert [annotation.namespace for annotation in jam.annotations] == NAMESPACES
    assert jam.file_metadata.title == "Träume"
    assert jam.file_metadata.duration == pytest.approx(truth.sections[-1].end, abs=1e-5)
    tempo, key, beats, downbeats, found_sections, _ = jam.annotations
    assert [o.value for o in tempo.data] == [truth.tempo]
    assert [(o.value, o.confidence) for o in key.data] == [("F#:minor", 0.6)]
    assert [o.time for o in downbeats.data] == pytest.approx(truth.downbeats, abs=1e-4)
    assert downbeats.sandbox.content == "downbeats"
    assert [o.time for o in beats.data if o.value == 1] == [o.time for o in downbeats.data]
    assert found_sections.sandbox.roles[:2] == ["intro", None]
    for annotation in jam.annotations:
        assert annotation.annotation_metadata.version == "1.2.3"
        assert annotation.annotation_metadata.annotation_tools == "mismo_grpc 1.2.3"
        assert all(0 <= o.confidence <= 1 for o in annotation.data)


def test_mir_eval_compares_a_document_with_the_truth(truth: Annotation, tmp_path: Path) -> None:
    reference, estimate = (loaded(document(truth, late), tmp_path) for late in (0.0, LATE))
    beat, downbeat = (
        jams.eval.beat(reference.search(namespace="beat")[i], estimate.search(namespace="beat")[i])
        for i in (0, 1)
    )
    assert beat["F-measure"] == downbeat["F-measure"] == 1.0
    assert beat["Cemgil"] < 0.95
    for name, measure, score in (
        ("segment_open", jams.eval.segment, "F-measure@0.5"),
        ("chord", jams.eval.chord, "sevenths"),
    ):
        ref, est = (jam.search(namespace=name)[0] for jam in (reference, estimate))
        assert measure(ref, est)[score] == pytest.approx(1.0)
    other = loaded(
        annotation_jams(None, None, ChordsResult((Chord(0, 50, "N", 0.1),), "mix"), duration=50), tmp_path
    )
    scores = jams.eval.chord(reference.search(namespace="chord")[0], other.search(namespace="chord")[0])
    assert scores["majmin"] < 0.05
    key, tempo = (estimate.search(namespace=name)[0].data[0].value for name in ("key_mode", "tempo"))
    assert mir_eval.key.weighted_score("F# minor", key.replace(":", " ")) == 1.0
    assert tempo == truth.tempo


def test_all_keys_are_written_as_the_namespace_has_them(truth: Annotation, tmp_path: Path) -> None:
    for tonic, name in enumerate(PITCH_NAMES):
        for mode in Mode:
            jam = loaded(document(truth, key=Key(tonic, mode, 0.5)), tmp_path)
            assert jam.search(namespace="key_mode")[0].data[0].value == f"{name}:{mode.value}"


def test_spans_that_touch_do_not_overlap_when_time_and_duration_are_added(truth: Annotation) -> None:
    times = np.sort(np.random.default_rng(1).uniform(0, 7200, 5000)).tolist()
    spans = ChordsResult(tuple(Chord(a, b, "N", 0.0) for a, b in pairwise(times)), "mix")
    (written,) = cast("Any", annotation_jams(None, None, spans, duration=7200.0))["annotations"]
    for one, two in pairwise(written["data"]):
        assert one["time"] + one["duration"] <= two["time"] < one["time"] + one["duration"] + 1e-9


def test_a_moving_tempo_has_an_observation_for_each_point(truth: Annotation, tmp_path: Path) -> None:
    curve = (TempoPoint(0.0, 100.0), TempoPoint(20.0, 110.0), TempoPoint(35.5, 120.0))
    data = loaded(document(truth, tempo_curve=curve), tmp_path).search(namespace="tempo")[0].data
    end = truth.sections[-1].end
    assert [(o.time, o.value) for o in data] == [(p.time, p.tempo) for p in curve]
    assert [o.duration for o in data] == pytest.approx([20.0, 15.5, end - 35.5], abs=1e-5)


def test_only_what_was_found_is_written(truth: Annotation, tmp_path: Path) -> None:
    empty = basic(truth, tempo=None, beats=(), downbeats=(), beats_per_bar=0, key=None)
    assert not loaded(annotation_jams(None, None, None, duration=3.0), tmp_path).annotations
    assert not loaded(
        annotation_jams(empty, SectionsResult(()), ChordsResult((), "mix"), duration=3.0), tmp_path
    ).annotations
    only = loaded(annotation_jams(None, sections(truth), None, duration=60.0), tmp_path)
    assert [annotation.namespace for annotation in only.annotations] == ["segment_open"]


def test_beats_without_bars_have_no_position(truth: Annotation, tmp_path: Path) -> None:
    jam = loaded(document(truth, downbeats=(), beats_per_bar=0), tmp_path)
    (beats,) = jam.search(namespace="beat")
    assert {o.value for o in beats.data} == {None}


def test_the_same_results_give_the_same_text(truth: Annotation) -> None:
    assert json.dumps(document(truth)) == json.dumps(document(truth))


@pytest.mark.parametrize(
    ("downbeats", "beats_per_bar", "positions"),
    [
        ((0, 4), 4, (1, 2, 3, 4, 1, 2)),
        ((1, 4), 3, (3, 1, 2, 3, 1, 2)),
        ((5,), 4, (4, 1, 2, 3, 4, 1)),
        ((2, 4), 0, (None, None, 1, 2, 1, 2)),
        ((), 4, (None,) * 6),
    ],
)
def test_beats_are_counted_from_the_downbeat_before_or_back_from_the_first(
    downbeats: tuple[int, ...], beats_per_bar: int, positions: tuple[int | None, ...]
) -> None:
    assert bar_positions(range(6), downbeats, beats_per_bar) == positions
