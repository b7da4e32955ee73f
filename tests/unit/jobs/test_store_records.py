"""Records: what is stored of a job is the job, also for a neighbouring version."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import StoreError
from mismo_grpc.jobs.events import Event, EventKind
from mismo_grpc.jobs.job import (
    Job,
    JobFailure,
    JobState,
    Priority,
    SeparationOptions,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
)
from mismo_grpc.jobs.records import body_to_json, cache_key, event_from_json, job_from_json, job_to_json
from mismo_grpc.separation.rates import OUTPUT_RATES

TIMES = st.floats(0, 4e9)
NAMES = st.text(max_size=12)
OPTIONS = st.builds(
    SeparationOptions,
    model=NAMES,
    stem_names=st.just(()),
    two_stems=NAMES,
    playhead=st.none() | st.floats(0, 9e6),
    shifts=st.integers(0, 20),
    overlap=st.floats(0, 0.95),
    encoding=st.sampled_from([e for e in Encoding if e is not Encoding.FLAC]),
    sample_rate=st.sampled_from((0, *OUTPUT_RATES)),
) | st.builds(SeparationOptions, stem_names=st.lists(NAMES, max_size=4).map(tuple))
FAILURES = st.builds(
    JobFailure, NAMES, NAMES, NAMES, st.dictionaries(NAMES, NAMES, max_size=3), st.booleans()
)
STATUSES = st.builds(
    StageStatus,
    st.sampled_from(Stage),
    st.sampled_from(StageState),
    st.none() | TIMES,
    st.none() | TIMES,
    st.none() | FAILURES,
)


def by_its_type(hint: object) -> st.SearchStrategy[object]:
    """Any value of a field, but for NaN, which equals nothing."""
    if hint is float:
        return TIMES
    return st.none() | TIMES if hint == float | None else st.from_type(hint)


# Every field, also those that later versions add.
JOBS = st.builds(
    Job,
    **{name: by_its_type(hint) for name, hint in get_type_hints(Job).items()}
    | {
        "options": OPTIONS,
        "error": st.none() | FAILURES,
        "stages": st.lists(STATUSES, max_size=3).map(tuple),
    },
)


def a_job() -> Job:
    return Job(
        job_id="a",
        run="r1",
        revision=1,
        state=JobState.QUEUED,
        priority=Priority.NORMAL,
        source=Source(SourceKind.PATH, "/music/a.wav"),
        options=SeparationOptions(),
        labels={"deck": "1"},
        model="htdemucs",
        created_at=100.0,
    )


@given(JOBS)
def test_a_job_comes_back_from_its_record_as_it_was(job: Job) -> None:
    record = job_to_json(job)
    assert job_from_json(record) == job
    assert record.isascii()
    assert "\0" not in record


@given(STATUSES, st.integers(0, 2**40), TIMES)
def test_a_stage_event_comes_back_as_it_was(status: StageStatus, revision: int, time: float) -> None:
    event = Event(revision, time, EventKind.STAGE, status)
    assert event_from_json(revision, time, int(event.kind), body_to_json(event)) == event


@pytest.mark.parametrize(
    "event",
    [
        Event(3, 1.5, EventKind.SEGMENT_READY, ((0, 257_985), (515_970, 773_955))),
        Event(3, 1.5, EventKind.SEGMENT_READY, ()),
        Event(4, 2.0, EventKind.TERMINAL),
        Event(5, 2.5, EventKind.UPDATED, None),
    ],
)
def test_other_events_come_back_as_they_were(event: Event) -> None:
    assert event_from_json(event.revision, event.time, int(event.kind), body_to_json(event)) == event


def test_fields_of_a_later_version_are_passed_over() -> None:
    fields = json.loads(job_to_json(a_job()))
    fields["mood"] = {"happy": 1}
    fields["options"]["reverb"] = 0.5
    fields["stages"][0]["attempt"] = 2
    assert job_from_json(json.dumps(fields)) == a_job()


def test_fields_that_an_earlier_version_did_not_store_take_their_defaults() -> None:
    fields = json.loads(job_to_json(replace(a_job(), warnings=("x",), artifacts=("stems.zip",))))
    del fields["warnings"], fields["artifacts"], fields["options"]["overlap"]
    assert job_from_json(json.dumps(fields)) == a_job()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fields: fields.pop("run"),
        lambda fields: fields.update(state="PAUSED"),
        lambda fields: fields.update(revision="1"),
        lambda fields: fields.update(labels=[1]),
        lambda fields: fields.update(stages=[None]),
        lambda fields: fields["options"].update(overlap=7.0),
    ],
)
def test_a_record_that_is_no_job_is_named_as_such(spoil) -> None:
    fields = json.loads(job_to_json(a_job()))
    spoil(fields)
    with pytest.raises(StoreError, match=r"a stored job cannot be read .* start the version that wrote it"):
        job_from_json(json.dumps(fields))


@pytest.mark.parametrize(("kind", "body"), [(99, "null"), (int(EventKind.STAGE), "{"), (2, "[[1]]")])
def test_a_row_that_is_no_event_is_named_as_such(kind: int, body: str) -> None:
    with pytest.raises(StoreError, match="a stored event"):
        event_from_json(1, 1.0, kind, body)


@pytest.mark.parametrize(
    "change",
    [
        {"stem_names": ("drums",)},
        {"two_stems": "vocals"},
        {"shifts": 1},
        {"overlap": 0.5},
        {"encoding": Encoding.PCM_F32LE},
        {"sample_rate": 48_000},
    ],
)
def test_every_option_that_changes_the_result_changes_the_cache_key(change: dict[str, object]) -> None:
    other = replace(a_job(), options=replace(SeparationOptions(), **change))
    assert cache_key(other) != cache_key(a_job())


def test_the_model_that_did_the_work_changes_the_cache_key() -> None:
    assert cache_key(replace(a_job(), model="mismo_lite")) != cache_key(a_job())


def test_what_does_not_change_the_result_leaves_the_cache_key() -> None:
    other = replace(
        a_job(),
        job_id="b",
        priority=Priority.HIGH,
        labels={},
        source=Source(SourceKind.UPLOAD, "x"),
        options=SeparationOptions(model="htdemucs", playhead=30.0),
    )
    assert cache_key(other) == cache_key(a_job())
    names = [replace(a_job(), options=SeparationOptions(stem_names=n)) for n in [("a", "b"), ("b", "a", "b")]]
    assert cache_key(names[0]) == cache_key(names[1])
