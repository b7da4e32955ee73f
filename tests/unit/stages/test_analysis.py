"""What the stages of the analyses get: the track, the results of other stages, the stems."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.audio.encode import Encoding
from mismo_grpc.jobs.job import JobFailure, Priority, Stage, StageState, StageStatus
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.jobs.stage_data import StageData
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.stages.analysis import AnalysisStage
from mismo_grpc.stages.annotation import AnnotationStage
from mismo_grpc.stages.context import NeedFailedError, StageContext
from mismo_grpc.stages.table import ROWS
from tests.support.results import BASIC_FEATURES, CHARACTERISTICS, CHORDS, SECTIONS, TRANSITION
from tests.unit.stages.workbench import RATE, Workbench, a_track

BASIC, CHARACTER = Stage.BASIC_FEATURES, Stage.CHARACTERISTICS
RESULTS: dict[Stage, StageData] = {
    Stage.BASIC_FEATURES: BASIC_FEATURES,
    Stage.CHARACTERISTICS: CHARACTERISTICS,
    Stage.SECTIONS: SECTIONS,
    Stage.CHORDS: CHORDS,
    Stage.TRANSITION: TRANSITION,
}


class RecordingPool(AnalysisPool):
    """Keeps the inputs and answers with a result, without a process."""

    def __init__(self, result: StageData) -> None:
        super().__init__(1)
        self.result = result
        self.inputs: list[AnalysisInputs] = []
        self.timeouts: list[float] = []
        self.priorities: list[Callable[[], int]] = []

    async def run(
        self, function: Any, *arguments: Any, timeout_seconds: float, priority: Callable[[], int] = lambda: 0
    ) -> Any:
        self.inputs += arguments
        self.timeouts.append(timeout_seconds)
        self.priorities.append(priority)
        return self.result


def stage_of(stage: Stage, pool: AnalysisPool, **options: Any) -> AnalysisStage:
    def analysis(inputs: AnalysisInputs) -> StageData:
        raise AssertionError("the pool runs it")

    return AnalysisStage(stage, pool, analysis, fixed_seconds=10.0, times_length=2.0, **options)


async def active_job(bench: Workbench, asked: Stage, *found: Stage) -> ActiveJob:
    bench.record(a_track())
    active = await bench.job(asked)
    for stage in found:
        active.job = active.job.with_stage(
            StageStatus(stage, StageState.SUCCEEDED, result=RESULTS.get(stage))
        )
    await bench.decoded(active)
    return active


async def test_an_analysis_gets_the_track_and_the_folders_of_models(bench: Workbench, tmp_path: Path) -> None:
    active = await active_job(bench, BASIC)
    pool = RecordingPool(BASIC_FEATURES)
    result = await stage_of(BASIC, pool, model_folders=[tmp_path]).run(bench.context(BASIC, active))
    (inputs,) = pool.inputs
    assert (inputs.mix.frames, inputs.mix.channels, inputs.mix.sample_rate) == (RATE, 2, RATE)
    assert (inputs.mix.samples() == bench.samples()).all()
    assert inputs.model_folders == (tmp_path,)
    assert (inputs.basic_features, inputs.sections, dict(inputs.stems)) == (None, None, {})
    assert pool.timeouts == [12.0]
    (priority,) = pool.priorities
    assert priority() == Priority.NORMAL
    active.job = replace(active.job, priority=Priority.HIGH)
    assert priority() == Priority.HIGH
    assert result.data == BASIC_FEATURES
    assert [artifact.name for artifact in result.artifacts] == ["basic_features.json"]
    assert result.bytes == 0


async def test_a_result_says_which_revision_and_models_made_it(bench: Workbench, tmp_path: Path) -> None:
    active, pool = await active_job(bench, BASIC), RecordingPool(BASIC_FEATURES)
    (tmp_path / "beats.ckpt").touch()

    def models(folders: Sequence[Path]) -> str:
        return " ".join(path.name for folder in folders for path in folder.glob("*.ckpt"))

    stage = stage_of(BASIC, pool, revision=3, find_models=models, model_folders=[tmp_path])
    assert stage.version() == "3 beats.ckpt"
    assert (await stage.run(bench.context(BASIC, active))).version == "3 beats.ckpt"
    assert stage_of(BASIC, pool).version() == "1"


@pytest.mark.parametrize(
    ("stage", "needs"),
    [
        (Stage.SECTIONS, (BASIC,)),
        (Stage.CHORDS, (BASIC,)),
        (Stage.TRANSITION, (BASIC, Stage.SECTIONS)),
    ],
)
async def test_an_analysis_gets_the_results_that_it_needs(
    bench: Workbench, stage: Stage, needs: tuple[Stage, ...]
) -> None:
    active = await active_job(bench, stage, *needs)
    pool = RecordingPool(RESULTS[stage])
    await stage_of(stage, pool).run(bench.context(stage, active))
    assert pool.inputs[0].basic_features == BASIC_FEATURES
    assert pool.inputs[0].sections == (SECTIONS if Stage.SECTIONS in needs else None)


@pytest.mark.parametrize("state", [StageState.SUCCEEDED, StageState.FAILED, StageState.SKIPPED])
@pytest.mark.parametrize("stage", [CHARACTER, Stage.CHORDS])
async def test_an_analysis_gets_the_stems_if_there_are_any(
    bench: Workbench, stage: Stage, state: StageState
) -> None:
    active = await active_job(bench, stage, BASIC)
    layout = StemLayout(("drums", "bass"), RATE, 2, RATE, Encoding.PCM_S16LE)
    stages = (*active.job.stages, StageStatus(Stage.STEMS, state))
    active.job = replace(active.job, stages=stages, layout=layout)
    pool = RecordingPool(RESULTS[stage])
    await stage_of(stage, pool).run(bench.context(stage, active))
    there = {name: bench.files.stem(name) for name in layout.stem_names}
    assert pool.inputs[0].stems == (there if state is StageState.SUCCEEDED else {})


def context(
    bench: Workbench, stage: Stage, active: ActiveJob, after: dict[Stage, asyncio.Future[None]]
) -> StageContext:
    return StageContext(stage, active, bench.files, bench.repository, bench.memory, {}, after)


@pytest.mark.parametrize("succeeds", [True, False])
async def test_a_stage_begins_when_those_before_it_have_ended_however_they_ended(
    bench: Workbench, succeeds: bool
) -> None:
    active = await active_job(bench, CHARACTER)
    assert ROWS[CHARACTER].after == (Stage.STEMS,)
    stems: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    pool = RecordingPool(CHARACTERISTICS)
    run = asyncio.create_task(
        stage_of(CHARACTER, pool).run(context(bench, CHARACTER, active, {Stage.STEMS: stems}))
    )
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not pool.inputs
    assert active.job.stage(CHARACTER).state is StageState.PENDING
    if succeeds:
        stems.set_result(None)
    else:
        stems.set_exception(NeedFailedError(None))
    await run
    assert pool.inputs


async def test_a_stage_that_is_cancelled_leaves_those_that_it_waits_for(bench: Workbench) -> None:
    active = await active_job(bench, CHARACTER)
    stems: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    pool = RecordingPool(CHARACTERISTICS)
    run = asyncio.create_task(
        stage_of(CHARACTER, pool).run(context(bench, CHARACTER, active, {Stage.STEMS: stems}))
    )
    await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not stems.cancelled()


@pytest.mark.parametrize("found", [(BASIC,), (Stage.CHORDS,), (BASIC, Stage.SECTIONS, Stage.CHORDS)])
async def test_the_annotation_needs_one_result(bench: Workbench, found: tuple[Stage, ...]) -> None:
    active = await active_job(bench, Stage.CHORDS, *found)
    result = await AnnotationStage().run(bench.context(Stage.ANNOTATION, active))
    assert [artifact.name for artifact in result.artifacts] == ["annotation.jams"]
    assert result.data is None


async def test_without_any_result_there_is_no_annotation(bench: Workbench) -> None:
    active = await active_job(bench, BASIC)
    failure = JobFailure("INTERNAL", "ANALYSIS_FAILED", "it failed")
    active.job = active.job.with_stage(StageStatus(BASIC, StageState.FAILED, error=failure))
    with pytest.raises(NeedFailedError) as caught:
        await AnnotationStage().run(bench.context(Stage.ANNOTATION, active))
    assert caught.value.failure == failure
    assert active.job.stage(Stage.ANNOTATION).state is StageState.PENDING
