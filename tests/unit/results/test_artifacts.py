"""stems.json and stems.zip: whole or not there, the same bytes from any offset, readable by anyone's unzip."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import ArtifactNotFoundError, DiskFullError, InternalError, InvalidFieldError
from mismo_grpc.jobs.job import (
    Job,
    JobOptions,
    JobState,
    Priority,
    Source,
    SourceKind,
    StemLayout,
    StemOptions,
)
from mismo_grpc.results import artifacts
from mismo_grpc.results.artifacts import (
    MAX_READ_BYTES,
    ArtifactReader,
    StemFile,
    digest_stem,
    open_artifact,
    open_stem,
    plan_stems_zip,
    read_stem_files,
    stems_document,
    write_stems_json,
)
from mismo_grpc.results.stored_zip import BytesSpan, ZipEntry, ZipPlan
from mismo_grpc.storage.run_files import RunFiles

HEADER = b"RIFF" + bytes(40)
NAMES = ("drums", "bass", "other", "vocals")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with four stems of different sizes."""
    job_folder = tmp_path / "a"
    (job_folder / "stems").mkdir(parents=True)
    for index, name in enumerate(NAMES):
        (job_folder / "stems" / f"{name}.wav").write_bytes(HEADER + os.urandom(5000 + index))
    return job_folder


def stems_of(folder: Path) -> list[StemFile]:
    paths = [folder / "stems" / f"{name}.wav" for name in NAMES]
    return [digest_stem(p.stem, p, len(HEADER), p.stat().st_size - len(HEADER)) for p in paths]


def a_job() -> Job:
    return Job(
        job_id="a",
        run_id="r",
        revision=9,
        state=JobState.RUNNING,
        priority=Priority.NORMAL,
        source=Source(SourceKind.PATH, "/music/a.wav"),
        options=JobOptions(stems=StemOptions(shifts=2, playhead=1.5)),
        labels={},
        model="mismo_lite",
        fallback_from="htdemucs",
        created_at=1.0,
        layout=StemLayout(NAMES, 44_100, 2, 1250, Encoding.PCM_S16LE),
        warnings=("3 samples were not finite and are silent now",),
        source_sha256="5" * 64,
        source_bytes=5044,
    )


def finish(folder: Path) -> list[StemFile]:
    stems = stems_of(folder)
    document = stems_document(a_job(), stems, {"separation": 1.5})
    write_stems_json(RunFiles(folder), document)
    return stems


def read_all(reader: ArtifactReader, step: int = MAX_READ_BYTES) -> bytes:
    whole = b""
    while piece := reader.read_now(len(whole), step):
        whole += piece
    return whole


# Checksums and stems.json


def test_one_pass_gives_every_checksum(tmp_path: Path) -> None:
    pcm, tail = os.urandom(3 * artifacts.BLOCK_BYTES // 2), b"LIST of tags"
    path = tmp_path / "drums.wav"
    path.write_bytes(HEADER + pcm + tail)
    whole = path.read_bytes()
    assert digest_stem("drums", path, len(HEADER), len(pcm)) == StemFile(
        "drums",
        "drums.wav",
        len(whole),
        zlib.crc32(whole),
        hashlib.sha256(whole).hexdigest(),
        hashlib.sha256(pcm).hexdigest(),
    )


def test_a_stem_file_without_all_its_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "drums.wav"
    path.write_bytes(HEADER + bytes(10))
    with pytest.raises(InternalError, match="stem drums is shorter"):
        digest_stem("drums", path, len(HEADER), 11)


def test_stems_json_says_how_the_stems_were_made(folder: Path) -> None:
    stems = finish(folder)
    document = json.loads((folder / "stems.json").read_text())
    assert document["model"] == "mismo_lite"
    assert document["fallback_from"] == "htdemucs"
    assert document["settings"]["shifts"] == 2
    assert document["frames"] == 1250
    assert (document["sample_rate"], document["channels"], document["encoding"]) == (44_100, 2, "PCM_S16LE")
    assert document["timings"] == {"separation": 1.5}
    assert document["warnings"] == ["3 samples were not finite and are silent now"]
    for stem, listed in zip(stems, document["stems"], strict=True):
        content = (folder / "stems" / listed["file"]).read_bytes()
        assert listed["sha256"] == hashlib.sha256(content).hexdigest()
        assert listed["pcm_sha256"] == hashlib.sha256(content[len(HEADER) :]).hexdigest()
        assert listed["size"] == len(content)
        assert listed["name"] == stem.name
    assert read_stem_files(RunFiles(folder)) == stems
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["stems.json"]


def test_a_job_that_was_never_decoded_has_no_stems_json() -> None:
    with pytest.raises(InternalError):
        stems_document(replace(a_job(), layout=None), [], {})


def test_a_failed_write_leaves_the_old_stems_json_whole(folder: Path) -> None:
    finish(folder)
    before = (folder / "stems.json").read_bytes()
    with pytest.raises(TypeError):
        write_stems_json(RunFiles(folder), {"model": "x" * 100_000, "unwritable": object()})
    assert (folder / "stems.json").read_bytes() == before
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["stems.json"]


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b'{"stems":[{"name":"x"}]}', b"\xff"])
def test_a_missing_or_spoilt_stems_json_means_that_the_artifacts_are_gone(
    folder: Path, content: bytes | None
) -> None:
    if content is not None:
        (folder / "stems.json").write_bytes(content)
    with pytest.raises(ArtifactNotFoundError, match="submit the track again"):
        open_artifact(RunFiles(folder), "stems.zip")


# stems.zip


def test_the_archive_holds_every_stem_stored(folder: Path) -> None:
    stems = finish(folder)
    reader = open_artifact(RunFiles(folder), "stems.zip")
    content = read_all(reader)
    reader.close()
    assert len(content) == reader.total_bytes
    assert reader.content_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [stem.file for stem in stems]
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.external_attr >> 16 == 0o100644
            assert archive.read(entry) == (folder / "stems" / entry.filename).read_bytes()


def test_the_archive_is_the_same_bytes_every_time(folder: Path) -> None:
    plan = plan_stems_zip(RunFiles(folder), finish(folder))
    first = read_all(ArtifactReader(plan.spans, "application/zip"), step=777)
    os.utime(folder / "stems" / "drums.wav", (1e9, 1e9))
    assert read_all(open_artifact(RunFiles(folder), "stems.zip")) == first


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 60), max_size=4),
    offset=st.integers(0, 1000),
    count=st.integers(-1, 1000),
    text=st.text("aé漢🎧. -", min_size=1, max_size=8),
)
def test_any_piece_is_that_piece_of_the_whole(
    tmp_path: Path, sizes: list[int], offset: int, count: int, text: str
) -> None:
    entries: list[ZipEntry] = []
    for index, size in enumerate(sizes):
        path = tmp_path / str(index)
        path.write_bytes(bytes(range(size)))
        entries.append(ZipEntry(f"{index}{text}", path, size, zlib.crc32(bytes(range(size)))))
    plan = ZipPlan.of(entries)
    reader = ArtifactReader(plan.spans, "application/zip")
    whole = read_all(reader)
    assert len(whole) == plan.total_bytes
    offset = min(offset, plan.total_bytes)
    assert reader.read_now(offset, count) == whole[offset : offset + max(0, count)]
    reader.close()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.namelist() == [entry.name for entry in entries]
        assert archive.testzip() is None


def test_unzip_accepts_the_archive(folder: Path) -> None:
    unzip = shutil.which("unzip")
    if unzip is None:
        pytest.skip("there is no unzip here")
    finish(folder)
    archive = folder / "downloaded.zip"
    archive.write_bytes(read_all(open_artifact(RunFiles(folder), "stems.zip")))
    tested = subprocess.run([unzip, "-t", archive], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout
    assert "No errors detected" in tested.stdout


class PlanFile(io.RawIOBase):
    """A plan as a file for zipfile, which reads only what it needs of it."""

    def __init__(self, plan: ZipPlan) -> None:
        self.reader = ArtifactReader(plan.spans, "")
        self.place = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = offset + (0, self.place, self.reader.total_bytes)[whence]
        return self.place

    def tell(self) -> int:
        return self.place

    def read(self, size: int = -1) -> bytes:
        count = self.reader.total_bytes - self.place if size < 0 else size
        piece = b""
        while len(piece) < count and (more := self.reader.read_now(self.place, count - len(piece))):
            piece += more
            self.place += len(more)
        return piece


@pytest.mark.parametrize("big", [0xFFFFFFFE, 0xFFFFFFFF, 0x100000000, 5 << 30])
def test_files_and_places_past_4_gib_are_right(tmp_path: Path, big: int) -> None:
    huge, small = tmp_path / "huge", tmp_path / "small"
    with huge.open("wb") as file:
        # A hole takes no room.
        file.truncate(big)
    small.write_bytes(b"behind it")
    plan = ZipPlan.of(
        [
            ZipEntry("huge.wav", huge, big, 0),
            ZipEntry("small.wav", small, 9, zlib.crc32(b"behind it")),
        ]
    )
    # zipfile goes by the directory alone; other readers also want the sizes in the local header.
    header = plan.spans[0]
    assert isinstance(header, BytesSpan)
    assert (header.data[-16:] == struct.pack("<QQ", big, big)) == (big >= 0xFFFFFFFF)
    file = PlanFile(plan)
    with zipfile.ZipFile(file) as archive:
        assert [entry.file_size for entry in archive.infolist()] == [big, 9]
        assert archive.read("small.wav") == b"behind it"
        with archive.open("huge.wav") as entry:
            assert entry.read(10) == bytes(10)
    file.reader.close()


def test_more_entries_than_16_bits_count(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    plan = ZipPlan.of([ZipEntry(f"{index}", tmp_path / "empty", 0, 0) for index in range(70_000)])
    last = plan.spans[-1]
    tail = ArtifactReader([replace(last, start=0)], "").read_now(0, MAX_READ_BYTES)
    # zipfile takes a directory without the files before it for an archive that lost its head.
    with zipfile.ZipFile(io.BytesIO(tail)) as archive:
        assert archive.namelist() == [f"{index}" for index in range(70_000)]
    # The ZIP64 end record (APPNOTE 4.3.14) counts what 16 bits cannot.
    record = tail[tail.rindex(b"PK\x06\x06") :]
    assert struct.unpack_from("<QQ", record, 24) == (70_000, 70_000)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InternalError):
        ZipPlan.of([ZipEntry("a", tmp_path / "a", 0, 0), ZipEntry("a", tmp_path / "b", 0, 0)])


def test_a_full_disk_leaves_no_half_stems_json(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        with pytest.raises(DiskFullError):
            write_stems_json(RunFiles(small), {"model": "x" * 100_000})
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_stem_that_changed_is_not_passed_on_as_if_it_had_not(folder: Path) -> None:
    plan = plan_stems_zip(RunFiles(folder), finish(folder))
    with (folder / "stems" / "bass.wav").open("ab") as file:
        file.write(b"!")
    with pytest.raises(InternalError, match=r"bass\.wav has changed"):
        read_all(ArtifactReader(plan.spans, ""))
    with pytest.raises(InternalError, match=r"bass\.wav has changed"):
        open_stem(RunFiles(folder), "bass")
    (folder / "stems" / "drums.wav").unlink()
    with pytest.raises(ArtifactNotFoundError, match=r"drums\.wav is gone"):
        read_all(ArtifactReader(plan.spans, ""))
    with pytest.raises(ArtifactNotFoundError, match=r"drums\.wav is gone"):
        open_stem(RunFiles(folder), "drums")
    assert len(read_all(open_stem(RunFiles(folder), "other"))) == 5046


def test_a_stem_that_shrinks_under_the_reader_is_noticed(folder: Path) -> None:
    plan = plan_stems_zip(RunFiles(folder), finish(folder))
    reader = ArtifactReader(plan.spans, "")
    reader.read_now(0, 200)
    os.truncate(folder / "stems" / "drums.wav", 100)
    with pytest.raises(InternalError, match="became shorter"):
        read_all(reader)
    reader.close()


def test_a_link_in_a_stem_s_place_is_not_followed(folder: Path, tmp_path: Path) -> None:
    stems = finish(folder)
    secret = tmp_path / "secret"
    (folder / "stems" / "drums.wav").rename(secret)
    (folder / "stems" / "drums.wav").symlink_to(secret)
    with pytest.raises(ArtifactNotFoundError):
        read_all(ArtifactReader(plan_stems_zip(RunFiles(folder), stems).spans, ""))


# Readers


async def test_an_artifact_is_read_from_any_offset(folder: Path) -> None:
    finish(folder)
    whole = (folder / "stems.json").read_bytes()
    async with open_artifact(RunFiles(folder), "stems.json") as reader:
        assert reader.content_type == "application/json"
        assert reader.total_bytes == len(whole)
        assert await reader.read(0, 1 << 30) == whole
        assert await reader.read(10, 5) == whole[10:15]
        assert await reader.read(len(whole), 5) == b""
        for offset in (-1, len(whole) + 1):
            with pytest.raises(InvalidFieldError, match="offset must be 0 to"):
                await reader.read(offset, 1)
    with pytest.raises(InternalError, match="after it was closed"):
        await reader.read(0, 1)


async def test_a_reader_holds_one_file_open_and_none_when_closed(folder: Path) -> None:
    finish(folder)
    own = Path("/proc/self/fd")

    def open_stems() -> int:
        return sum(os.path.realpath(link).startswith(str(folder)) for link in own.iterdir())

    async with open_artifact(RunFiles(folder), "stems.zip") as reader:
        for offset in range(0, reader.total_bytes, 1000):
            await reader.read(offset, 1000)
            assert open_stems() <= 1
    assert open_stems() == 0


async def test_many_may_read_through_one_reader(folder: Path) -> None:
    finish(folder)
    async with open_artifact(RunFiles(folder), "stems.zip") as reader:
        whole = read_all(reader)
        offsets = range(0, len(whole), 301)
        pieces = await asyncio.gather(*(reader.read(offset, 301) for offset in offsets))
    assert b"".join(pieces) == whole


@pytest.mark.parametrize("name", ["", "stems", "../a/stems.json", "track.stem.mp4", "stems/drums.wav"])
def test_a_name_is_never_a_path(folder: Path, name: str) -> None:
    finish(folder)
    with pytest.raises(ArtifactNotFoundError, match="see the job's artifacts") as caught:
        open_artifact(RunFiles(folder), name)
    assert caught.value.field == "name"


def test_waveforms_are_served_by_the_names_of_the_stems(folder: Path) -> None:
    finish(folder)
    for name, content_type in (
        ("waveform-bass.dat", "application/octet-stream"),
        ("waveform-bass.json", "application/json"),
    ):
        with pytest.raises(ArtifactNotFoundError, match=f"the job has no {name}") as caught:
            open_artifact(RunFiles(folder), name)
        assert caught.value.field == "name"
        (folder / name).write_bytes(b"peaks")
        reader = open_artifact(RunFiles(folder), name)
        assert reader.content_type == content_type
        assert read_all(reader) == b"peaks"
        reader.close()
    (folder / "waveform-x.dat").write_bytes(b"of no stem")
    for name in ("waveform-x.dat", "waveform-bass.txt", "waveform-", "waveform-../a/stems.json"):
        with pytest.raises(ArtifactNotFoundError, match="there is no artifact"):
            open_artifact(RunFiles(folder), name)
    archive = read_all(open_artifact(RunFiles(folder), "stems.zip"))
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.namelist() == [f"{name}.wav" for name in NAMES], "the archive is of the stems alone"


def test_one_read_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "stems.json").write_bytes(bytes(MAX_READ_BYTES + 1))
    reader = open_artifact(RunFiles(tmp_path), "stems.json")
    assert len(reader.read_now(0, 1 << 40)) == MAX_READ_BYTES
    reader.close()
