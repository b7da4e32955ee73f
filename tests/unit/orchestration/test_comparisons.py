"""Comparing the tracks of two jobs: which jobs can be compared, and what refuses the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mismo_grpc.analysis.comparison import AnalysedTrack, compare_tracks
from mismo_grpc.errors import InvalidFieldError, JobNotFoundError, JobNotReadyError
from mismo_grpc.jobs.job import JobOptions, Stage, StageState
from mismo_grpc.orchestration.comparisons import DEFAULT_CUE_PAIRS, TrackComparisons
from tests.support.results import BASIC_FEATURES, SECTIONS, TRANSITION
from tests.unit.orchestration.desk import SubmitDesk

RESULTS = {Stage.BASIC_FEATURES: BASIC_FEATURES, Stage.SECTIONS: SECTIONS, Stage.TRANSITION: TRANSITION}


async def analysed(desk: SubmitDesk, job_id: str, *found: Stage) -> None:
    """A job with STAGE_TRANSITION of which the stages `found` have their results."""
    options = JobOptions(stages=(Stage.TRANSITION,))
    await desk.submissions.submit(desk.request(desk.track(f"{job_id}.wav"), job_id=job_id, options=options))
    active = desk.repository.active[job_id]
    if active.task is not None:
        active.task.cancel()
    for stage in found:
        status = replace(active.job.stage(stage), state=StageState.SUCCEEDED, result=RESULTS[stage])
        active.job = active.job.with_stage(status)


@pytest.fixture
def comparisons(desk: SubmitDesk) -> TrackComparisons:
    return TrackComparisons(desk.repository)


async def test_compares_two_analysed_tracks(desk: SubmitDesk, comparisons: TrackComparisons) -> None:
    await analysed(desk, "a", *RESULTS)
    await analysed(desk, "b", *RESULTS)
    track = AnalysedTrack(BASIC_FEATURES, TRANSITION)
    assert await comparisons.compare("a", "b") == compare_tracks(track, track, DEFAULT_CUE_PAIRS)
    assert len((await comparisons.compare("a", "b", 1)).cue_pairs) <= 1
    assert await comparisons.compare("a", "a") == await comparisons.compare("a", "b")


async def test_a_job_without_the_result_says_what_to_do(
    desk: SubmitDesk, comparisons: TrackComparisons
) -> None:
    await analysed(desk, "a", *RESULTS)
    await analysed(desk, "b", Stage.BASIC_FEATURES)
    for outgoing, incoming, field in [("a", "b", "incoming_job_id"), ("b", "a", "outgoing_job_id")]:
        with pytest.raises(
            JobNotReadyError, match=f"{field}: job b has no result of STAGE_TRANSITION; submit"
        ) as no:
            await comparisons.compare(outgoing, incoming)
        assert no.value.field == field


async def test_a_job_that_there_is_not_is_named(desk: SubmitDesk, comparisons: TrackComparisons) -> None:
    await analysed(desk, "a", *RESULTS)
    with pytest.raises(JobNotFoundError, match="incoming_job_id: there is no job 'x'"):
        await comparisons.compare("a", "x")
    with pytest.raises(InvalidFieldError, match="outgoing_job_id must not be empty"):
        await comparisons.compare("", "a")


@pytest.mark.parametrize("count", [-1, 101])
async def test_the_number_of_cue_pairs_is_bounded(comparisons: TrackComparisons, count: int) -> None:
    with pytest.raises(InvalidFieldError, match="max_cue_pairs must be 0 to 100"):
        await comparisons.compare("a", "b", count)
