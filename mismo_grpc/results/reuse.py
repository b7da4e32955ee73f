"""Reuses an earlier run's result for a new run of the same content, by checked hard links to its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import structlog

from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.jobs.job import Artifact, Job, Stage
from mismo_grpc.results.artifacts import (
    StemFile,
    artifacts_of,
    read_stem_files,
    read_stems_json,
    write_stems_json,
)
from mismo_grpc.results.exports.rendering import link_exports
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.waveforms import WAVEFORM_PREFIX
from mismo_grpc.storage.run_files import RunFiles

log = structlog.get_logger(__name__)


def take_over_result(runs: Runs, job: Job, earlier: Job) -> tuple[Artifact, ...] | None:
    """Links an earlier run's files into the folder of `job`'s run; returns the artifacts of `job`. Blocks.

    Compares every file with its stored checksum. Returns None, and leaves no file behind, if one is missing or damaged
    or cannot be linked, for example to another file system. The caller holds the earlier run.
    """
    source, target = runs.files(earlier.run_id), runs.files(job.run_id)
    try:
        stems, waveforms = _link(source, target, earlier)
        document = {**read_stems_json(source), "job_id": job.job_id}
        if earlier.job_id != job.job_id:
            document["taken_over_from"] = earlier.job_id
        write_stems_json(target, document)
        link_exports(source, target)
        runs.sync_names(job.run_id)
        return artifacts_of(target, stems, waveforms)
    except (OSError, ArtifactNotFoundError, _DamagedError) as error:
        log.warning(
            "an earlier result cannot be used again; it is made anew",
            job_id=job.job_id,
            earlier_job_id=earlier.job_id,
            reason=str(error),
        )
        _clear(target, earlier)
        return None


class _DamagedError(Exception):
    """The content of a file does not match its checksum."""


def _link(source: RunFiles, target: RunFiles, earlier: Job) -> tuple[list[StemFile], dict[str, str]]:
    document = read_stems_json(source)
    stems = read_stem_files(source)
    names = earlier.layout.stem_names if earlier.layout is not None else ()
    if (
        tuple(stem.name for stem in stems) != names
        or tuple(s.pcm_sha256 for s in stems) != earlier.stem_sha256
    ):
        raise _DamagedError("stems.json is not of this job")
    target.stems.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        _link_checked(source.stem(stem.name), target.stem(stem.name), stem.sha256)
    known = {artifact.name for artifact in earlier.artifacts}
    waveforms = {name: sha256 for name, sha256 in _waveforms(document, earlier).items() if name in known}
    for name, sha256 in waveforms.items():
        _link_checked(source.artifact(name), target.artifact(name), sha256)
    return stems, waveforms


def _waveforms(document: Mapping[str, Any], earlier: Job) -> Mapping[str, str]:
    """The SHA-256 of each waveform; waveforms without a recorded checksum, of earlier versions, are not reused."""
    if earlier.has(Stage.WAVEFORMS):
        return {each.name: each.sha256 for each in earlier.artifacts if each.name.startswith(WAVEFORM_PREFIX)}
    # Earlier versions stored them in stems.json.
    found = document.get("waveforms")
    return cast("dict[str, str]", found) if isinstance(found, dict) else {}


def _link_checked(source: Path, target: Path, sha256: str) -> None:
    os.link(source, target, follow_symlinks=False)
    # Reads the new name, so that the check is valid whatever happens to the old one.
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise _DamagedError(f"{source.name} is damaged")


def _clear(target: RunFiles, earlier: Job) -> None:
    names = earlier.layout.stem_names if earlier.layout is not None else ()
    paths = [target.stem(name) for name in names]
    paths += [target.artifact(artifact.name) for artifact in earlier.artifacts]
    for path in paths:
        path.unlink(missing_ok=True)
