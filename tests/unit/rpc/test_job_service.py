"""JobService over the wire."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from mismo.analysis.v1 import job_pb2, stage_pb2
from mismo.analysis.v1 import job_service_pb2 as pb
from mismo_grpc.analysis.results import Chord, ChordsResult
from mismo_grpc.jobs.job import Stage, StageState, StageStatus
from mismo_grpc.rpc import job_service
from tests.support.results import BASIC_FEATURES
from tests.unit.rpc.conftest import DONE, FRAMES, Served
from tests.unit.rpc.wire import drained, refused

pytestmark = pytest.mark.service


def submit(served: Served, **fields: Any) -> pb.SubmitJobRequest:
    return pb.SubmitJobRequest(source=job_pb2.Source(path=str(served.track)), **fields)


async def test_a_finished_job_is_told_whole(served: Served) -> None:
    job = (await served.jobs.GetJob(pb.GetJobRequest(job_id=DONE))).job
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert job.stem_set.total_frames == FRAMES
    assert [(r.start_frame, r.end_frame) for r in job.stem_set.ready] == [(0, FRAMES)]
    assert job.progress.fraction == 1.0
    assert {"stems.zip", "stems.json", "waveform-bass.dat", "waveform-bass.json"} <= {
        artifact.name for artifact in job.artifacts
    }
    assert job.time_to_first_audio.ToNanoseconds() > 0


@pytest.mark.parametrize("job_id", ["nowhere", ""])
async def test_a_job_that_is_not_there(served: Served, job_id: str) -> None:
    wanted = (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", ())
    if not job_id:
        wanted = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ("job_id",))
    for call in (
        served.jobs.GetJob(pb.GetJobRequest(job_id=job_id)),
        served.jobs.CancelJob(pb.CancelJobRequest(job_id=job_id)),
        served.jobs.UpdateJob(pb.UpdateJobRequest(job_id=job_id)),
        served.jobs.DeleteJob(pb.DeleteJobRequest(job_id=job_id)),
        drained(served.jobs.WatchJob(pb.WatchJobRequest(job_id=job_id))),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason, refusal.fields) == wanted


async def test_an_invalid_field_is_named_in_the_status(served: Served) -> None:
    request = submit(served, options=job_pb2.JobOptions(stems=stage_pb2.StemOptions(shifts=99)))
    refusal = await refused(served.jobs.SubmitJob(request))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert refusal.fields == ("options.stems.shifts",)
    request = submit(
        served, options=job_pb2.JobOptions(stages=[stage_pb2.STAGE_STEMS, stage_pb2.STAGE_BLOB_UPLOAD])
    )
    refusal = await refused(served.jobs.SubmitJob(request))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SUPPORTED_YET")
    assert refusal.fields == ("options.stages",)


async def test_validating_starts_nothing(served: Served) -> None:
    answer = await served.jobs.SubmitJob(submit(served, job_id="tried", validate_only=True))
    assert answer.job.job_id == "tried"
    assert (await refused(served.jobs.GetJob(pb.GetJobRequest(job_id="tried")))).reason == "JOB_NOT_FOUND"


async def test_the_same_request_gets_the_same_job_and_another_one_is_refused(served: Served) -> None:
    request = submit(served, request_id=str(uuid.uuid4()), labels={"deck": "a"})
    first = await served.jobs.SubmitJob(request)
    again = await served.jobs.SubmitJob(request)
    assert again.job.job_id == first.job.job_id
    assert (first.deduplicated, again.deduplicated) == (False, True)
    request.labels["deck"] = "b"
    refusal = await refused(served.jobs.SubmitJob(request))
    assert (refusal.reason, refusal.fields) == ("REQUEST_ID_REUSED", ("request_id",))


async def test_a_finished_job_is_watched_from_snapshot_to_terminal(served: Served) -> None:
    events = await drained(served.jobs.WatchJob(pb.WatchJobRequest(job_id=DONE)))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "snapshot"
    assert kinds[-1] == "terminal"
    assert kinds.count("terminal") == 1
    assert {event.server_epoch for event in events} == {served.app.epoch}
    assert events[-1].terminal.job.state == job_pb2.JOB_STATE_SUCCEEDED


async def test_a_job_is_watched_while_it_is_made(served: Served) -> None:
    request = submit(
        served,
        job_id="fresh",
        options=job_pb2.JobOptions(stems=stage_pb2.StemOptions(shifts=1)),
        labels={"no": "cache"},
    )
    await served.jobs.SubmitJob(request)
    events = await drained(served.jobs.WatchJob(pb.WatchJobRequest(job_id="fresh")))
    kinds = [event.WhichOneof("event") for event in events]
    assert {"snapshot", "stage", "segment_ready", "terminal"} <= set(kinds)
    assert events[-1].terminal.job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert [event.revision for event in events] == sorted(event.revision for event in events)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("heartbeat_interval", Duration(nanos=999_999_999)),
        ("heartbeat_interval", Duration(seconds=61)),
        ("heartbeat_interval", Duration(seconds=-5)),
        ("min_progress_interval", Duration(nanos=-1)),
        ("min_progress_interval", Duration(seconds=1, nanos=-1)),
        ("after_revision", -1),
    ],
)
async def test_intervals_have_bounds(served: Served, field: str, value: Any) -> None:
    request = pb.WatchJobRequest(job_id=DONE, **{field: value})
    refusal = await refused(drained(served.jobs.WatchJob(request)))
    assert (refusal.reason, refusal.fields) == ("INVALID_FIELD", (field,))


async def test_lists_come_in_pages_and_can_be_narrowed(served: Served) -> None:
    for number in range(5):
        await served.jobs.SubmitJob(
            submit(served, job_id=f"job{number}", labels={"even": str(number % 2 == 0)})
        )
    seen: list[str] = []
    token = ""
    while True:
        page = await served.jobs.ListJobs(pb.ListJobsRequest(page_size=2, page_token=token))
        assert len(page.jobs) <= 2
        seen += [job.job_id for job in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["job4", "job3", "job2", "job1", "job0", DONE]

    page = await served.jobs.ListJobs(pb.ListJobsRequest(labels={"even": "True"}))
    assert [job.job_id for job in page.jobs] == ["job4", "job2", "job0"]
    page = await served.jobs.ListJobs(pb.ListJobsRequest(states=[job_pb2.JOB_STATE_CANCELLED]))
    assert not page.jobs


async def test_a_page_stays_small_enough_for_every_client(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_service, "PAGE_BYTES", 20_000)
    monkeypatch.setattr(job_service, "PAGE_STEP", 2)
    labels = {f"label{i:02}": "x" * 256 for i in range(64)}
    for number in range(5):
        await served.jobs.SubmitJob(submit(served, job_id=f"big{number}", labels=labels))
    first = await served.jobs.ListJobs(pb.ListJobsRequest())
    assert [job.job_id for job in first.jobs] == ["big4", "big3"]
    rest = await served.jobs.ListJobs(pb.ListJobsRequest(page_token=first.next_page_token))
    assert [job.job_id for job in rest.jobs] == ["big2", "big1"]


async def test_large_results_come_in_small_pages_without_a_gap(served: Served) -> None:
    """Of two hours of music each; clients accept messages of 4 MiB by default."""
    beats = tuple(i * 0.48 + 0.001 for i in range(15_000))
    features = replace(BASIC_FEATURES, beats=beats, downbeats=beats[::4])
    chords = ChordsResult(tuple(Chord(i * 0.9, i * 0.9 + 0.9, "C:maj7", 0.712) for i in range(8000)), "mix")
    done = await served.app.repository.get(DONE)
    stages = (
        StageStatus(Stage.BASIC_FEATURES, StageState.SUCCEEDED, result=features),
        StageStatus(Stage.CHORDS, StageState.SUCCEEDED, result=chords),
    )
    for number in range(7):
        job = replace(done, job_id=f"mix{number}", run_id=f"{number}" * 32, stages=stages)
        await served.app.repository.accept(replace(job, created_at=done.created_at + number), "", "")
    seen: list[str] = []
    token, pages = "", 0
    while token or not pages:
        page = await served.jobs.ListJobs(pb.ListJobsRequest(page_token=token))
        assert 0 < page.ByteSize() < 2 << 20
        seen += [job.job_id for job in page.jobs]
        token, pages = page.next_page_token, pages + 1
    assert seen[:7] == [f"mix{number}" for number in reversed(range(7))]
    assert len(seen) == len(set(seen))
    assert pages >= 3


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListJobsRequest(page_size=-1), "page_size"),
        (pb.ListJobsRequest(page_size=1001), "page_size"),
        (pb.ListJobsRequest(page_token="garbage"), "page_token"),
        (pb.ListJobsRequest(states=[job_pb2.JOB_STATE_UNSPECIFIED]), "states"),
        (pb.ListJobsRequest.FromString(b"\x1a\x01\x63"), "states"),
    ],
)
async def test_a_wrong_list_request_names_its_field(
    served: Served, request_: pb.ListJobsRequest, field: str
) -> None:
    refusal = await refused(served.jobs.ListJobs(request_))
    assert (refusal.reason, refusal.fields) == ("INVALID_FIELD", (field,))


async def test_update_and_cancel_and_delete(served: Served) -> None:
    request = submit(
        served, job_id="work", options=job_pb2.JobOptions(stems=stage_pb2.StemOptions(shifts=20))
    )
    await served.jobs.SubmitJob(request)
    update = pb.UpdateJobRequest(job_id="work", priority=job_pb2.PRIORITY_HIGH, playhead=Duration(seconds=1))
    updated = (await served.jobs.UpdateJob(update)).job
    assert updated.priority == job_pb2.PRIORITY_HIGH
    assert updated.options.stems.playhead == Duration(seconds=1)
    update = pb.UpdateJobRequest(job_id="work", playhead=Duration(seconds=-1))
    assert (await refused(served.jobs.UpdateJob(update))).fields == ("playhead",)

    for _ in range(2):
        cancelled = (await served.jobs.CancelJob(pb.CancelJobRequest(job_id="work"))).job
        assert cancelled.state == job_pb2.JOB_STATE_CANCELLED
    update = pb.UpdateJobRequest(job_id="work", priority=job_pb2.PRIORITY_LOW)
    assert (await refused(served.jobs.UpdateJob(update))).reason == "JOB_NOT_READY"

    await served.jobs.DeleteJob(pb.DeleteJobRequest(job_id="work"))
    assert (await refused(served.jobs.GetJob(pb.GetJobRequest(job_id="work")))).reason == "JOB_NOT_FOUND"
