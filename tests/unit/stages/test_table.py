"""The graph of the stages: what a job runs, what it is refused, and how far it is."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.jobs.job import (
    Job,
    JobOptions,
    JobState,
    Priority,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
)
from mismo_grpc.stages.table import (
    ROWS,
    TABLE,
    check_asked,
    fraction_done,
    needed_by,
    stages_to_run,
    with_needs,
)

DECODE, STEMS, WAVEFORMS, LOUDNESS = Stage.DECODE, Stage.STEMS, Stage.WAVEFORMS, Stage.LOUDNESS
ENDS = [state for state in StageState if state.ended]

some_stages = st.sets(st.sampled_from(list(Stage)))
WITH_SOURCE = [stage for stage in Stage if stage is not Stage.GENERATION]
asked_stages = st.sets(st.sampled_from(WITH_SOURCE), min_size=1)


def job_of(stages: Collection[Stage], succeeded: Collection[Stage] = ()) -> Job:
    return Job(
        job_id="job",
        run_id="5" * 32,
        revision=1,
        state=JobState.RUNNING,
        priority=Priority.NORMAL,
        source=Source(SourceKind.PATH, "/music/a.wav"),
        options=JobOptions(tuple(stages)),
        labels={},
        model="m",
        created_at=0.0,
        stages=tuple(
            StageStatus(s, StageState.SUCCEEDED if s in succeeded else StageState.PENDING)
            for s in with_needs(stages)
        ),
    )


def in_state(job: Job, stage: Stage, state: StageState) -> Job:
    return job.with_stage(StageStatus(stage, state))


def test_every_stage_has_one_row_behind_those_that_it_needs() -> None:
    order = [row.stage for row in TABLE]
    assert sorted(order) == sorted(Stage)
    for place, row in enumerate(TABLE):
        assert set(row.needs) <= set(order[:place])
        assert row.share > 0


@pytest.mark.parametrize(
    ("asked", "run"),
    [
        ([STEMS], [DECODE, STEMS, WAVEFORMS]),
        ([WAVEFORMS], [DECODE, STEMS, WAVEFORMS]),
        ([Stage.GENERATION], [Stage.GENERATION, WAVEFORMS]),
        ([WAVEFORMS, Stage.GENERATION], [Stage.GENERATION, WAVEFORMS]),
        ([STEMS, Stage.BLOB_UPLOAD], [DECODE, STEMS, WAVEFORMS, Stage.BLOB_UPLOAD]),
        ([LOUDNESS], [DECODE, LOUDNESS]),
        ([LOUDNESS, STEMS, STEMS], [DECODE, STEMS, WAVEFORMS, LOUDNESS]),
        ([Stage.BASIC_FEATURES], [DECODE, Stage.BASIC_FEATURES, Stage.ANNOTATION]),
        ([Stage.CHARACTERISTICS], [DECODE, Stage.CHARACTERISTICS]),
        ([Stage.CHORDS], [DECODE, Stage.BASIC_FEATURES, Stage.CHORDS, Stage.ANNOTATION]),
        (
            [Stage.TRANSITION],
            [DECODE, Stage.BASIC_FEATURES, Stage.SECTIONS, Stage.TRANSITION, Stage.ANNOTATION],
        ),
        ([], []),
    ],
)
def test_a_job_has_the_stages_asked_for_and_what_they_need_and_bring(
    asked: list[Stage], run: list[Stage]
) -> None:
    assert list(with_needs(asked)) == run


@given(some_stages)
def test_the_needs_are_closed_and_in_the_order_of_the_table(asked: set[Stage]) -> None:
    found = with_needs(asked)
    assert asked <= set(found)
    assert with_needs(found) == found
    for place, stage in enumerate(found):
        assert set(ROWS[stage].needs) <= set(found[:place])
        assert set(ROWS[stage].brings) <= set(found)
        assert not set(ROWS[stage].after) & set(found[place:])


def test_what_a_stage_needs_is_not_what_comes_with_it() -> None:
    assert needed_by([Stage.TRANSITION, STEMS]) == {
        DECODE,
        STEMS,
        Stage.BASIC_FEATURES,
        Stage.SECTIONS,
        Stage.TRANSITION,
    }


def test_an_annotation_is_accepted_only_of_something() -> None:
    check_asked([Stage.ANNOTATION, Stage.TRANSITION])
    with pytest.raises(InvalidFieldError, match="STAGE_ANNOTATION annotates what STAGE_BASIC_FEATURES"):
        check_asked([Stage.ANNOTATION, Stage.GENRE])


@given(some_stages)
def test_nothing_is_accepted_that_has_no_result_or_goes_with_no_source(asked: set[Stage]) -> None:
    if not asked - {DECODE, Stage.ANNOTATION, Stage.BLOB_UPLOAD}:
        with pytest.raises(InvalidFieldError, match="have no result of their own") as invalid:
            check_asked(asked)
        assert invalid.value.field == "options.stages"
    elif Stage.GENERATION in asked and asked - {Stage.GENERATION, WAVEFORMS, Stage.BLOB_UPLOAD}:
        with pytest.raises(InvalidFieldError, match="without a source") as invalid:
            check_asked(asked)
        assert invalid.value.field == "options.stages"
    elif Stage.ANNOTATION in asked and not set(with_needs(asked)) & set(ROWS[Stage.ANNOTATION].after):
        with pytest.raises(InvalidFieldError):
            check_asked(asked)
    else:
        check_asked(asked)


@pytest.mark.parametrize(
    ("succeeded", "missing"),
    [
        ([], [DECODE, STEMS, WAVEFORMS, LOUDNESS]),
        ([DECODE], [DECODE, STEMS, WAVEFORMS, LOUDNESS]),
        ([DECODE, LOUDNESS], [DECODE, STEMS, WAVEFORMS]),
        ([DECODE, STEMS], [DECODE, WAVEFORMS, LOUDNESS]),
        # The waveforms need the stems, which are on the disk, and so not the track.
        ([DECODE, STEMS, LOUDNESS], [WAVEFORMS]),
        ([DECODE, STEMS, WAVEFORMS, LOUDNESS], []),
    ],
)
def test_a_restart_decodes_again_only_for_those_that_need_the_track(
    succeeded: list[Stage], missing: list[Stage]
) -> None:
    assert stages_to_run(job_of([STEMS, LOUDNESS], succeeded)) == set(missing)


def test_what_has_failed_is_not_run_again() -> None:
    job = in_state(job_of([STEMS, LOUDNESS]), DECODE, StageState.FAILED)
    assert stages_to_run(job) == {STEMS, WAVEFORMS, LOUDNESS}
    job = in_state(job_of([STEMS, LOUDNESS], [DECODE]), STEMS, StageState.FAILED)
    assert stages_to_run(job) == {DECODE, WAVEFORMS, LOUDNESS}


@given(asked_stages, st.data())
def test_nothing_that_has_ended_with_a_durable_result_is_run_again(
    asked: set[Stage], data: st.DataObject
) -> None:
    job = job_of(asked)
    for status in job.stages:
        job = in_state(job, status.stage, data.draw(st.sampled_from(list(StageState))))
    missing = stages_to_run(job)
    for status in job.stages:
        if ROWS[status.stage].durable:
            assert (status.stage in missing) == (not status.state.ended)
        if status.stage in missing:
            for need in ROWS[status.stage].needs:
                assert need in missing or job.has_ended(need)


@given(asked_stages, st.data())
def test_the_fraction_only_grows_in_whatever_order_stages_end(asked: set[Stage], data: st.DataObject) -> None:
    job, reached = job_of(asked), 0.0
    assert fraction_done(job, 0.0) == 0.0
    for stage in data.draw(st.permutations([status.stage for status in job.stages])):
        job = in_state(job, stage, StageState.RUNNING)
        shares = data.draw(st.lists(st.floats(0.0, 1.0), max_size=3)) if stage is STEMS else []
        for share in (0.0, *sorted(shares)):
            fraction = fraction_done(job, share)
            assert reached <= fraction <= 1.0
            reached = fraction
        job = in_state(job, stage, data.draw(st.sampled_from(ENDS)))
        # Once the stems have ended, their segments count no more.
        fraction = fraction_done(job, 1.0)
        assert reached < fraction or (stage is STEMS and reached == fraction)
        reached = fraction
    assert reached == pytest.approx(1.0)


def test_the_stems_are_most_of_the_work() -> None:
    job = in_state(job_of([STEMS, LOUDNESS], [DECODE]), STEMS, StageState.RUNNING)
    assert fraction_done(job, 0.0) == pytest.approx(2 / 104)
    assert fraction_done(job, 0.5) == pytest.approx(52 / 104)
    assert fraction_done(job, 1.0) == pytest.approx(102 / 104)
