"""The comparison of two tracks: relations of keys and tempi that hold by definition, and the bounds of the scores."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mismo_grpc.analysis import comparison
from mismo_grpc.analysis.comparison import (
    AnalysedTrack,
    camelot_distance,
    compare_tracks,
    key_relation,
    key_shift,
)
from mismo_grpc.analysis.results import (
    BasicFeaturesResult,
    CuePoint,
    Key,
    KeyRelation,
    Mode,
    TrackComparison,
    TransitionResult,
)

MAJOR, MINOR = Mode.MAJOR, Mode.MINOR
ALL_KEYS = [Key(tonic, mode) for mode in Mode for tonic in range(12)]


def track(
    tempo: float | None = 124.0,
    key: Key | None = ALL_KEYS[0],
    lufs: float | None = -9.0,
    mix_in: tuple[CuePoint, ...] = (CuePoint(0.0, 16, 0.5, 0.8), CuePoint(30.0, 8, 0.6, 0.5)),
    mix_out: tuple[CuePoint, ...] = (CuePoint(200.0, 16, 0.5, 0.7), CuePoint(230.0, 4, 0.4, 0.6)),
    energy: tuple[float, ...] = (0.5, 1.0, 0.9, 0.4),
    beats_per_bar: int = 4,
) -> AnalysedTrack:
    features = BasicFeaturesResult(
        duration=240.0,
        tempo=tempo,
        tempo_confidence=1.0,
        tempo_stability=1.0,
        tempo_curve=(),
        beats=(),
        downbeats=(),
        beats_per_bar=beats_per_bar,
        metre_confidence=1.0,
        key=key,
        tuning=440.0,
        integrated_lufs=lufs,
        loudness_range_lu=5.0,
        true_peak_dbtp=-1.0,
        dynamic_range_db=8.0,
        beat_tracker="pulse",
    )
    return AnalysedTrack(features, TransitionResult(mix_in, mix_out, 8, (), energy, 0.5))


unit = st.floats(0, 1)
cues = st.lists(
    st.builds(
        CuePoint, time=st.floats(0, 300), bars=st.sampled_from((4, 8, 16, 32)), energy=unit, score=unit
    ),
    max_size=8,
).map(tuple)
keys = st.sampled_from(ALL_KEYS)
tracks = st.builds(
    track,
    tempo=st.none() | st.floats(30, 300),
    key=st.none() | keys,
    lufs=st.none() | st.floats(-70, 5),
    mix_in=cues,
    mix_out=cues,
    energy=st.lists(unit, max_size=10).map(tuple),
    beats_per_bar=st.integers(0, 7),
)


def scores(result: TrackComparison) -> list[float]:
    return [result.tempo_score, result.key_score, result.energy_score, result.cue_score]


@pytest.mark.parametrize(
    ("key", "camelot"),
    [
        (Key(0, MAJOR), "8B"),
        (Key(9, MINOR), "8A"),
        (Key(7, MAJOR), "9B"),
        (Key(6, MINOR), "11A"),
        (Key(1, MAJOR), "3B"),
        (Key(8, MINOR), "1A"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_places_on_the_camelot_wheel(key: Key, camelot: str) -> None:
    assert key.camelot == camelot


def test_the_wheel_has_each_place_once() -> None:
    assert len({key.camelot for key in ALL_KEYS}) == 24


@given(keys, keys)
def test_the_distance_is_that_of_the_camelot_names(first: Key, second: Key) -> None:
    numbers = int(first.camelot[:-1]), int(second.camelot[:-1])
    around = (numbers[0] - numbers[1]) % 12
    expected = min(around, 12 - around) + (first.camelot[-1] != second.camelot[-1])
    assert camelot_distance(first, second) == camelot_distance(second, first) == expected


@pytest.mark.parametrize(
    ("outgoing", "incoming", "relation"),
    [
        (Key(0, MAJOR), Key(0, MAJOR), KeyRelation.SAME),
        (Key(0, MAJOR), Key(9, MINOR), KeyRelation.RELATIVE),
        (Key(9, MINOR), Key(0, MAJOR), KeyRelation.RELATIVE),
        (Key(0, MAJOR), Key(7, MAJOR), KeyRelation.FIFTH_UP),
        (Key(9, MINOR), Key(2, MINOR), KeyRelation.FIFTH_DOWN),
        (Key(0, MAJOR), Key(0, MINOR), KeyRelation.PARALLEL),
        (Key(11, MINOR), Key(1, MINOR), KeyRelation.TONE_UP),
        (Key(0, MAJOR), Key(6, MAJOR), KeyRelation.DISTANT),
        (Key(0, MAJOR), Key(4, MINOR), KeyRelation.DISTANT),
    ],
)
def test_relations_of_keys(outgoing: Key, incoming: Key, relation: KeyRelation) -> None:
    assert key_relation(outgoing, incoming) is relation


OPPOSITE = {KeyRelation.FIFTH_UP: KeyRelation.FIFTH_DOWN, KeyRelation.FIFTH_DOWN: KeyRelation.FIFTH_UP}


@given(keys, keys, st.integers(0, 11))
def test_relations_are_symmetric_and_the_same_in_all_keys(first: Key, second: Key, up: int) -> None:
    there, back = key_relation(first, second), key_relation(second, first)
    if KeyRelation.TONE_UP in (there, back):
        assert {there, back} == {KeyRelation.TONE_UP, KeyRelation.DISTANT}
    else:
        assert back is OPPOSITE.get(there, there)
    moved = [Key((key.tonic + up) % 12, key.mode) for key in (first, second)]
    assert key_relation(*moved) is there


@given(keys, keys)
def test_the_shift_leads_to_a_key_that_fits_and_none_is_nearer(outgoing: Key, incoming: Key) -> None:
    shift = key_shift(outgoing, incoming)
    assert -6 <= shift <= 6

    def fits(by: int) -> bool:
        shifted = Key((incoming.tonic + by) % 12, incoming.mode)
        return key_relation(outgoing, shifted) in (
            KeyRelation.SAME,
            KeyRelation.RELATIVE,
            KeyRelation.FIFTH_UP,
            KeyRelation.FIFTH_DOWN,
        )

    assert fits(shift)
    assert not any(fits(by) for by in range(-abs(shift) + 1, abs(shift)))


@pytest.mark.parametrize(
    ("outgoing", "incoming", "ratio"),
    [
        (120.0, 126.0, 1.05),
        (126.0, 120.0, 0.95238),
        (87.0, 174.0, 1.0),
        (174.0, 87.0, 1.0),
        (90.0, 170.0, 0.94444),
    ],
)
def test_the_tempo_ratio_after_doubling_or_halving(outgoing: float, incoming: float, ratio: float) -> None:
    result = compare_tracks(track(outgoing), track(incoming))
    assert result.tempo_ratio == pytest.approx(ratio, abs=1e-5)
    assert result.incoming_speed == pytest.approx(1 / ratio, abs=2e-5)


@settings(max_examples=40, deadline=None)
@given(tracks, tracks)
def test_all_values_are_in_their_ranges(outgoing: AnalysedTrack, incoming: AnalysedTrack) -> None:
    result = compare_tracks(outgoing, incoming)
    assert all(0.0 <= value <= 1.0 for value in (*scores(result), result.score))
    weights = (
        comparison.TEMPO_WEIGHT,
        comparison.KEY_WEIGHT,
        comparison.ENERGY_WEIGHT,
        comparison.CUE_WEIGHT,
    )
    assert sum(weights) == pytest.approx(1.0)
    assert result.score == pytest.approx(
        sum(w * s for w, s in zip(weights, scores(result), strict=True)), abs=2e-4
    )
    lacks_tempo = outgoing.features.tempo is None or incoming.features.tempo is None
    assert (result.tempo_ratio is None) == (result.incoming_speed is None) == lacks_tempo
    lacks_key = outgoing.features.key is None or incoming.features.key is None
    assert (
        (result.key_relation is None)
        == (result.camelot_distance is None)
        == (result.key_shift is None)
        == lacks_key
    )
    pairs = result.cue_pairs
    assert len(pairs) == min(5, len(outgoing.transition.mix_out) * len(incoming.transition.mix_in))
    assert [pair.score for pair in pairs] == sorted((pair.score for pair in pairs), reverse=True)
    assert {pair.mix_out for pair in pairs} <= {cue.time for cue in outgoing.transition.mix_out}
    assert {pair.mix_in for pair in pairs} <= {cue.time for cue in incoming.transition.mix_in}
    assert all(pair.bars >= 1 and 0.0 <= pair.score <= 1.0 for pair in pairs)
    assert result.cue_score == (pairs[0].score if pairs else 0.0)


@settings(max_examples=40, deadline=None)
@given(tracks, tracks)
def test_tempo_and_energy_are_the_same_in_both_orders(first: AnalysedTrack, second: AnalysedTrack) -> None:
    there, back = compare_tracks(first, second), compare_tracks(second, first)
    assert there.tempo_score == pytest.approx(back.tempo_score, abs=1e-4)
    assert there.energy_score == pytest.approx(back.energy_score, abs=1e-4)
    if there.loudness_difference_lu is not None:
        assert there.loudness_difference_lu == -(back.loudness_difference_lu or 0.0)


@settings(max_examples=40, deadline=None)
@given(tracks, tracks)
def test_no_track_fits_better_in_tempo_key_and_energy_than_itself(
    one: AnalysedTrack, other: AnalysedTrack
) -> None:
    itself, result = compare_tracks(one, one), compare_tracks(one, other)
    if one.features.tempo is not None:
        assert itself.tempo_score == 1.0 >= result.tempo_score
        assert itself.tempo_ratio == itself.incoming_speed == 1.0
    if one.features.key is not None:
        assert itself.key_score == 1.0 >= result.key_score
        assert (itself.key_relation, itself.camelot_distance, itself.key_shift) == (KeyRelation.SAME, 0, 0)
    if one.features.integrated_lufs is not None and one.transition.energy:
        assert itself.energy_score == 1.0 >= result.energy_score
        assert itself.loudness_difference_lu == 0.0


def test_a_track_without_tempo_key_and_loudness_still_has_a_score() -> None:
    result = compare_tracks(track(), track(None, None, None))
    assert (result.tempo_ratio, result.key_relation, result.loudness_difference_lu) == (None, None, None)
    assert 0.0 < result.score < compare_tracks(track(), track()).score


def test_the_best_pair_has_good_cue_points_of_the_same_length_and_energy() -> None:
    best, second = compare_tracks(track(), track()).cue_pairs[:2]
    assert (best.mix_out, best.mix_in, best.bars) == (200.0, 0.0, 16)
    assert best.score > second.score
    # 0.5 · (0.7 + 0.8) / 2 + 0.25 + 0.25
    assert best.score == pytest.approx(0.875)


def test_bars_at_twice_the_tempo_are_half_as_long() -> None:
    slow = track(87.0, mix_out=(CuePoint(200.0, 8, 0.5, 0.7),))
    fast = track(174.0, mix_in=(CuePoint(0.0, 16, 0.5, 0.7),))
    assert compare_tracks(slow, fast).cue_pairs[0].bars == 8
    assert compare_tracks(slow, fast).cue_pairs[0].score == pytest.approx(0.85)


def test_bars_of_three_beats_do_not_match_bars_of_four() -> None:
    three, four = compare_tracks(track(beats_per_bar=3), track()), compare_tracks(track(), track())
    assert four.cue_score - three.cue_score == pytest.approx(comparison.PAIR_BARS_WEIGHT)


def test_the_number_of_pairs_is_limited() -> None:
    assert compare_tracks(track(), track(), max_cue_pairs=0).cue_pairs == ()
    assert len(compare_tracks(track(), track(), max_cue_pairs=3).cue_pairs) == 3
    assert len(compare_tracks(track(), track()).cue_pairs) == 4
    with pytest.raises(ValueError, match="negative"):
        compare_tracks(track(), track(), max_cue_pairs=-1)


def test_the_confidence_of_a_key_does_not_change_its_relations() -> None:
    sure = track(key=replace(ALL_KEYS[3], confidence=0.9))
    assert compare_tracks(sure, track(key=ALL_KEYS[3])).key_relation is KeyRelation.SAME
