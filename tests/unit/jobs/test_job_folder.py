from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.jobs.job import Job, JobState, Priority, SeparationOptions, Source, SourceKind
from mismo_grpc.jobs.job_folder import JobFolders
from mismo_grpc.separation.stems import StemLayout

LAYOUT = StemLayout(("drums",), 44100, 2, 10, Encoding.PCM_S16LE)


def job(job_id: str, run: str) -> Job:
    source = Source(SourceKind.PATH, "/x.wav")
    run = run.ljust(32, "0")
    return Job(
        job_id,
        run,
        1,
        JobState.SUCCEEDED,
        Priority.NORMAL,
        source,
        SeparationOptions(),
        {},
        "m",
        0.0,
        layout=LAYOUT,
    )


@pytest.fixture
def folders(tmp_path: Path) -> JobFolders:
    return JobFolders(tmp_path)


WAVEFORMS = ("waveform-drums.dat", "waveform-drums.json")


def finish(folders: JobFolders, done: Job) -> None:
    folder = folders.of(done.job_id)
    (folder / "stems").mkdir(parents=True)
    (folder / "stems" / "drums.wav").write_bytes(b"drums")
    (folder / "stems.json").write_text(json.dumps({"job_id": done.job_id, "frames": 10}))
    (folder / "stems.zip").write_bytes(b"zip")
    for name in set(WAVEFORMS) & set(done.artifacts):
        (folder / name).write_text(name)


def test_an_earlier_result_stays_until_the_new_run_is_sure_of_its_own(folders: JobFolders) -> None:
    old, new = job("a", "old"), job("a", "new")
    finish(folders, old)
    (folders.stage(new) / "source").write_bytes(b"track")
    assert (folders.of("a") / "stems" / "drums.wav").exists()
    folders.adopt(new)
    assert [p.name for p in folders.of("a").iterdir()] == ["source"]


def test_a_run_can_take_over_the_result_of_an_earlier_run_of_the_same_job(folders: JobFolders) -> None:
    old, new = job("a", "old"), job("a", "new")
    finish(folders, old)
    assert folders.stage_result(new, old)
    folders.adopt(new)
    assert (folders.of("a") / "stems" / "drums.wav").read_bytes() == b"drums"
    assert (folders.of("a") / "stems.zip").read_bytes() == b"zip"


def test_a_result_taken_over_says_whose_it_was(folders: JobFolders) -> None:
    old, new = job("a", "old"), job("b", "new")
    finish(folders, old)
    assert folders.stage_result(new, old)
    folders.adopt(new)
    document = json.loads((folders.of("b") / "stems.json").read_text())
    assert (document["job_id"], document["taken_over_from"], document["frames"]) == ("b", "a", 10)
    assert json.loads((folders.of("a") / "stems.json").read_text())["job_id"] == "a"


def test_waveforms_are_taken_over_where_there_are_any(folders: JobFolders) -> None:
    """Results of earlier versions have none."""
    old, new = replace(job("a", "old"), artifacts=("stems.json", *WAVEFORMS)), job("b", "new")
    older, newer = job("c", "old"), job("d", "new")
    for earlier, later in ((old, new), (older, newer)):
        finish(folders, earlier)
        assert folders.stage_result(later, earlier)
        folders.adopt(later)
    assert [(folders.of("b") / name).read_text() for name in WAVEFORMS] == list(WAVEFORMS)
    assert sorted(p.name for p in folders.of("d").iterdir()) == ["stems", "stems.json", "stems.zip"]


@pytest.mark.parametrize("lost", ["stems/drums.wav", "stems.json", "waveform-drums.dat"])
def test_a_result_with_a_file_gone_is_not_taken_over(folders: JobFolders, lost: str) -> None:
    old, new = replace(job("a", "old"), artifacts=WAVEFORMS), job("b", "new")
    finish(folders, old)
    (folders.of("a") / lost).unlink()
    assert not folders.stage_result(new, old)
    assert not folders.staged(new).exists()


def test_a_crash_leaves_stored_runs_their_folder_and_no_other(folders: JobFolders) -> None:
    stored, lost, outdated = job("a", "1"), job("b", "2"), job("c", "3")
    for each in (stored, lost, outdated):
        (folders.stage(each) / "source").write_bytes(b"track")
    rows = {"a": stored, "c": replace(outdated, run="9" * 32)}
    assert folders.recover(rows.get) == 1
    assert (folders.of("a") / "source").read_bytes() == b"track"
    assert not folders.of("b").exists()
    assert not folders.of("c").exists()
    assert not any(folders.staged(each).exists() for each in (stored, lost, outdated))
