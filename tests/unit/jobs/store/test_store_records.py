"""Records: what is stored of a job is the job, also for a neighbouring version."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import StoreError
from mismo_grpc.jobs.job import (
    Artifact,
    Delivery,
    DeliveryMode,
    Job,
    JobFailure,
    JobOptions,
    JobState,
    Priority,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
    StemOptions,
)
from mismo_grpc.jobs.store.records import cache_key, job_from_json, job_to_json
from mismo_grpc.separation.rates import OUTPUT_RATES
from mismo_grpc.separation.stems import StemLayout

TIMES = st.floats(0, 4e9)
NAMES = st.text(max_size=12)
STEM_OPTIONS = st.builds(
    StemOptions,
    model=NAMES,
    stem_names=st.just(()),
    two_stems=NAMES,
    playhead=st.none() | st.floats(0, 9e6),
    shifts=st.integers(0, 20),
    overlap=st.floats(0, 0.95),
    encoding=st.sampled_from([e for e in Encoding if e is not Encoding.FLAC]),
    sample_rate=st.sampled_from((0, *OUTPUT_RATES)),
) | st.builds(StemOptions, stem_names=st.lists(NAMES, max_size=4).map(tuple))
OPTIONS = st.builds(
    JobOptions, stages=st.lists(st.sampled_from(Stage), max_size=4).map(tuple), stems=STEM_OPTIONS
)
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


def by_its_type(hint: Any) -> st.SearchStrategy[object]:
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
        "labels": st.dictionaries(NAMES, NAMES, max_size=3),
        "error": st.none() | FAILURES,
        "stages": st.lists(STATUSES, max_size=3).map(tuple),
    },
)


def a_job() -> Job:
    return Job(
        job_id="a",
        run_id="r1",
        revision=1,
        state=JobState.QUEUED,
        priority=Priority.NORMAL,
        source=Source(SourceKind.PATH, "/music/a.wav"),
        options=JobOptions(),
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


FAILURE = JobFailure("INTERNAL", "DECODE", "no", {"k": "v"}, retryable=True)
FULL_JOB = replace(
    a_job(),
    revision=37,
    state=JobState.FAILED,
    priority=Priority.HIGH,
    options=JobOptions(
        stems=StemOptions("", ("drums", "bass"), "", 12.5, 1, 0.25, Encoding.PCM_F32LE, 44100)
    ),
    result_ttl=3600.0,
    started_at=101.0,
    stages=(
        StageStatus(Stage.DECODE, StageState.SUCCEEDED, 101.0, 102.5),
        StageStatus(Stage.STEMS, StageState.FAILED, 102.5, 103.0, FAILURE),
    ),
    error=FAILURE,
    warnings=("short", "\udc80\0\N{BOMB}"),
    layout=StemLayout(("drums", "bass"), 44100, 2, 10_000_000, Encoding.PCM_F32LE),
    segments_total=40,
    model_fingerprint="f00d cpu fp32",
    source_mtime_ns=1_700_000_000_123_456_789,
    stem_sha256=("e0", "e1"),
    delivery=Delivery("http://app:3000/", DeliveryMode.PATH),
)
# As the migrations bring forward what the version before `result_bytes` wrote.
FULL_RECORD = (
    r'{"job_id":"a","run_id":"r1","revision":37,"state":"FAILED","priority":"HIGH",'
    r'"source":{"kind":"PATH","location":"/music/a.wav"},'
    r'"options":{"stages":["STEMS"],"stems":{"model":"","stem_names":["drums","bass"],"two_stems":"","playhead":12.5,"shifts":1,'
    r'"overlap":0.25,"encoding":"PCM_F32LE","sample_rate":44100}},"labels":{"deck":"1"},"model":"htdemucs",'
    r'"created_at":100.0,"fallback_from":"","result_ttl":3600.0,"started_at":101.0,"ended_at":null,'
    r'"expires_at":null,"stages":[{"stage":"DECODE","state":"SUCCEEDED","started_at":101.0,'
    r'"ended_at":102.5,"error":null,"attempts":0},{"stage":"STEMS","state":"FAILED","started_at":102.5,"ended_at":103.0,'
    r'"error":{"grpc_code":"INTERNAL","reason":"DECODE","message":"no","metadata":{"k":"v"},'
    r'"retryable":true},"attempts":0}],"error":{"grpc_code":"INTERNAL","reason":"DECODE","message":"no",'
    r'"metadata":{"k":"v"},"retryable":true},"warnings":["short","\udc80\u0000\ud83d\udca3"],'
    r'"layout":{"stem_names":["drums","bass"],"sample_rate":44100,"channels":2,"total_frames":10000000,'
    r'"encoding":"PCM_F32LE"},"segments_done":0,"segments_total":40,"time_to_first_audio":null,'
    r'"model_fingerprint":"f00d cpu fp32",'
    r'"source_sha256":"","source_bytes":0,"source_mtime_ns":1700000000123456789,"artifacts":[],'
    r'"stem_sha256":["e0","e1"],"cache_hit":false,'
    r'"delivery":{"callback_url":"http://app:3000/","mode":"PATH"}}'
)


def test_a_record_keeps_its_form() -> None:
    assert job_from_json(FULL_RECORD) == FULL_JOB
    kept = json.loads(FULL_RECORD)
    for stage in kept["stages"]:
        stage |= {"result": None, "version": "", "next_attempt_at": None}
    kept["options"] |= {"generation": None, "blob_prefix": "", "export": None}
    since = {
        "playhead_moved": False,
        "result_bytes": 0,
        "time_to_playhead_audio": None,
        "deleted_at": None,
        "dead_letter": False,
        "blobs": [],
    }
    assert json.loads(job_to_json(FULL_JOB)) == kept | since
    assert job_from_json(job_to_json(FULL_JOB)) == FULL_JOB


def test_fields_of_a_later_version_are_passed_over() -> None:
    fields = json.loads(job_to_json(a_job()))
    fields["mood"] = {"happy": 1}
    fields["options"]["stems"]["reverb"] = 0.5
    fields["stages"][0]["host"] = 2
    assert job_from_json(json.dumps(fields)) == a_job()


def test_stages_of_a_later_version_are_passed_over() -> None:
    job = replace(a_job(), options=JobOptions((Stage.STEMS,)))
    fields = json.loads(job_to_json(job))
    fields["options"]["stages"].append("LYRICS")
    fields["stages"].append({**fields["stages"][0], "stage": "LYRICS", "result": {"words": ["la"]}})
    assert job_from_json(json.dumps(fields)) == job


def test_fields_that_an_earlier_version_did_not_store_take_their_defaults() -> None:
    fields = json.loads(job_to_json(replace(a_job(), warnings=("x",), artifacts=(Artifact("stems.zip"),))))
    del fields["warnings"], fields["artifacts"], fields["options"]["stems"]["overlap"]
    assert job_from_json(json.dumps(fields)) == a_job()


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda fields: fields.pop("run_id"), "run_id: "),
        (lambda fields: fields.update(state="PAUSED"), "state: .*'QUEUED'"),
        (lambda fields: fields.update(state=1), "state: "),
        (lambda fields: fields.update(revision="one"), "revision: "),
        (lambda fields: fields.update(labels=[1]), "labels: "),
        (lambda fields: fields.update(stages=[None]), r"stages\.0: "),
        (lambda fields: fields["options"]["stems"].update(overlap=7.0), r"options\.stems\.overlap must be"),
    ],
)
def test_a_record_that_is_no_job_is_named_as_such(spoil, fault: str) -> None:
    fields = json.loads(job_to_json(a_job()))
    spoil(fields)
    with pytest.raises(StoreError, match=rf"a stored job cannot be read \({fault}.*start the version"):
        job_from_json(json.dumps(fields))


@pytest.mark.parametrize("record", ["", "{", "[]", "null"])
def test_what_is_no_record_is_named_as_such(record: str) -> None:
    with pytest.raises(StoreError, match="a stored job cannot be read"):
        job_from_json(record)


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
    other = replace(a_job(), options=JobOptions(stems=replace(StemOptions(), **change)))
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
        options=JobOptions(stems=StemOptions(model="htdemucs", playhead=30.0)),
    )
    assert cache_key(other) == cache_key(a_job())
    names = [
        replace(a_job(), options=JobOptions(stems=StemOptions(stem_names=n)))
        for n in [("a", "b"), ("b", "a", "b")]
    ]
    assert cache_key(names[0]) == cache_key(names[1])
