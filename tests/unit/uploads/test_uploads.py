"""Uploads: resumable, bounded, and never in the way of the next attempt."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mismo_grpc.errors import (
    DiskFullError,
    EmptyAudioError,
    InvalidFieldError,
    MismoError,
    StreamProtocolError,
    TooManyStreamsError,
    UploadChecksumError,
    UploadGapError,
    UploadIncompleteError,
    UploadNotFoundError,
    UploadTooLargeError,
)
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.storage.disk import Disk, FileSystemDisk, QuotaDisk
from mismo_grpc.uploads.record import UploadRow, UploadStore
from mismo_grpc.uploads.uploads import Uploads, UploadStatus
from tests.support.memory_store import MemoryJobStore

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NOW = 4e9
"""Later than any file's own time in these tests."""
IDLE, KEEP = 3600.0, 86400.0


@pytest.fixture
def store() -> Iterator[UploadStore]:
    opened = MemoryJobStore()
    yield opened
    opened.close()


def uploads_on(
    store: UploadStore,
    root: Path,
    disk: Disk | None = None,
    *,
    max_upload_bytes: int = 1 << 20,
    max_unfinished: int = 1024,
    reserve_bytes: int = 0,
) -> Uploads:
    return Uploads(
        root / "uploads",
        store,
        disk or FileSystemDisk(),
        idle_seconds=IDLE,
        keep_seconds=KEEP,
        max_upload_bytes=max_upload_bytes,
        max_unfinished=max_unfinished,
        reserve_bytes=reserve_bytes,
    )


@pytest.fixture
def uploads(store: UploadStore, tmp_path: Path) -> Uploads:
    return uploads_on(store, tmp_path)


async def begin(uploads: Uploads, content: bytes = CONTENT, sha256: str = "", now: float = NOW) -> str:
    return (await uploads.open("", "a.wav", len(content), sha256, now)).upload_id


async def send(
    uploads: Uploads, content: bytes = CONTENT, sha256: str = "", now: float = NOW
) -> UploadStatus:
    upload_id = await begin(uploads, content, sha256, now)
    await uploads.write(upload_id, 0, content)
    return await uploads.finish(upload_id)


# The way of an upload


async def test_a_file_arrives_in_chunks(uploads: Uploads) -> None:
    begun = await uploads.open("", "a.wav", len(CONTENT), SHA256, NOW)
    assert (begun.committed_bytes, begun.total_bytes, begun.complete, begun.sha256) == (
        0,
        len(CONTENT),
        False,
        "",
    )
    for offset in range(0, len(CONTENT), 1000):
        chunk = CONTENT[offset : offset + 1000]
        committed = await uploads.write(begun.upload_id, offset, chunk, google_crc32c.value(chunk))
        assert committed == offset + len(chunk)
        assert (await uploads.get(begun.upload_id)).committed_bytes == committed
    done = await uploads.finish(begun.upload_id)
    assert (done.committed_bytes, done.complete, done.sha256) == (len(CONTENT), True, SHA256)
    assert uploads.path_of(done.upload_id).read_bytes() == CONTENT
    again = await uploads.finish(done.upload_id, writer=begun.writer)
    assert (again.complete, again.sha256) == (True, SHA256)
    assert await uploads.write(done.upload_id, 5, b"abc") == len(CONTENT)
    assert uploads.path_of(done.upload_id).read_bytes() == CONTENT


async def test_ids_cannot_be_guessed(uploads: Uploads) -> None:
    ids = {await begin(uploads) for _ in range(20)}
    assert len(ids) == 20
    assert all(len(upload_id) >= 32 for upload_id in ids)


@pytest.mark.parametrize("durable", [True, False])
async def test_an_upload_goes_on_after_a_restart(tmp_path: Path, durable: bool) -> None:
    store: UploadStore = SqliteJobStore(tmp_path / "jobs.db") if durable else MemoryJobStore()
    upload_id = await begin(uploads_on(store, tmp_path), sha256=SHA256)
    await uploads_on(store, tmp_path).write(upload_id, 0, CONTENT[:5000])
    if durable:
        store.close()
        store = SqliteJobStore(tmp_path / "jobs.db")
    after = uploads_on(store, tmp_path)
    assert (await after.get(upload_id)).committed_bytes == 5000
    status = await after.open(upload_id, "a.wav", len(CONTENT), SHA256, NOW)
    assert status.committed_bytes == 5000
    await after.write(upload_id, 5000, CONTENT[5000:])
    assert (await after.finish(upload_id)).sha256 == SHA256
    store.close()


WRITER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_uploads import SqliteJobStore, uploads_on, CONTENT
async def main():
    uploads = uploads_on(SqliteJobStore(Path(sys.argv[1]) / "jobs.db"), Path(sys.argv[1]), max_upload_bytes=1 << 28)
    status = await uploads.open("", "a.wav", 1 << 28, "", 4e9)
    print(status.upload_id, flush=True)
    offset = 0
    while True:
        offset = await uploads.write(status.upload_id, offset, CONTENT)
        print(offset, flush=True)
asyncio.run(main())
"""


def killed_server(root: Path) -> tuple[str, int]:
    """Kills a server that is being sent an upload; answers the upload's id and the last acknowledgement."""
    command = [sys.executable, "-c", WRITER, str(root), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        upload_id = server.stdout.readline().strip()
        lines = [server.stdout.readline() for _ in range(30)]
        os.kill(server.pid, signal.SIGKILL)
        lines += [line for line in server.stdout if line.endswith("\n")]
    return upload_id, int(lines[-1])


async def test_committed_bytes_survive_a_killed_server(tmp_path: Path) -> None:
    upload_id, acknowledged = killed_server(tmp_path)
    store = SqliteJobStore(tmp_path / "jobs.db")
    uploads = uploads_on(store, tmp_path, max_upload_bytes=1 << 28)
    committed = (await uploads.open(upload_id, "", 1 << 28, "", NOW)).committed_bytes
    assert acknowledged <= committed <= acknowledged + len(CONTENT)
    content = next((tmp_path / "uploads").iterdir()).read_bytes()
    repeated = CONTENT * (committed // len(CONTENT) + 1)
    assert content == repeated[:committed]
    assert await uploads.write(upload_id, committed, b"more") == committed + 4
    store.close()


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 110), st.integers(0, 60), st.sampled_from(["same", "restart", "reopen"])),
        max_size=15,
    )
)
def test_whatever_order_chunks_come_in_the_file_is_a_prefix_of_the_content(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[tuple[int, int, str]]
) -> None:
    content = bytes(range(100))

    async def play() -> None:
        store, root = MemoryJobStore(), tmp_path_factory.mktemp("uploads")
        uploads = uploads_on(store, root)
        upload_id = await begin(uploads, content)
        committed = 0
        for offset, size, event in chunks:
            if event == "restart":
                uploads = uploads_on(store, root)
            elif event == "reopen":
                status = await uploads.open(upload_id, "", len(content), "", NOW)
                assert status.committed_bytes == committed
            data = content[offset : offset + size]
            if offset > committed:
                with pytest.raises(UploadGapError) as caught:
                    await uploads.write(upload_id, offset, data)
                assert caught.value.metadata == {"committed_bytes": str(committed)}
            else:
                committed = max(committed, offset + len(data))
                assert await uploads.write(upload_id, offset, data) == committed
            assert (await uploads.get(upload_id)).committed_bytes == committed
        await uploads.write(upload_id, committed, content[committed:])
        assert (await uploads.finish(upload_id)).sha256 == hashlib.sha256(content).hexdigest()
        assert uploads.path_of(upload_id).read_bytes() == content

    asyncio.run(play())


# A known content


async def test_a_known_content_is_complete_at_once(uploads: Uploads) -> None:
    first = await send(uploads)
    second = await uploads.open("", "b.wav", len(CONTENT), SHA256, NOW)
    assert (second.complete, second.sha256, second.committed_bytes) == (True, SHA256, len(CONTENT))
    assert second.upload_id != first.upload_id
    assert uploads.path_of(second.upload_id).samefile(uploads.path_of(first.upload_id))


async def test_a_known_content_needs_no_room(store: UploadStore, tmp_path: Path) -> None:
    await send(uploads_on(store, tmp_path))
    full = uploads_on(store, tmp_path, QuotaDisk(0, tmp_path))
    assert (await full.open("", "", len(CONTENT), SHA256, NOW)).complete


async def test_another_size_is_another_content(uploads: Uploads) -> None:
    await send(uploads)
    assert not (await uploads.open("", "", len(CONTENT) - 1, SHA256, NOW)).complete


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: os.truncate(path, 10)])
async def test_a_known_content_whose_file_is_spoilt_is_sent_again(uploads: Uploads, spoil) -> None:
    first = await send(uploads)
    spoil(uploads.path_of(first.upload_id))
    again = await uploads.open("", "", len(CONTENT), SHA256, NOW)
    assert (again.complete, again.committed_bytes) == (False, 0)
    await uploads.write(again.upload_id, 0, CONTENT)
    assert (await uploads.finish(again.upload_id)).complete


async def test_an_unfinished_upload_is_no_known_content(uploads: Uploads) -> None:
    upload_id = await begin(uploads, sha256=SHA256)
    await uploads.write(upload_id, 0, CONTENT)
    assert not (await uploads.open("", "", len(CONTENT), SHA256, NOW)).complete


# Wrong messages


@pytest.mark.parametrize(
    ("header", "kind", "field"),
    [
        (("", "", -1, ""), InvalidFieldError, "header.total_bytes"),
        (("", "", 0, ""), EmptyAudioError, "header.total_bytes"),
        (("", "", (1 << 20) + 1, ""), UploadTooLargeError, "header.total_bytes"),
        (("", "", 10, "5" * 63), InvalidFieldError, "header.sha256"),
        (("", "", 10, "A" * 64), InvalidFieldError, "header.sha256"),
        (("", "x" * 1025, 10, ""), InvalidFieldError, "header.filename"),
    ],
)
async def test_a_wrong_header_is_refused(
    uploads: Uploads,
    store: UploadStore,
    header: tuple[str, str, int, str],
    kind: type[MismoError],
    field: str,
) -> None:
    with pytest.raises(kind) as caught:
        await uploads.open(*header, NOW)
    assert caught.value.field == field
    assert store.count_unfinished_uploads() == 0


@pytest.mark.parametrize("upload_id", ["x" * 32, "../../../etc/passwd", "a/../../../../b", "\0" * 20, "."])
async def test_an_unknown_id_is_not_found_and_never_a_path(uploads: Uploads, upload_id: str) -> None:
    for call in (
        uploads.open(upload_id, "", 10, "", NOW),
        uploads.write(upload_id, 0, b"x"),
        uploads.finish(upload_id),
        uploads.get(upload_id),
    ):
        with pytest.raises(UploadNotFoundError):
            await call
    with pytest.raises(UploadNotFoundError):
        uploads.path_of(upload_id)


async def test_a_resumed_upload_must_be_of_the_same_file(uploads: Uploads) -> None:
    upload_id = await begin(uploads, sha256=SHA256)
    with pytest.raises(InvalidFieldError, match=r"header\.total_bytes"):
        await uploads.open(upload_id, "", len(CONTENT) + 1, "", NOW)
    with pytest.raises(InvalidFieldError, match=r"header\.sha256"):
        await uploads.open(upload_id, "", len(CONTENT), "0" * 64, NOW)
    assert (await uploads.open(upload_id, "", len(CONTENT), "", NOW)).committed_bytes == 0


async def test_a_hash_that_is_told_later_counts(uploads: Uploads) -> None:
    upload_id = await begin(uploads)
    await uploads.open(upload_id, "", len(CONTENT), "0" * 64, NOW)
    await uploads.write(upload_id, 0, CONTENT)
    with pytest.raises(UploadChecksumError):
        await uploads.finish(upload_id)


async def test_a_damaged_chunk_is_not_committed(uploads: Uploads) -> None:
    upload_id = await begin(uploads)
    await uploads.write(upload_id, 0, CONTENT[:100])
    with pytest.raises(UploadChecksumError, match="send this chunk again") as caught:
        await uploads.write(upload_id, 100, CONTENT[100:200], google_crc32c.value(CONTENT[100:200]) ^ 1)
    assert caught.value.metadata == {"committed_bytes": "100"}
    assert (await uploads.get(upload_id)).committed_bytes == 100


async def test_a_gap_says_where_to_go_on(uploads: Uploads) -> None:
    upload_id = await begin(uploads)
    await uploads.write(upload_id, 0, CONTENT[:100])
    with pytest.raises(UploadGapError, match="continue at 100") as caught:
        await uploads.write(upload_id, 101, b"x")
    assert caught.value.metadata == {"committed_bytes": "100"}


async def test_more_than_announced_is_refused_and_the_upload_can_still_finish(uploads: Uploads) -> None:
    upload_id = await begin(uploads)
    with pytest.raises(UploadTooLargeError):
        await uploads.write(upload_id, 0, CONTENT + b"!")
    await uploads.write(upload_id, 0, CONTENT)
    with pytest.raises(UploadTooLargeError):
        await uploads.write(upload_id, len(CONTENT), b"!")
    assert (await uploads.finish(upload_id)).sha256 == SHA256
    with pytest.raises(UploadTooLargeError):
        await uploads.write(upload_id, len(CONTENT), b"!")


async def test_a_negative_offset_is_refused(uploads: Uploads) -> None:
    upload_id = await begin(uploads)
    with pytest.raises(InvalidFieldError, match=r"chunk\.offset"):
        await uploads.write(upload_id, -1, b"xx")


async def test_an_unfinished_upload_is_no_source(uploads: Uploads, tmp_path: Path) -> None:
    upload_id = await begin(uploads)
    await uploads.write(upload_id, 0, CONTENT[:100])
    for call in (lambda: uploads.finish(upload_id), lambda: uploads.link_into(upload_id, tmp_path / "s")):
        with pytest.raises(UploadIncompleteError) as caught:
            await call()
        assert caught.value.metadata == {"committed_bytes": "100"}
    with pytest.raises(UploadIncompleteError, match="send the rest"):
        uploads.path_of(upload_id)


async def test_after_a_wrong_hash_the_upload_begins_anew(uploads: Uploads) -> None:
    upload_id = await begin(uploads, sha256=SHA256)
    await uploads.write(upload_id, 0, CONTENT[::-1])
    with pytest.raises(UploadChecksumError, match="from offset 0") as caught:
        await uploads.finish(upload_id)
    assert caught.value.metadata["committed_bytes"] == "0"
    assert (await uploads.get(upload_id)).committed_bytes == 0
    await uploads.write(upload_id, 0, CONTENT)
    assert (await uploads.finish(upload_id)).complete


# Two at once


async def test_the_latest_stream_takes_an_upload_over(uploads: Uploads) -> None:
    """A client comes back before the server has noticed that it was gone."""
    first = await uploads.open("", "", len(CONTENT), "", NOW)
    await uploads.write(first.upload_id, 0, CONTENT[:100], writer=first.writer)
    second = await uploads.open(first.upload_id, "", len(CONTENT), "", NOW)
    assert second.committed_bytes == 100
    for late in (
        uploads.write(first.upload_id, 100, b"stale", writer=first.writer),
        uploads.finish(first.upload_id, writer=first.writer),
    ):
        with pytest.raises(StreamProtocolError, match="another stream has resumed this upload"):
            await late
    await uploads.write(second.upload_id, 100, CONTENT[100:], writer=second.writer)
    assert (await uploads.finish(second.upload_id, writer=second.writer)).sha256 == SHA256


async def test_a_writer_from_before_a_restart_must_open_anew(store: UploadStore, tmp_path: Path) -> None:
    before = await uploads_on(store, tmp_path).open("", "", len(CONTENT), "", NOW)
    after = uploads_on(store, tmp_path)
    with pytest.raises(StreamProtocolError):
        await after.write(before.upload_id, 0, b"x", writer=before.writer)


async def test_the_same_chunks_from_many_at_once_make_one_file(uploads: Uploads) -> None:
    upload_id = await begin(uploads, sha256=SHA256)

    async def client() -> None:
        committed = 0
        while committed < len(CONTENT):
            committed = await uploads.write(upload_id, committed, CONTENT[committed : committed + 700])

    await asyncio.gather(*(client() for _ in range(5)))
    assert (await uploads.finish(upload_id)).complete


async def test_a_client_that_vanishes_in_the_middle_leaves_a_whole_chunk_or_none(uploads: Uploads) -> None:
    upload_id = await begin(uploads, sha256=SHA256)
    committed = 0
    while committed < len(CONTENT):
        chunk = CONTENT[committed : committed + 1000]
        writing = asyncio.ensure_future(uploads.write(upload_id, committed, chunk))
        await asyncio.sleep(0)
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
        again = (await uploads.open(upload_id, "", len(CONTENT), "", NOW)).committed_bytes
        assert again in (committed, committed + len(chunk))
        committed = await uploads.write(upload_id, again, CONTENT[again : again + 1000])
    assert (await uploads.finish(upload_id)).sha256 == SHA256


async def test_only_so_many_may_be_under_way(store: UploadStore, tmp_path: Path) -> None:
    uploads = uploads_on(store, tmp_path, max_unfinished=2)
    first = await begin(uploads)
    await begin(uploads)
    with pytest.raises(TooManyStreamsError) as caught:
        await begin(uploads)
    assert caught.value.retry_after is not None
    await uploads.write(first, 0, CONTENT)
    await uploads.finish(first)
    await begin(uploads)
    assert (await uploads.open("", "", len(CONTENT), SHA256, NOW)).complete, "a known one takes no place"


async def test_a_header_that_nothing_follows_gives_way(store: UploadStore, tmp_path: Path) -> None:
    """Longest untouched first; what has a byte, is in a stream or complete does not."""
    uploads = uploads_on(store, tmp_path, max_unfinished=4)
    await send(uploads, b"complete")
    in_stream = (await uploads.open("", "", 100, "", NOW)).upload_id
    with_a_byte, newer, older = [
        await uploads.open("", "", 100, "", NOW + later) for later in (1.0, 3.0, 2.0)
    ]
    await uploads.write(with_a_byte.upload_id, 0, b"x")
    for status in (with_a_byte, newer, older):
        uploads.leave(status.writer)
    first = await begin(uploads, now=NOW + 4)
    with pytest.raises(UploadNotFoundError):
        await uploads.get(older.upload_id)
    assert (await uploads.get(newer.upload_id)).committed_bytes == 0
    await begin(uploads, now=NOW + 5)
    with pytest.raises(UploadNotFoundError):
        await uploads.get(newer.upload_id)
    with pytest.raises(TooManyStreamsError):
        await begin(uploads, now=NOW + 6)
    assert store.count_unfinished_uploads() == 4
    for upload_id in (in_stream, with_a_byte.upload_id, first):
        await uploads.get(upload_id)


async def test_a_client_that_leaves_while_its_header_is_taken_is_in_no_stream(
    store: UploadStore, tmp_path: Path
) -> None:
    class Gate(FileSystemDisk):
        asked, go_on = threading.Event(), threading.Event()

        def free_bytes(self, path: Path) -> int:
            self.asked.set()
            assert self.go_on.wait(60)
            return 1 << 40

    uploads = uploads_on(store, tmp_path, Gate(), max_unfinished=1)
    loop = asyncio.get_running_loop()
    # One step after the other.
    loop.set_default_executor(ThreadPoolExecutor(1))
    opening = asyncio.ensure_future(uploads.open("", "", 100, "", NOW))
    with ThreadPoolExecutor(1) as aside:
        assert await loop.run_in_executor(aside, Gate.asked.wait, 60)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    Gate.go_on.set()
    second = await begin(uploads)
    assert [row.upload_id for row in store.unfinished_uploads()] == [second]


# A full disk


async def test_an_upload_that_cannot_fit_is_refused_at_once(store: UploadStore, tmp_path: Path) -> None:
    uploads = uploads_on(store, tmp_path, QuotaDisk(len(CONTENT) + 99, tmp_path), reserve_bytes=100)
    with pytest.raises(DiskFullError):
        await begin(uploads)
    assert store.count_unfinished_uploads() == 0


async def test_an_upload_goes_on_when_there_is_room_again(store: UploadStore, tmp_path: Path) -> None:
    disk = QuotaDisk(2 * len(CONTENT), tmp_path)
    uploads = uploads_on(store, tmp_path, disk)
    upload_id = await begin(uploads, sha256=SHA256)
    await uploads.write(upload_id, 0, CONTENT[:1000])
    disk.limit = 1000
    with pytest.raises(DiskFullError):
        await uploads.write(upload_id, 1000, CONTENT[1000:])
    with pytest.raises(DiskFullError):
        await uploads.open(upload_id, "", len(CONTENT), SHA256, NOW)
    assert (await uploads.get(upload_id)).committed_bytes == 1000
    disk.limit = 2 * len(CONTENT)
    await uploads.write(upload_id, 1000, CONTENT[1000:])
    assert (await uploads.finish(upload_id)).complete


class Hopeful(FileSystemDisk):
    """Never warns, so that the system itself must refuse."""

    def free_bytes(self, path: Path) -> int:
        return 1 << 40


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def grow(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=1m", str(folder)], check=True)


async def test_a_really_full_disk_commits_nothing_of_the_chunk(store: UploadStore, small_disk: Path) -> None:
    content = os.urandom(100_000)
    uploads = uploads_on(store, small_disk, Hopeful())
    upload_id = await begin(uploads, content)
    await uploads.write(upload_id, 0, content[:10_000])
    with pytest.raises(DiskFullError, match="disk is full"):
        await uploads.write(upload_id, 10_000, content[10_000:])
    assert (await uploads.get(upload_id)).committed_bytes == 10_000
    assert next((small_disk / "uploads").iterdir()).read_bytes() == content[:10_000]
    grow(small_disk)
    await uploads.write(upload_id, 10_000, content[10_000:])
    assert (await uploads.finish(upload_id)).sha256 == hashlib.sha256(content).hexdigest()


# Links into jobs


async def test_a_job_s_link_outlives_the_upload(uploads: Uploads, tmp_path: Path) -> None:
    done = await send(uploads)
    target = tmp_path / "job" / "source"
    target.parent.mkdir()
    for _again in range(2):
        await uploads.link_into(done.upload_id, target)
        assert list(target.parent.iterdir()) == [target]
    assert target.samefile(uploads.path_of(done.upload_id))
    assert await uploads.sweep(NOW + KEEP + 1) == [done.upload_id]
    assert target.read_bytes() == CONTENT
    with pytest.raises(UploadNotFoundError):
        await uploads.link_into(done.upload_id, target)
    assert target.read_bytes() == CONTENT


async def test_a_link_takes_the_place_of_what_is_there(uploads: Uploads, tmp_path: Path) -> None:
    done = await send(uploads)
    (tmp_path / "source").write_bytes(b"of an earlier run")
    await uploads.link_into(done.upload_id, tmp_path / "source")
    assert (tmp_path / "source").read_bytes() == CONTENT


async def test_on_another_file_system_the_job_gets_a_copy(uploads: Uploads, tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    target = other / f"{os.getpid()}-source"
    try:
        await uploads.link_into((await send(uploads)).upload_id, target)
        assert target.read_bytes() == CONTENT
    finally:
        target.unlink(missing_ok=True)


# Sweeping


async def test_an_abandoned_upload_goes_and_a_busy_one_stays(uploads: Uploads, store: UploadStore) -> None:
    upload_id = await begin(uploads)
    await uploads.write(upload_id, 0, CONTENT[:10])
    assert await uploads.sweep(NOW + IDLE - 1) == []
    await uploads.open(upload_id, "", len(CONTENT), "", NOW + IDLE)
    assert await uploads.sweep(NOW + 2 * IDLE - 1) == []
    assert await uploads.sweep(NOW + 2 * IDLE + 1) == [upload_id]
    assert store.get_upload(upload_id) is None
    with pytest.raises(UploadNotFoundError):
        await uploads.write(upload_id, 10, CONTENT[10:])


async def test_a_chunk_on_its_way_does_not_bring_a_removed_upload_back(
    uploads: Uploads, store: UploadStore, tmp_path: Path
) -> None:
    upload_id = await begin(uploads)
    on_its_way = uploads._registry.find(upload_id)
    assert await uploads.sweep(NOW + IDLE + 1) == [upload_id]
    for late in (uploads.write(upload_id, 0, CONTENT), uploads.open(upload_id, "", len(CONTENT), "", NOW)):
        with pytest.raises(UploadNotFoundError):
            await late
    assert on_its_way.gone
    assert store.get_upload(upload_id) is None
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_chunks_keep_an_upload_alive(uploads: Uploads, tmp_path: Path) -> None:
    """Also those that came before a restart: the file itself knows when it was last written."""
    upload_id = await begin(uploads, now=0.0)
    await uploads.write(upload_id, 0, CONTENT[:10])
    written_at = next((tmp_path / "uploads").iterdir()).stat().st_mtime
    assert await uploads.sweep(written_at + IDLE - 1) == []
    assert await uploads.sweep(written_at + IDLE + 1) == [upload_id]
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_a_complete_upload_stays_its_time_from_the_last_use(uploads: Uploads) -> None:
    done = await send(uploads)
    assert await uploads.sweep(NOW + KEEP - 1) == []
    await uploads.open(done.upload_id, "", len(CONTENT), SHA256, NOW + KEEP)
    assert await uploads.sweep(NOW + 2 * KEEP - 1) == []
    assert await uploads.sweep(NOW + 2 * KEEP + 1) == [done.upload_id]


async def test_a_held_upload_stays_until_all_holds_end(uploads: Uploads) -> None:
    done = await send(uploads)
    late = NOW + 2 * KEEP
    with uploads.held(done.upload_id):
        with uploads.held(done.upload_id):
            assert await uploads.sweep(late) == []
        await uploads.discard(done.upload_id)
        assert await uploads.sweep(late) == []
        assert uploads.path_of(done.upload_id).read_bytes() == CONTENT
    assert await uploads.sweep(late) == [done.upload_id]


async def test_what_is_held_too_late_is_gone(uploads: Uploads) -> None:
    done = await send(uploads)
    await uploads.discard(done.upload_id)
    with uploads.held(done.upload_id), pytest.raises(UploadNotFoundError):
        uploads.path_of(done.upload_id)


async def test_litter_goes_and_strangers_stay(uploads: Uploads, store: UploadStore, tmp_path: Path) -> None:
    """A crash between the row and the file leaves one of them."""
    upload_id = await begin(uploads)
    root = tmp_path / "uploads"
    (root / f"{'x' * 32}.upload").write_bytes(b"no row")
    (root / "notes.txt").write_text("a person's")
    store.put_upload(UploadRow("y" * 32, "", 10, SHA256, True, 0.0))
    assert sorted(await uploads.sweep(NOW)) == ["x" * 32, "y" * 32]
    assert sorted(path.name for path in root.iterdir()) == sorted([f"{upload_id}.upload", "notes.txt"])
    assert store.get_upload("y" * 32) is None


async def test_an_upload_whose_file_a_crash_took_begins_at_zero(store: UploadStore, uploads: Uploads) -> None:
    store.put_upload(UploadRow("z" * 32, "", len(CONTENT), "", False, NOW))
    assert (await uploads.get("z" * 32)).committed_bytes == 0
    assert (await uploads.open("z" * 32, "", len(CONTENT), "", NOW)).committed_bytes == 0
    await uploads.write("z" * 32, 0, CONTENT)
    assert (await uploads.finish("z" * 32)).complete


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: os.truncate(path, 10)])
async def test_a_complete_upload_whose_file_is_not_whole_is_not_found(uploads: Uploads, spoil) -> None:
    done = await send(uploads)
    spoil(uploads.path_of(done.upload_id))
    with pytest.raises(UploadNotFoundError):
        uploads.path_of(done.upload_id)
    with pytest.raises(UploadNotFoundError):
        await uploads.get(done.upload_id)
