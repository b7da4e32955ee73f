"""The callback of a worker call: what it says of a job that succeeded, failed, was cancelled or lacks an analysis."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.jobs.job import (
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
    StoredBlob,
)
from mismo_grpc.results.worker_document import worker_document
from mismo_grpc.separation.stems import StemLayout
from tests.support.results import BASIC_FEATURES, CHORDS, SECTIONS

AT = "2026-01-01T00:00:00Z"
RESULTS = {Stage.BASIC_FEATURES: BASIC_FEATURES, Stage.SECTIONS: SECTIONS, Stage.CHORDS: CHORDS}


def blob(name: str) -> StoredBlob:
    return StoredBlob(name, f"az://audio/song/{name}", f"http://store/audio/song/{name}", 80, "5" * 64)


def an_analysis() -> Job:
    """A job that succeeded."""
    return Job(
        job_id="job",
        run_id="5" * 32,
        revision=1,
        state=JobState.SUCCEEDED,
        priority=Priority.NORMAL,
        source=Source(SourceKind.BLOB, "az://audio/a.wav"),
        options=JobOptions((Stage.STEMS, *RESULTS), blob_prefix="song"),
        labels={},
        model="m",
        created_at=1.0,
        stages=(
            StageStatus(Stage.STEMS, StageState.SUCCEEDED),
            *(StageStatus(stage, StageState.SUCCEEDED, result=result) for stage, result in RESULTS.items()),
        ),
        layout=StemLayout(("bass", "drums"), 44_100, 2, 44_100, Encoding.PCM_S16LE),
        blobs=(blob("stems/bass.wav"), blob("stems/drums.wav"), blob("analysis/annotation.jams")),
    )


def a_generation() -> Job:
    job = an_analysis()
    options = GenerationOptions(("bass", "drums"), target_bpm=90.0, seconds=1.0, random_seed=3)
    return replace(
        job,
        job_id="gen",
        source=Source(SourceKind.NONE, ""),
        options=JobOptions((Stage.GENERATION,), generation=options, blob_prefix="song"),
        stages=(StageStatus(Stage.GENERATION, StageState.SUCCEEDED),),
        blobs=(blob("generated/gen/bass.wav"), blob("generated/gen/drums.wav")),
    )


def test_an_analysis_that_succeeded_tells_its_results_and_where_they_are() -> None:
    told = worker_document(an_analysis(), AT)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert {name: told[name] for name in ("audio_file_id", "job_id", "status", "timestamp", "error")} == {
        "audio_file_id": "song",
        "job_id": "job",
        "status": "completed",
        "timestamp": AT,
        "error": None,
    }
    assert told["jams_uri"] == "http://store/audio/song/analysis/annotation.jams"
    analysis = told["analysis"]
    assert isinstance(analysis, dict)
    assert (analysis["bpm"], analysis["duration_seconds"]) == (BASIC_FEATURES.tempo, BASIC_FEATURES.duration)
    assert len(analysis["chords"]) == len(CHORDS.chords)
    assert told["stems"] == [
        {
            "stem_type": stem,
            "blob_uri": f"http://store/audio/song/stems/{stem}.wav",
            "size_bytes": 80,
            "sha256": "5" * 64,
            "duration_seconds": 1.0,
            "sample_rate": 44_100,
        }
        for stem in ("bass", "drums")
    ]


def test_a_generation_tells_the_parameters_that_were_used() -> None:
    told = worker_document(a_generation(), AT)
    assert (told["generation_request_id"], told["audio_file_id"], told["job_id"]) == ("gen", "song", "gen")
    parameters = told["parameters"]
    assert isinstance(parameters, dict)
    assert (parameters["target_bpm"], parameters["random_seed"], parameters["style"]) == (90.0, 3, None)
    assert isinstance(told["stems"], list)
    assert [stem["blob_uri"] for stem in told["stems"]] == [
        f"http://store/audio/song/generated/gen/{stem}.wav" for stem in ("bass", "drums")
    ]
    assert "analysis" not in told


@pytest.mark.parametrize("stage", RESULTS)
def test_what_an_analysis_without_a_result_would_have_found_is_null(stage: Stage) -> None:
    job = an_analysis()
    job = job.with_stage(StageStatus(stage, StageState.FAILED))
    told = worker_document(job, AT)
    analysis = told["analysis"]
    assert isinstance(analysis, dict)
    names = {
        Stage.BASIC_FEATURES: ("bpm", "key", "mode", "beats", "tuning_frequency", "duration_seconds"),
        Stage.SECTIONS: ("sections",),
        Stage.CHORDS: ("chords",),
    }
    assert {name for name, value in analysis.items() if value is None} >= set(names[stage])
    assert [analysis[n] for s, found in names.items() if s is not stage for n in found].count(None) == 0
    assert told["status"] == "completed"


def test_a_job_that_ended_without_success_tells_its_error_and_no_result_although_it_has_some() -> None:
    failure = JobFailure("UNAVAILABLE", "BLOB_STORE_UNAVAILABLE", "it is down")
    for job, error in (
        (replace(an_analysis(), state=JobState.FAILED, error=failure), "BLOB_STORE_UNAVAILABLE"),
        (replace(an_analysis(), state=JobState.CANCELLED), "CANCELLED"),
        (replace(a_generation(), state=JobState.FAILED, error=failure), "BLOB_STORE_UNAVAILABLE"),
        (replace(a_generation(), state=JobState.CANCELLED), "CANCELLED"),
    ):
        told = worker_document(job, AT)
        assert (told["status"], told["stems"]) == ("failed", [])
        assert isinstance(told["error"], dict)
        assert told["error"]["code"] == error
        assert told["error"]["message"]
        assert told.get("analysis") is None
        assert told.get("jams_uri") is None
