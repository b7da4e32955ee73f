"""An earlier result is used again only if every file of it is what its checksum says."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.jobs.job import (
    Artifact,
    Job,
    JobOptions,
    JobState,
    Priority,
    Source,
    SourceKind,
    Stage,
    StageStatus,
)
from mismo_grpc.results.artifacts import digest_stem, open_artifact, stems_document, write_stems_json
from mismo_grpc.results.reuse import take_over_result
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.stems import StemLayout

NAMES = ("drums", "bass")
HEADER_BYTES = 44
WAVEFORMS = ("waveform-drums.dat", "waveform-bass.dat")


def a_job(job_id: str, run: str) -> Job:
    return Job(
        job_id,
        run.ljust(32, "0"),
        1,
        JobState.SUCCEEDED,
        Priority.NORMAL,
        Source(SourceKind.PATH, "/x.wav"),
        JobOptions(),
        {},
        "m",
        0.0,
        stages=tuple(StageStatus(stage) for stage in (Stage.DECODE, Stage.STEMS, Stage.WAVEFORMS)),
        layout=StemLayout(NAMES, 44_100, 2, 10, Encoding.PCM_S16LE),
        artifacts=tuple(Artifact(name) for name in ("stems.json", "stems.zip", *WAVEFORMS)),
    )


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.fixture
def earlier(runs: Runs) -> Job:
    """A job with its files, as they are when it has ended."""
    job = a_job("a", "1")
    files = runs.files(job.run_id)
    files.stems.mkdir(parents=True)
    for name in NAMES:
        files.stem(name).write_bytes(os.urandom(HEADER_BYTES + 1000))
    digests = [digest_stem(name, files.stem(name), HEADER_BYTES, 1000) for name in NAMES]
    waveforms: dict[str, str] = {}
    for name in WAVEFORMS:
        files.artifact(name).write_bytes(os.urandom(100))
        waveforms[name] = hashlib.sha256(files.artifact(name).read_bytes()).hexdigest()
    write_stems_json(files, stems_document(job, digests, {}))
    artifacts = tuple(Artifact(name, 100, waveforms.get(name, "")) for name in names(job.artifacts))
    return replace(job, stem_sha256=tuple(each.pcm_sha256 for each in digests), artifacts=artifacts)


def names(artifacts: tuple[Artifact, ...] | None) -> tuple[str, ...]:
    return tuple(artifact.name for artifact in artifacts or ())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_whole_result_gets_second_names(runs: Runs, earlier: Job) -> None:
    job = a_job("b", "2")
    taken = take_over_result(runs, job, earlier)
    assert names(taken) == ("stems.json", "stems.zip", *WAVEFORMS)
    source, target = runs.files(earlier.run_id), runs.files(job.run_id)
    assert contents(target.stems) == contents(source.stems)
    assert os.path.samefile(target.stem("bass"), source.stem("bass"))
    document = json.loads(target.stems_json.read_text())
    assert (document["job_id"], document["taken_over_from"], document["frames"]) == ("b", "a", 10)
    assert json.loads(source.stems_json.read_text())["job_id"] == "a"
    for artifact in taken or ():
        with closing(open_artifact(target, artifact.name)) as reader:
            content = reader.read_now(0, 1 << 20)
        assert artifact.total_bytes == len(content) > 0
        of_content = hashlib.sha256(content).hexdigest()
        assert artifact.sha256 == ("" if artifact.name == "stems.zip" else of_content)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGES: list[Callable[[Path], object]] = [
    Path.unlink,
    flip,
    lambda path: path.write_bytes(bytes(path.stat().st_size)),
    lambda path: path.write_bytes(path.read_bytes()[:-10]),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=["missing", "one bit", "zeroed", "cut"])
@pytest.mark.parametrize("name", ["stems/drums.wav", "stems/bass.wav", "stems.json", "waveform-bass.dat"])
def test_a_damaged_result_is_not_used_and_leaves_nothing(
    runs: Runs, earlier: Job, name: str, damage: Callable[[Path], object]
) -> None:
    job = a_job("b", "2")
    damage(runs.files(earlier.run_id).folder / name)
    assert take_over_result(runs, job, earlier) is None
    assert contents(runs.files(job.run_id).folder) == {}


def test_a_stems_json_of_another_result_is_not_believed(runs: Runs, earlier: Job) -> None:
    """Its checksums are compared with those that the job store has."""
    job = a_job("b", "2")
    assert take_over_result(runs, job, replace(earlier, stem_sha256=("5" * 64, "6" * 64))) is None


@pytest.mark.parametrize("known", [True, False])
def test_waveforms_of_earlier_versions_need_a_checksum_in_stems_json(
    runs: Runs, earlier: Job, known: bool
) -> None:
    """The oldest ones recorded none."""
    files, job = runs.files(earlier.run_id), a_job("b", "2")
    old = replace(earlier, stages=(StageStatus(Stage.DECODE), StageStatus(Stage.STEMS)))
    document = json.loads(files.stems_json.read_text())
    if known:
        sums = {each.name: each.sha256 for each in earlier.artifacts if each.name in WAVEFORMS}
        document["waveforms"] = sums
    write_stems_json(files, document)
    expected = WAVEFORMS if known else ()
    assert names(take_over_result(runs, job, old)) == ("stems.json", "stems.zip", *expected)
    assert set(contents(runs.files(job.run_id).folder)) == {
        "stems/drums.wav",
        "stems/bass.wav",
        "stems.json",
        *expected,
    }


def test_a_result_on_another_file_system_is_made_anew(
    runs: Runs, earlier: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*arguments: object, **more: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    assert take_over_result(runs, a_job("b", "2"), earlier) is None
