"""Requests there and back, and every way in which they can be wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st

from mismo.analysis.v1 import audio_pb2, job_pb2, stage_pb2
from mismo.analysis.v1.job_service_pb2 import SubmitJobRequest, UpdateJobRequest
from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import InvalidFieldError, InvalidJobIdError, MismoError
from mismo_grpc.jobs.event_log import Ended, Heartbeat, JobView, SegmentsReady, WatchEvent
from mismo_grpc.jobs.job import (
    OUTPUT_RATES,
    Artifact,
    Job,
    JobFailure,
    JobOptions,
    JobRequest,
    JobState,
    Priority,
    Progress,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
    StemOptions,
)
from mismo_grpc.orchestration.job_changes import JobUpdate
from mismo_grpc.rpc.job_messages import job_message, watch_message
from mismo_grpc.rpc.job_requests import fingerprint, job_request, job_update
from mismo_grpc.rpc.values import ENCODINGS, duration, encoding_of, seconds_of, timestamp
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout
from tests.support.submits import request_message

UUID = "123e4567-e89b-12d3-a456-426614174000"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SECONDS = st.integers(0, 10**13).map(lambda micros: micros / 1e6)
STEM_NAMES = st.lists(TEXT.filter(bool), unique=True, max_size=6).map(tuple)
STEM_OPTIONS = st.builds(
    StemOptions,
    model=TEXT,
    stem_names=STEM_NAMES,
    playhead=st.none() | SECONDS.filter(lambda seconds: seconds < 1e7),
    shifts=st.integers(0, 20),
    overlap=st.floats(0, 0.95),
    encoding=st.sampled_from([Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE]),
    sample_rate=st.sampled_from((0, *OUTPUT_RATES)),
)
REQUESTS = st.builds(
    JobRequest,
    source=st.builds(Source, st.sampled_from([kind for kind in SourceKind if kind.value]), TEXT.filter(bool)),
    options=st.builds(JobOptions, stems=STEM_OPTIONS | st.builds(StemOptions, two_stems=TEXT)),
    request_id=st.just("") | st.uuids().map(str),
    job_id=st.from_regex(r"[A-Za-z0-9_-]{0,128}", fullmatch=True),
    priority=st.sampled_from(Priority),
    labels=st.dictionaries(TEXT.filter(bool), TEXT, max_size=4),
    result_ttl=st.none() | SECONDS.filter(lambda seconds: 0 < seconds < 1e9),
    validate_only=st.booleans(),
)


@given(REQUESTS)
def test_a_request_comes_back_as_it_was(request: JobRequest) -> None:
    wire = SubmitJobRequest.FromString(request_message(request).SerializeToString())
    assert replace(job_request(wire), fingerprint="") == request


@given(st.integers(-(10**15), 10**15).map(lambda micros: micros / 1e6))
def test_durations_come_back_as_they_were(seconds: float) -> None:
    assert seconds_of(duration(seconds), "x") == seconds


@given(st.floats(-1e9, 1e9))
def test_durations_keep_nanoseconds(seconds: float) -> None:
    assert math.isclose(seconds_of(duration(seconds), "x"), seconds, rel_tol=1e-15, abs_tol=1e-9)


@pytest.mark.parametrize("encoding", Encoding)
def test_every_encoding_has_its_number(encoding: Encoding) -> None:
    assert encoding_of(ENCODINGS[encoding], "x") is encoding
    assert audio_pb2.Encoding.Name(ENCODINGS[encoding]) == f"ENCODING_{encoding.name}"


def plain(**fields: Any) -> SubmitJobRequest:
    return SubmitJobRequest(source=job_pb2.Source(path="/music/a.wav"), **fields)


def with_options(**fields: Any) -> SubmitJobRequest:
    return plain(options=job_pb2.JobOptions(stems=stage_pb2.StemOptions(**fields)))


def test_the_least_request_asks_for_stems_of_the_default_model() -> None:
    request = job_request(plain())
    assert request == JobRequest(
        source=Source(SourceKind.PATH, "/music/a.wav"), fingerprint=request.fingerprint
    )
    assert job_request(with_options()).options == JobOptions()


def test_an_overlap_of_zero_is_not_the_default() -> None:
    assert job_request(with_options(overlap=0.0)).options.stems.overlap == 0.0
    assert job_request(with_options()).options.stems.overlap == 0.25


def unknown(name: str, number: int) -> SubmitJobRequest:
    request = plain()
    if name == "priority":
        request.priority = number  # pyright: ignore[reportAttributeAccessIssue]
    else:
        request.options.stems.output.encoding = number  # pyright: ignore[reportAttributeAccessIssue]
    return request


OVERFLOW = Duration(seconds=400_000_000_000)
MIXED = Duration(seconds=1, nanos=-1)

WRONG: list[tuple[SubmitJobRequest, type[MismoError], str]] = [
    (SubmitJobRequest(), InvalidFieldError, "source"),
    (SubmitJobRequest(source=job_pb2.Source()), InvalidFieldError, "source"),
    (SubmitJobRequest(source=job_pb2.Source(path="")), InvalidFieldError, "source.path"),
    (SubmitJobRequest(source=job_pb2.Source(upload_id="")), InvalidFieldError, "source.upload_id"),
    (SubmitJobRequest(source=job_pb2.Source(blob_uri="")), InvalidFieldError, "source.blob_uri"),
    (plain(request_id="not-a-uuid"), InvalidFieldError, "request_id"),
    (plain(request_id=f"{{{UUID}}}"), InvalidFieldError, "request_id"),
    (plain(job_id="../up"), InvalidJobIdError, "job_id"),
    (plain(job_id="x" * 129), InvalidJobIdError, "job_id"),
    (plain(job_id=".."), InvalidJobIdError, "job_id"),
    (plain(callback=job_pb2.Callback()), InvalidFieldError, "callback.url"),
    (plain(labels={"": "x"}), InvalidFieldError, "labels"),
    (plain(labels={"x": "y" * 257}), InvalidFieldError, "labels"),
    (plain(labels={str(i): "" for i in range(65)}), InvalidFieldError, "labels"),
    (plain(result_ttl=Duration()), InvalidFieldError, "result_ttl"),
    (plain(result_ttl=Duration(seconds=-1)), InvalidFieldError, "result_ttl"),
    (plain(result_ttl=OVERFLOW), InvalidFieldError, "result_ttl"),
    (unknown("priority", 99), InvalidFieldError, "priority"),
    (unknown("priority", -1), InvalidFieldError, "priority"),
    (unknown("encoding", 99), InvalidFieldError, "options.stems.output.encoding"),
    (plain(options=job_pb2.JobOptions(stages=[cast(Any, 99)])), InvalidFieldError, "options.stages"),
    (
        plain(options=job_pb2.JobOptions(stages=[stage_pb2.STAGE_UNSPECIFIED])),
        InvalidFieldError,
        "options.stages",
    ),
    (
        plain(options=job_pb2.JobOptions(stages=[stage_pb2.STAGE_STEMS] * 65)),
        InvalidFieldError,
        "options.stages",
    ),
    (
        plain(
            options=job_pb2.JobOptions(
                stages=[stage_pb2.STAGE_LOUDNESS], stems=stage_pb2.StemOptions(shifts=1)
            )
        ),
        InvalidFieldError,
        "options.stems",
    ),
    (
        plain(options=job_pb2.JobOptions(generation=stage_pb2.GenerationOptions(target_stems=["bass"]))),
        InvalidFieldError,
        "options.generation",
    ),
    (
        SubmitJobRequest(options=job_pb2.JobOptions(stages=[stage_pb2.STAGE_GENERATION])),
        InvalidFieldError,
        "options.generation",
    ),
    (
        plain(
            options=job_pb2.JobOptions(
                stages=[stage_pb2.STAGE_GENERATION],
                generation=stage_pb2.GenerationOptions(target_stems=["bass"]),
            )
        ),
        InvalidFieldError,
        "source",
    ),
    *(
        (
            plain(options=job_pb2.JobOptions(blob_upload=stage_pb2.BlobUploadOptions(prefix=prefix))),
            InvalidFieldError,
            "options.blob_upload.prefix",
        )
        for prefix in ("/a", "a/", "a//b", "..", "a/../b", ".a", "a b", "ä", "a\\b", "a" * 513)
    ),
    (with_options(playhead=Duration(seconds=-1)), InvalidFieldError, "options.stems.playhead"),
    (with_options(playhead=Duration(nanos=-1)), InvalidFieldError, "options.stems.playhead"),
    (with_options(playhead=OVERFLOW), InvalidFieldError, "options.stems.playhead"),
    (with_options(playhead=MIXED), InvalidFieldError, "options.stems.playhead"),
    (with_options(playhead=Duration(nanos=10**9)), InvalidFieldError, "options.stems.playhead"),
    (with_options(shifts=-1), InvalidFieldError, "options.stems.shifts"),
    (with_options(shifts=21), InvalidFieldError, "options.stems.shifts"),
    (with_options(overlap=1.0), InvalidFieldError, "options.stems.overlap"),
    (with_options(overlap=-0.1), InvalidFieldError, "options.stems.overlap"),
    (with_options(overlap=math.nan), InvalidFieldError, "options.stems.overlap"),
    (with_options(overlap=math.inf), InvalidFieldError, "options.stems.overlap"),
    (with_options(stem_names=["bass", "bass"]), InvalidFieldError, "options.stems.stem_names"),
    (with_options(stem_names=[""]), InvalidFieldError, "options.stems.stem_names"),
    (with_options(stem_names=[str(i) for i in range(65)]), InvalidFieldError, "options.stems.stem_names"),
    (with_options(stem_names=["bass"], two_stems="bass"), InvalidFieldError, "options.stems.two_stems"),
    (
        with_options(output=stage_pb2.OutputOptions(encoding=audio_pb2.ENCODING_FLAC)),
        InvalidFieldError,
        "options.stems.output.encoding",
    ),
    (
        with_options(output=stage_pb2.OutputOptions(sample_rate=-1)),
        InvalidFieldError,
        "options.stems.output.sample_rate",
    ),
]


@pytest.mark.parametrize(("request_", "kind", "field"), WRONG, ids=lambda value: str(value)[:60])
def test_a_wrong_request_names_its_field(
    request_: SubmitJobRequest, kind: type[MismoError], field: str
) -> None:
    with pytest.raises(kind) as caught:
        job_request(request_)
    assert type(caught.value) is kind
    assert caught.value.field == field
    assert field.split(".")[-1] in caught.value.message


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda r: setattr(r, "request_id", UUID), True),
        (lambda r: setattr(r, "validate_only", True), True),
        (lambda r: setattr(r, "job_id", "a"), False),
        (lambda r: setattr(r.source, "path", "/music/b.wav"), False),
        (lambda r: setattr(r.options.stems, "overlap", 0.25), False),
        (lambda r: r.labels.update({"x": "y"}), False),
        (lambda r: setattr(r, "priority", job_pb2.PRIORITY_HIGH), False),
    ],
)
def test_the_fingerprint_is_that_of_the_payload(
    change: Callable[[SubmitJobRequest], None], same: bool
) -> None:
    request = plain(labels={"a": "1", "b": "2"})
    before = fingerprint(request)
    change(request)
    assert (fingerprint(request) == before) is same


def test_the_order_of_labels_is_no_part_of_the_payload() -> None:
    assert fingerprint(plain(labels={"a": "1", "b": "2"})) == fingerprint(plain(labels={"b": "2", "a": "1"}))


def an_update(*paths: str, playhead: float | None = None, priority: int = 0) -> UpdateJobRequest:
    request = UpdateJobRequest(job_id="a", update_mask=FieldMask(paths=paths))
    request.priority = priority  # pyright: ignore[reportAttributeAccessIssue]
    if playhead is not None:
        request.playhead.CopyFrom(duration(playhead))
    return request


@pytest.mark.parametrize(
    ("request_", "update"),
    [
        (an_update(), JobUpdate()),
        (an_update(playhead=0.0), JobUpdate(None, sets_playhead=True, playhead=0.0)),
        (an_update(priority=3), JobUpdate(Priority.HIGH)),
        (an_update("playhead"), JobUpdate(None, sets_playhead=True)),
        (an_update("playhead", playhead=2.5), JobUpdate(None, sets_playhead=True, playhead=2.5)),
        (an_update("playhead", playhead=2.5, priority=3), JobUpdate(None, sets_playhead=True, playhead=2.5)),
        (an_update("priority", playhead=2.5, priority=1), JobUpdate(Priority.LOW)),
        (an_update("priority"), JobUpdate(Priority.NORMAL)),
        (an_update("priority", "playhead"), JobUpdate(Priority.NORMAL, sets_playhead=True)),
    ],
)
def test_an_update_changes_what_its_mask_names_else_what_is_set(
    request_: UpdateJobRequest, update: JobUpdate
) -> None:
    assert job_update(request_) == update


@pytest.mark.parametrize(
    ("request_", "field", "named"),
    [
        (an_update("playhead", "labels"), "update_mask", "'labels'"),
        (an_update("options.stems.playhead"), "update_mask", "'options.stems.playhead'"),
        (an_update("*"), "update_mask", "'\\*'"),
        (an_update(playhead=-1.0), "playhead", "0 to"),
        (an_update(playhead=1e7), "playhead", "0 to"),
        (an_update(priority=9), "priority", "9"),
    ],
)
def test_an_update_that_cannot_be_names_the_field(request_: UpdateJobRequest, field: str, named: str) -> None:
    with pytest.raises(InvalidFieldError, match=named) as caught:
        job_update(request_)
    assert caught.value.field == field


FAILURE = JobFailure("INVALID_ARGUMENT", "CORRUPT_AUDIO", "no frames", {"k": "v"}, retryable=True)
JOB = Job(
    job_id="track",
    run_id="run",
    revision=7,
    state=JobState.FAILED,
    priority=Priority.HIGH,
    source=Source(SourceKind.UPLOAD, "upload"),
    options=JobOptions(stems=StemOptions(model="htdemucs", playhead=1.5)),
    labels={"deck": "a"},
    model="mismo_lite",
    created_at=1_000.25,
    fallback_from="htdemucs",
    started_at=1_001.0,
    ended_at=1_002.0,
    expires_at=1_003.0,
    stages=(
        StageStatus(Stage.DECODE, StageState.SUCCEEDED, 1_001.0, 1_001.5),
        StageStatus(Stage.STEMS, StageState.FAILED, 1_001.5, 1_002.0, FAILURE),
    ),
    error=FAILURE,
    warnings=("a sample was NaN",),
    layout=StemLayout(("bass",), 44_100, 2, 99, Encoding.PCM_S24LE),
    time_to_first_audio=0.75,
    artifacts=(Artifact("stems.json", 12, "ab"), Artifact("stems.zip", 3456)),
    time_to_playhead_audio=1.5,
)
VIEW = JobView(JOB, Progress(0.5, 3.25, 2, 4, 8), RangeSet([(0, 10), (20, 99)]))


def test_a_job_tells_all_that_a_client_may_know() -> None:
    message = job_message(VIEW)
    assert message.job_id == "track"
    assert message.revision == 7
    assert message.state == job_pb2.JOB_STATE_FAILED
    assert message.priority == job_pb2.PRIORITY_HIGH
    assert message.source.upload_id == "upload"
    assert message.options.stems.model == "htdemucs"
    assert list(message.options.stages) == [stage_pb2.STAGE_STEMS]
    assert message.options.stems.playhead == duration(1.5)
    assert message.labels == {"deck": "a"}
    assert (message.model, message.fallback_from) == ("mismo_lite", "htdemucs")
    assert message.create_time.ToMicroseconds() == 1_000_250_000
    assert message.start_time == timestamp(1_001.0)
    assert message.end_time == timestamp(1_002.0)
    assert message.expire_time == timestamp(1_003.0)
    assert [(s.stage, s.state) for s in message.stages] == [
        (stage_pb2.STAGE_DECODE, stage_pb2.STAGE_STATE_SUCCEEDED),
        (stage_pb2.STAGE_STEMS, stage_pb2.STAGE_STATE_FAILED),
    ]
    assert message.stages[1].error == message.error
    assert message.error == stage_pb2.JobError(
        code=code_pb2.INVALID_ARGUMENT,
        reason="CORRUPT_AUDIO",
        message="no frames",
        metadata={"k": "v"},
        retryable=True,
    )
    assert message.progress.fraction == 0.5
    assert message.progress.eta == duration(3.25)
    assert (message.progress.queue_position, message.progress.segments_done) == (2, 4)
    assert message.progress.segments_total == 8
    stems = message.stem_set
    assert (list(stems.stem_names), stems.sample_rate, stems.channels, stems.total_frames) == (
        ["bass"],
        44_100,
        2,
        99,
    )
    assert stems.encoding == audio_pb2.ENCODING_PCM_S24LE
    assert [(r.start_frame, r.end_frame) for r in stems.ready] == [(0, 10), (20, 99)]
    assert list(message.artifacts) == [
        job_pb2.Artifact(name="stems.json", content_type="application/json", total_bytes=12, sha256="ab"),
        job_pb2.Artifact(name="stems.zip", content_type="application/zip", total_bytes=3456),
    ]
    assert message.time_to_playhead_audio == duration(1.5)
    assert not message.HasField("delete_time")
    deleted = job_message(JobView(replace(JOB, deleted_at=9.5), Progress(), RangeSet()))
    assert deleted.delete_time == timestamp(9.5)
    assert list(message.warnings) == ["a sample was NaN"]
    assert message.time_to_first_audio == duration(0.75)


def test_what_is_not_known_is_not_set() -> None:
    bare = replace(
        JOB,
        started_at=None,
        ended_at=None,
        expires_at=None,
        error=None,
        layout=None,
        time_to_first_audio=None,
        time_to_playhead_audio=None,
    )
    message = job_message(JobView(bare, Progress(), RangeSet()))
    unset = ("start_time", "end_time", "expire_time", "delete_time", "error", "stem_set")
    for name in (*unset, "time_to_first_audio", "time_to_playhead_audio"):
        assert not message.HasField(name), name
    assert not message.progress.HasField("eta")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (VIEW, "snapshot"),
        (JOB.stages[1], "stage"),
        (VIEW.progress, "progress"),
        (SegmentsReady(((0, 5), (7, 9)), "run-1"), "segment_ready"),
        (Heartbeat(), "heartbeat"),
        (Ended(VIEW), "terminal"),
    ],
)
def test_every_event_of_a_watch_has_its_form(body: Any, kind: str) -> None:
    message = watch_message(WatchEvent(9, 5.5, body), "epoch")
    assert message.WhichOneof("event") == kind
    assert (message.revision, message.server_epoch, message.time) == (9, "epoch", timestamp(5.5))
    if kind == "terminal":
        assert message.terminal.job == job_message(VIEW)
    if kind == "segment_ready":
        assert [(r.start_frame, r.end_frame) for r in message.segment_ready.ranges] == [(0, 5), (7, 9)]
        assert message.segment_ready.run_id == "run-1"


def test_every_domain_enum_has_its_number_in_the_contract() -> None:
    for domain, contract, prefix in (
        (Priority, job_pb2.Priority, "PRIORITY_"),
        (JobState, job_pb2.JobState, "JOB_STATE_"),
        (Stage, stage_pb2.Stage, "STAGE_"),
        (StageState, stage_pb2.StageState, "STAGE_STATE_"),
    ):
        for member in domain:
            assert contract.Value(prefix + member.name) == member.value
