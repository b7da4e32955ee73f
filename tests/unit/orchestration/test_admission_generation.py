"""Jobs that generate stems: their room on the disk, and the earlier results that they use again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mismo_grpc.errors import DiskFullError
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.jobs.job import JobOptions, JobRequest, JobState, Source, SourceKind, Stage, StageState
from mismo_grpc.storage.disk import QuotaDisk
from tests.unit.orchestration.place import Place

OPTIONS = GenerationOptions(("bass", "drums"), seconds=2.0, generator="synthetic")
GENERATION, WAVEFORMS = Stage.GENERATION, Stage.WAVEFORMS


def request_for(*stages: Stage, generation: GenerationOptions = OPTIONS) -> JobRequest:
    return JobRequest(Source(SourceKind.NONE, ""), JobOptions(stages, generation=generation))


async def test_a_generation_becomes_a_queued_job_without_a_source(place: Place) -> None:
    admitted = await place.admission().check(request_for(GENERATION))
    job = admitted.job
    assert (job.state, job.model, job.source_bytes) == (JobState.QUEUED, "synthetic", 0)
    assert [status.stage for status in job.stages] == [GENERATION, WAVEFORMS]
    assert job.model_fingerprint
    assert admitted.cached is None


async def test_the_same_generation_uses_an_earlier_result_again(place: Place) -> None:
    admission = place.admission()
    earlier = await place.succeeded((await admission.check(request_for(GENERATION))).job)
    again = await admission.check(request_for(GENERATION))
    assert again.cached == earlier
    assert (await admission.check(request_for(GENERATION), use_earlier=False)).cached is None
    other = request_for(GENERATION, generation=replace(OPTIONS, random_seed=1))
    assert (await admission.check(other)).cached is None


async def test_an_earlier_generation_without_what_is_asked_now_is_not_used_again(place: Place) -> None:
    admission = place.admission()
    job = (await admission.check(request_for(GENERATION))).job
    failed = replace(job.stage(WAVEFORMS), state=StageState.FAILED)
    done = replace(job.stage(GENERATION), state=StageState.SUCCEEDED)
    await place.succeeded(job, stages=(done, failed))
    assert (await admission.check(request_for(GENERATION))).cached is not None
    assert (await admission.check(request_for(GENERATION, WAVEFORMS))).cached is None


async def test_generated_stems_must_fit_on_the_disk(place: Place) -> None:
    with pytest.raises(DiskFullError):
        await place.admission(QuotaDisk(100_000)).check(request_for(GENERATION))
