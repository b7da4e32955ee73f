"""Admission: when a submit has the result of an earlier job of the same content."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mismo_grpc.jobs.job import Job, JobState, Stage, StageState
from mismo_grpc.jobs.stage_data import StageData
from tests.support import results
from tests.unit.orchestration.place import (
    GPU,
    NOW,
    Place,
    request_for,
    write_wav,
)


async def test_an_earlier_result_of_the_same_content_is_found(place: Place) -> None:
    admission = place.admission()
    first = (await admission.check(request_for(write_wav(place.music / "a.wav")))).job
    done = await place.succeeded(first)
    again = await admission.check(request_for(write_wav(place.music / "copy.wav")))
    assert again.cached == done
    assert again.job.run_id != done.run_id
    assert await admission.may_still_have(again)
    assert (await admission.check(request_for(place.music / "copy.wav"), use_earlier=False)).cached is None


async def test_other_content_options_or_arithmetic_have_no_earlier_result(place: Place) -> None:
    track, admission = write_wav(place.music / "a.wav"), place.admission()
    await place.succeeded((await admission.check(request_for(track))).job)
    other = write_wav(place.music / "b.wav", seed=2)
    for request in (request_for(other), request_for(track, shifts=1), request_for(track, two_stems="bass")):
        assert (await admission.check(request)).cached is None
    # Where the player is changes the order of the work alone.
    assert (await admission.check(request_for(track, playhead=0.5))).cached is not None
    place.device = GPU
    assert (await admission.check(request_for(track))).cached is None


BASIC, SECTIONS, CHORDS, GENRE = Stage.BASIC_FEATURES, Stage.SECTIONS, Stage.CHORDS, Stage.GENRE
RESULTS: dict[Stage, StageData] = {
    BASIC: results.BASIC_FEATURES,
    SECTIONS: results.SECTIONS,
    CHORDS: results.CHORDS,
    GENRE: results.GENRE,
}


async def analysed(place: Place, *stages: Stage, failed: Stage | None = None, version: str = "") -> Job:
    """A job of the track "a.wav" that asked for these stages; all but `failed` have a result."""
    track = write_wav(place.music / "a.wav")
    job = (await place.admission().check(request_for(track, stages=stages), use_earlier=False)).job
    return await place.succeeded(
        job,
        stages=tuple(
            replace(
                status,
                state=StageState.FAILED if status.stage is failed else StageState.SUCCEEDED,
                version=version,
                result=RESULTS.get(status.stage),
            )
            for status in job.stages
        ),
    )


@pytest.mark.parametrize(
    ("had", "asked", "found"),
    [
        ((SECTIONS, CHORDS), (CHORDS,), True),
        ((SECTIONS,), (BASIC,), True),
        ((SECTIONS,), (SECTIONS, CHORDS), False),
        ((Stage.STEMS, CHORDS), (CHORDS,), False),
        ((CHORDS,), (Stage.STEMS, CHORDS), False),
        ((Stage.STEMS, CHORDS), (Stage.STEMS,), True),
    ],
)
async def test_an_earlier_job_must_have_all_results_and_have_found_them_on_the_same(
    place: Place, had: tuple[Stage, ...], asked: tuple[Stage, ...], found: bool
) -> None:
    """With stems, chords are found on the stems."""
    done = await analysed(place, *had)
    admitted = await place.admission().check(request_for(place.music / "a.wav", stages=asked))
    assert admitted.cached == (done if found else None)
    if found and Stage.STEMS not in asked:
        job = await place.admission().prepare(admitted)
        assert (job.state, job.cache_hit) == (JobState.SUCCEEDED, True)
        assert all(map(job.has_result_of, asked))


async def test_a_stage_that_failed_is_run_again_by_the_next_job(place: Place) -> None:
    done = await analysed(place, BASIC, GENRE, failed=GENRE)
    track, admission = place.music / "a.wav", place.admission()
    assert (await admission.check(request_for(track, stages=(GENRE,)))).cached is None
    assert (await admission.check(request_for(track, stages=(BASIC,)))).cached == done


async def test_a_result_of_other_models_or_of_an_older_analysis_is_not_used_again(place: Place) -> None:
    done = await analysed(place, CHORDS, version="1")
    versions = {BASIC: "1", CHORDS: "1", GENRE: "2"}
    admission = place.admission(version_of={stage: lambda s=stage: versions[s] for stage in versions})
    request = request_for(place.music / "a.wav", stages=(CHORDS,))
    assert (await admission.check(request)).cached == done
    # Chords are found from beat to beat.
    versions[BASIC] = "1 beat_this-final0.ckpt"
    assert (await admission.check(request)).cached is None
    versions |= {BASIC: "1", CHORDS: "2"}
    assert (await admission.check(request)).cached is None


async def test_a_result_that_has_expired_is_not_found(place: Place) -> None:
    track, admission = write_wav(place.music / "a.wav"), place.admission()
    job = (await admission.check(request_for(track))).job
    await place.repository.accept(
        replace(job, state=JobState.SUCCEEDED, ended_at=NOW - 9, expires_at=NOW - 1), "", ""
    )
    assert (await admission.check(request_for(track))).cached is None


async def test_the_device_is_waited_for_only_where_there_may_be_a_result(place: Place) -> None:
    """A server that just started takes jobs at once."""
    track, admission = write_wav(place.music / "a.wav"), place.admission()
    job = (await admission.check(request_for(track))).job
    place.device = None
    await admission.check(request_for(track))
    assert place.asked_for_device == 0
    done = await place.succeeded(job)
    assert (await admission.check(request_for(track))).cached == done
    assert place.asked_for_device == 1


async def test_a_large_source_is_not_hashed_before_it_is_accepted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = write_wav(place.music / "a.wav")
    await place.succeeded((await place.admission().check(request_for(track))).job)
    size = track.stat().st_size
    monkeypatch.setattr("mismo_grpc.orchestration.sources.HASHED_AT_SUBMIT_BYTES", size)
    assert (await place.admission().check(request_for(track))).cached is not None
    monkeypatch.setattr("mismo_grpc.orchestration.sources.HASHED_AT_SUBMIT_BYTES", size - 1)
    admitted = await place.admission().check(request_for(track))
    assert (admitted.cached, admitted.job.source_sha256) == (None, "")


async def test_a_result_whose_files_are_gone_is_made_anew(place: Place) -> None:
    track, admission = write_wav(place.music / "a.wav"), place.admission()
    await place.succeeded((await admission.check(request_for(track))).job)
    again = await admission.check(request_for(track))
    assert again.cached is not None
    job = await admission.prepare(again)
    assert (job.state, job.cache_hit) == (JobState.QUEUED, False)
    assert job == again.job
    assert place.runs.held_runs == frozenset()


@pytest.mark.parametrize("change", ["deleted", "another run", "another source"])
async def test_a_result_that_was_replaced_meanwhile_is_not_taken_over(place: Place, change: str) -> None:
    track, admission = write_wav(place.music / "a.wav"), place.admission()
    done = await place.succeeded((await admission.check(request_for(track))).job)
    admitted = await admission.check(request_for(track))
    assert await admission.may_still_have(admitted)
    if change == "deleted":
        await place.repository.write(place.store.delete, done.job_id, NOW)
    elif change == "another run":
        await place.succeeded(replace(done, run_id="f" * 32, revision=2))
    else:
        await place.succeeded(replace(done, source_sha256="0" * 64, revision=2))
    assert not await admission.may_still_have(admitted)
