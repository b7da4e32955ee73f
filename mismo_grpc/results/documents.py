"""The results of analyses as JSON documents: artifacts that are built from the job's record while they are read.

`{stage}.json` has the result of one stage, `annotation.jams` what the stages found together. The same jobs give the
same bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from mismo_grpc import __version__
from mismo_grpc.analysis.jams import annotation_jams
from mismo_grpc.analysis.results import BasicFeaturesResult, ChordsResult, Mode, SectionsResult
from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.jobs.job import Artifact, Job, Stage, StageStatus
from mismo_grpc.jobs.stage_data import RESULT_TYPES, StageData

ANNOTATION = "annotation.jams"
ANNOTATED = (Stage.BASIC_FEATURES, Stage.SECTIONS, Stage.CHORDS)
"""The stages whose results annotation.jams contains."""


def document_name(stage: Stage) -> str:
    """The name of the document with a stage's result."""
    return f"{stage.name.lower()}.json"


DOCUMENTS = {document_name(stage): stage for stage in RESULT_TYPES}
"""The stage of each document, by its name as an artifact."""


def is_document(name: str) -> bool:
    """Whether an artifact of this name is built from the job's record."""
    return name in DOCUMENTS or name == ANNOTATION


def stage_of(name: str) -> Stage:
    """The stage that makes the document of this name."""
    return DOCUMENTS.get(name, Stage.ANNOTATION)


def stage_document(result: StageData) -> dict[str, object]:
    """The result of a stage by the names of the contract's fields.

    Basic features also have `bpm`, and their key in numbers as text, as existing clients store it: `key` is the pitch
    class of the tonic ("0" is C), `mode` "1" for major and "0" for minor.
    """
    document: dict[str, object] = asdict(result)
    if isinstance(result, BasicFeaturesResult):
        key = result.key
        document |= {
            "bpm": result.tempo,
            "key": None if key is None else str(key.tonic),
            "mode": None if key is None else "1" if key.mode is Mode.MAJOR else "0",
            "key_name": None if key is None else key.name,
            "key_confidence": None if key is None else key.confidence,
            "camelot": None if key is None else key.camelot,
        }
    return document


def render_document(job: Job, name: str) -> bytes:
    """The content of a document; takes 0.1 to 0.2 s for each hour of the track.

    Raises ArtifactNotFoundError if the job has no result for it.
    """
    content: dict[str, object] | None = None
    stage = DOCUMENTS.get(name)
    if name == ANNOTATION:
        content = _annotation(job)
    elif stage is not None and (result := _result(job, stage)) is not None:
        content = stage_document(result)
    if content is None:
        raise ArtifactNotFoundError(f"name: job {job.job_id} has no {name}; see its artifacts", field="name")
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def document_artifact(job: Job, name: str) -> Artifact:
    """The artifact of a document; raises as `render_document` does."""
    content = render_document(job, name)
    return Artifact(name, len(content), hashlib.sha256(content).hexdigest())


def document_artifacts(job: Job) -> tuple[Artifact, ...]:
    """The artifacts of all documents of a job."""
    names = [name for name, stage in DOCUMENTS.items() if _result(job, stage) is not None]
    if job.has_result_of(Stage.ANNOTATION):
        names.append(ANNOTATION)
    return tuple(document_artifact(job, name) for name in names)


def _result(job: Job, stage: Stage) -> StageData | None:
    return job.stage(stage).result if job.has(stage) else None


def _annotation(job: Job) -> dict[str, object] | None:
    features, sections, chords = (_result(job, stage) for stage in ANNOTATED)
    if features is None and sections is None and chords is None:
        return None
    assert features is None or isinstance(features, BasicFeaturesResult)
    assert sections is None or isinstance(sections, SectionsResult)
    assert chords is None or isinstance(chords, ChordsResult)
    ends = [features.duration] if features is not None else []
    ends += [span.end for span in sections.sections[-1:]] if sections is not None else []
    ends += [span.end for span in chords.chords[-1:]] if chords is not None else []
    # The document names the version that made it, so that a newer server builds the same bytes.
    made_by = job.stage(Stage.ANNOTATION).version if job.has(Stage.ANNOTATION) else ""
    return annotation_jams(features, sections, chords, duration=max(ends), version=made_by or __version__)


def with_result(job: Job, stage: Stage, result: StageData) -> Job:
    """A copy of the job in which the stage has this result."""
    return job.with_stage(StageStatus(stage, result=result))
