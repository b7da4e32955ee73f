"""The results of the trial's tracks on a server without interruptions, to compare others with."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mismo.analysis.v1 import job_pb2, stage_pb2
from mismo_grpc.storage.disk import sync
from tests.support.calls import PCM_F32LE, options
from tests.support.process import ServerProcess
from tests.support.tracks import track_bytes

STEMS, LOUDNESS, CHORDS = stage_pb2.STAGE_STEMS, stage_pb2.STAGE_LOUDNESS, stage_pb2.STAGE_CHORDS
WANTED = options(stages=[STEMS, LOUDNESS, CHORDS], encoding=PCM_F32LE, overlap=0.5)
JUNK_BYTES = 6 << 20
"""Bytes added to the uploaded track, so that it is longer than the unsynced part of an upload."""
Result = dict[str, bytes]
"""The contents of the files in `JOBS_DIR/{job_id}` by name, as "loudness" the result of that stage, and the annotation,
which is built of what the basic features and, on the stems, the chords have found."""
ANNOTATION = "annotation.jams"


def loudness_of(job: job_pb2.Job) -> bytes:
    """The result of the loudness stage; empty if there is none."""
    return next(status for status in job.stages if status.stage == LOUDNESS).loudness.SerializeToString(
        deterministic=True
    )


def result_of(folder: Path) -> Result:
    files = [*folder.glob("stems/*.wav"), *folder.glob("waveform-*")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def with_junk(track: bytes, seed: int) -> bytes:
    """Returns the same audio as a different file: an ignored chunk precedes the samples."""
    place = track.index(b"data")
    junk = random.Random(seed).randbytes(JUNK_BYTES)
    whole = track[:place] + b"JUNK" + len(junk).to_bytes(4, "little") + junk + track[place:]
    return whole[:4] + (len(whole) - 8).to_bytes(4, "little") + whole[8:]


TRACKS = {
    name: track_bytes(seconds, seed=seed)
    for seed, (name, seconds) in enumerate({"long": 6.0, "short": 2.0, "sent": 3.0, "kept": 1.5}.items())
}


async def undisturbed(process: ServerProcess) -> dict[str, Result]:
    """Returns each track's result from a server without interruptions; stops the server."""
    client = await process.start()
    for name, content in TRACKS.items():
        path = process.music / f"{name}.wav"
        path.write_bytes(content)
        await client.submit(path, job_id=name, wanted=WANTED)
    results: dict[str, Result] = {}
    for name in TRACKS:
        job = await client.succeeded(name)
        results[name] = result_of(process.jobs_dir / name)
        assert len(results[name]) == 12, results[name].keys()
        results[name]["loudness"] = loudness_of(job)
        assert results[name]["loudness"]
        results[name][ANNOTATION] = await client.artifact(name, ANNOTATION)
    await client.close()
    process.signal()
    assert await process.exited() == 0
    return results


def container_in(jobs_dir: Path) -> Path:
    """A blob container that the same power cuts hit as the jobs folder."""
    container = jobs_dir / ".container"
    container.mkdir(parents=True, exist_ok=True)
    sync(container)
    sync(jobs_dir)
    return container


def faults_of_blobs(container: Path, job: job_pb2.Job) -> Iterator[tuple[Literal["lost", "wrong"], str]]:
    """What is wrong with the results of a succeeded job in the container."""
    names = {blob.name for blob in job.blobs}
    if missing := {f"stems/{stem}.wav" for stem in job.stem_set.stem_names} - names:
        yield "lost", f"did not copy {', '.join(sorted(missing))}"
    for blob in job.blobs:
        path = container / job.job_id / blob.name
        if not path.exists():
            yield "lost", f"{blob.name} is not in the container any more"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != blob.sha256:
            yield "wrong", f"{blob.name} in the container has other content"


def difference(found: bytes, expected: bytes) -> str:
    if len(found) != len(expected):
        return f"has {len(found)} bytes instead of {len(expected)}"
    places = [
        index
        for index in range(0, len(found), 4096)
        if found[index : index + 4096] != expected[index : index + 4096]
    ]
    zeros = sum(not any(found[index : index + 4096]) for index in places)
    return f"differs in {len(places)} pages from {places[0]} on, {zeros} of them zero"
