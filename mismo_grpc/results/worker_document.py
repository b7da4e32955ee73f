"""What the single callback of a job says that delivers to the blob container: an analysis or a generation."""

from __future__ import annotations

from mismo_grpc.analysis.results import BasicFeaturesResult, ChordsResult, SectionsResult
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.jobs.job import Job, JobState, Stage
from mismo_grpc.results.blob_names import artifact_blob, prefix_of, stem_blob
from mismo_grpc.results.documents import ANNOTATION


def worker_document(job: Job, timestamp: str) -> dict[str, object]:
    """What the callback says of a job that has ended; `timestamp` is its time as in callbacks."""
    completed = job.state is JobState.SUCCEEDED
    document: dict[str, object] = {
        "audio_file_id": prefix_of(job),
        "job_id": job.job_id,
        "status": "completed" if completed else "failed",
        "timestamp": timestamp,
    }
    generation = job.options.generation
    if generation is not None:
        document = {"generation_request_id": job.job_id, **document, "parameters": parameters_of(generation)}
    else:
        jams = {blob.name: blob.url for blob in job.blobs}.get(artifact_blob(job, ANNOTATION))
        document |= {
            "analysis": _analysis(job) if completed else None,
            "jams_uri": jams if completed else None,
        }
    document["stems"] = _stems(job) if completed else []
    document["error"] = None if completed else _error(job)
    return document


def parameters_of(options: GenerationOptions) -> dict[str, object]:
    """The parameters of a generation, by the names of the HTTP API."""
    return {
        "target_bpm": options.target_bpm,
        "duration_seconds": options.seconds,
        "style": options.style or None,
        "chord_progression": list(options.chord_progression) or None,
        "key": options.key or None,
        "prompt": options.prompt or None,
        "temperature": options.temperature,
        "random_seed": options.random_seed,
    }


def _stems(job: Job) -> list[dict[str, object]]:
    blobs = {blob.name: blob for blob in job.blobs}
    layout = job.layout
    if layout is None:
        return []
    found = ((name, blobs.get(stem_blob(job, name))) for name in layout.stem_names)
    return [
        {
            "stem_type": name,
            "blob_uri": blob.url,
            "size_bytes": blob.total_bytes,
            "sha256": blob.sha256,
            "duration_seconds": round(layout.total_frames / layout.sample_rate, 6),
            "sample_rate": layout.sample_rate,
        }
        for name, blob in found
        if blob is not None
    ]


def _analysis(job: Job) -> dict[str, object]:
    """The results of the analyses, null where one has none."""
    results = {status.stage: status.result for status in job.stages}
    features, sections, chords = (
        results.get(stage) for stage in (Stage.BASIC_FEATURES, Stage.SECTIONS, Stage.CHORDS)
    )
    assert features is None or isinstance(features, BasicFeaturesResult)
    assert sections is None or isinstance(sections, SectionsResult)
    assert chords is None or isinstance(chords, ChordsResult)
    key = features.key if features is not None else None
    return {
        "duration_seconds": features and features.duration,
        "bpm": features and features.tempo,
        "bpm_confidence": features and features.tempo_confidence,
        "key": key and key.name,
        "mode": key and key.mode.value,
        "key_confidence": key and key.confidence,
        "tuning_frequency": features and features.tuning,
        "beats": features and list(features.beats),
        "sections": sections
        and [
            {"start": s.start, "end": s.end, "label": s.label if s.role is None else s.role.value}
            for s in sections.sections
        ],
        "chords": chords and [{"start": c.start, "end": c.end, "chord": c.label} for c in chords.chords],
    }


def _error(job: Job) -> dict[str, str]:
    if job.error is not None:
        return {"code": job.error.reason, "message": job.error.message}
    if job.state is JobState.CANCELLED:
        return {"code": "CANCELLED", "message": "the job was cancelled"}
    return {"code": "INTERNAL", "message": "the job failed; the server's log says why"}
