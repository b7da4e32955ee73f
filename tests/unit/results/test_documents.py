"""The results of analyses as JSON: the shapes that clients get, and their bytes, which do not change."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

import pytest

from mismo_grpc.analysis.results import Key, Mode
from mismo_grpc.errors import ArtifactNotFoundError
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
from mismo_grpc.jobs.stage_data import RESULT_TYPES, StageData
from mismo_grpc.jobs.store.records import job_from_json, job_to_json
from mismo_grpc.results.documents import (
    DOCUMENTS,
    document_artifacts,
    is_document,
    render_document,
    stage_document,
    with_result,
)
from tests.support.results import BASIC_FEATURES, CHARACTERISTICS, CHORDS, GENRE, SECTIONS, TRANSITION

RESULTS: dict[Stage, StageData] = {
    Stage.BASIC_FEATURES: BASIC_FEATURES,
    Stage.CHARACTERISTICS: CHARACTERISTICS,
    Stage.GENRE: GENRE,
    Stage.SECTIONS: SECTIONS,
    Stage.CHORDS: CHORDS,
    Stage.TRANSITION: TRANSITION,
}


def a_job() -> Job:
    """A job without stages."""
    return Job(
        job_id="job",
        run_id="5" * 32,
        revision=1,
        state=JobState.SUCCEEDED,
        priority=Priority.NORMAL,
        source=Source(SourceKind.PATH, "/music/a.wav"),
        options=JobOptions(tuple(RESULTS)),
        labels={},
        model="",
        created_at=1.0,
        stages=(),
    )


def job_with(*results: Stage, annotated: bool = False) -> Job:
    stages = [StageStatus(stage, StageState.SUCCEEDED, result=RESULTS[stage]) for stage in results]
    if annotated:
        stages.append(StageStatus(Stage.ANNOTATION, StageState.SUCCEEDED))
    return replace(a_job(), stages=tuple(stages))


def test_basic_features_have_the_names_that_existing_clients_store() -> None:
    """The app server's track has `"bpm": 128, "key": "5", "mode": "1"`."""
    document = stage_document(BASIC_FEATURES)
    assert (document["bpm"], document["key"], document["mode"]) == (128.0, "5", "1")
    assert (document["key_name"], document["camelot"], document["key_confidence"]) == ("F major", "7B", 0.7)
    minor = stage_document(replace(BASIC_FEATURES, key=Key(9, Mode.MINOR, 0.7)))
    assert (minor["key"], minor["mode"], minor["key_name"], minor["camelot"]) == ("9", "0", "A minor", "8A")


def test_a_track_without_tempo_and_key_has_null() -> None:
    document = stage_document(replace(BASIC_FEATURES, tempo=None, key=None))
    for name in ("bpm", "tempo", "key", "mode", "key_name", "camelot", "key_confidence"):
        assert document[name] is None


@pytest.mark.parametrize("stage", RESULTS)
def test_a_document_has_every_field_of_the_result(stage: Stage) -> None:
    document = json.loads(render_document(job_with(stage), f"{stage.name.lower()}.json"))
    expected = json.loads(json.dumps(asdict(RESULTS[stage])))
    expected.pop("key", None)
    assert expected.items() <= document.items()


def test_every_result_of_a_stage_is_a_document() -> None:
    assert set(DOCUMENTS.values()) == set(RESULT_TYPES) == {*RESULTS, Stage.LOUDNESS}
    assert all(map(is_document, DOCUMENTS))
    assert not any(map(is_document, ("stems.json", "stems.zip", "waveform-bass.json", "", "../genre.json")))


@pytest.mark.parametrize(
    ("found", "namespaces"),
    [
        ([Stage.BASIC_FEATURES], {"tempo", "key_mode", "beat"}),
        ([Stage.SECTIONS], {"segment_open"}),
        ([Stage.CHORDS], {"chord"}),
        (list(RESULTS), {"tempo", "key_mode", "beat", "segment_open", "chord"}),
    ],
)
def test_the_annotation_has_what_the_stages_found(found: list[Stage], namespaces: set[str]) -> None:
    document = json.loads(render_document(job_with(*found, annotated=True), "annotation.jams"))
    assert {each["namespace"] for each in document["annotations"]} == namespaces


def test_artifacts_tell_size_and_hash_of_what_is_read() -> None:
    job = job_with(*RESULTS, annotated=True)
    artifacts = document_artifacts(job)
    assert [artifact.name for artifact in artifacts] == [
        *(name for name, stage in DOCUMENTS.items() if stage in RESULTS),
        "annotation.jams",
    ]
    for artifact in artifacts:
        content = render_document(job, artifact.name)
        assert artifact.total_bytes == len(content)
        assert artifact.sha256 == hashlib.sha256(content).hexdigest()


def test_a_stored_job_has_the_same_documents() -> None:
    job = job_with(*RESULTS, annotated=True)
    stored = job_from_json(job_to_json(job))
    assert stored == job
    assert document_artifacts(stored) == document_artifacts(job)


def test_a_job_without_results_has_no_documents() -> None:
    assert document_artifacts(a_job()) == ()
    for name in (*DOCUMENTS, "annotation.jams"):
        with pytest.raises(ArtifactNotFoundError, match=f"has no {name}") as caught:
            render_document(a_job(), name)
        assert caught.value.field == "name"


def test_a_result_is_added_to_its_stage() -> None:
    job = replace(a_job(), stages=(StageStatus(Stage.GENRE, StageState.RUNNING),))
    assert with_result(job, Stage.GENRE, GENRE).stage(Stage.GENRE).result == GENRE


def test_an_annotation_names_the_version_that_made_it() -> None:
    """A newer server builds the bytes whose hash is stored."""
    job = with_result(
        replace(a_job(), stages=(StageStatus(Stage.BASIC_FEATURES),)), Stage.BASIC_FEATURES, BASIC_FEATURES
    )
    made = replace(
        job, stages=(*job.stages, StageStatus(Stage.ANNOTATION, StageState.SUCCEEDED, version="0.9"))
    )
    assert b'"0.9"' in render_document(made, "annotation.jams")
    assert b'"0.9"' not in render_document(job, "annotation.jams")
