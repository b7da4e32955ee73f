"""What a power cut leaves of uploads: what was forced out to the disk, and nothing that only seems to be there."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mismo_grpc.errors import InternalError, InvalidFieldError
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.storage import boot
from mismo_grpc.storage.disk import MIB, sync
from mismo_grpc.uploads import part_file
from mismo_grpc.uploads import uploads as uploads_module
from mismo_grpc.uploads.part_file import SYNC_BYTES, UploadFile, durable_bytes
from mismo_grpc.uploads.record import UploadRow, UploadStore
from mismo_grpc.uploads.uploads import Uploads
from tests.support.memory_store import MemoryJobStore
from tests.unit.uploads.test_uploads import CONTENT, NOW, SHA256, begin, send, uploads_on


@pytest.fixture
def store() -> UploadStore:
    return MemoryJobStore()


@pytest.fixture
def reboot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has the machine run in the boot of that name, at first in "a"; "" for a system without such names."""

    def into(name: str) -> None:
        monkeypatch.setattr(boot, "BOOT_ID_FILE", tmp_path / f"boot-{name}" if name else tmp_path / "none")
        (tmp_path / f"boot-{name}").write_text(f"{name}\n")

    into("a")
    return into


LONG = random.Random(1).randbytes(11 * MIB)
LONG_SHA256 = hashlib.sha256(LONG).hexdigest()


async def send_long(uploads: Uploads, upload_id: str, start: int, end: int) -> None:
    for offset in range(start, end, MIB):
        await uploads.write(upload_id, offset, LONG[offset : min(offset + MIB, end)])


def long_uploads(store: UploadStore, root: Path) -> Uploads:
    return uploads_on(store, root, max_upload_bytes=1 << 24)


@pytest.mark.parametrize(
    ("first_boot", "next_boot", "kept"),
    [("a", "a", 9 * MIB), ("a", "b", 4 * MIB), ("a", "", 4 * MIB), ("", "", 4 * MIB)],
)
async def test_after_another_boot_only_what_was_synced_is_committed(
    store: UploadStore,
    tmp_path: Path,
    reboot: Callable[[str], None],
    first_boot: str,
    next_boot: str,
    kept: int,
) -> None:
    """The length of the file outlives the power, its tail does not."""
    reboot(first_boot)
    uploads = long_uploads(store, tmp_path)
    upload_id = await begin(uploads, LONG, LONG_SHA256)
    await send_long(uploads, upload_id, 0, 9 * MIB)
    if kept < 9 * MIB:
        with next((tmp_path / "uploads").iterdir()).open("r+b") as file:
            file.seek(kept)
            file.write(bytes(9 * MIB - kept))
    reboot(next_boot)
    uploads = long_uploads(store, tmp_path)
    assert (await uploads.get(upload_id)).committed_bytes == kept
    assert (await uploads.open(upload_id, "", len(LONG), "", NOW)).committed_bytes == kept
    await send_long(uploads, upload_id, kept, len(LONG))
    assert (await uploads.finish(upload_id)).sha256 == LONG_SHA256


async def test_what_comes_in_a_boot_counts_until_the_next(
    tmp_path: Path, reboot: Callable[[str], None]
) -> None:
    store = SqliteJobStore(tmp_path / "jobs.db")
    uploads = long_uploads(store, tmp_path)
    upload_id = await begin(uploads, LONG)
    await send_long(uploads, upload_id, 0, 9 * MIB)
    reboot("b")
    uploads = long_uploads(store, tmp_path)
    await uploads.open(upload_id, "", len(LONG), "", NOW)
    await send_long(uploads, upload_id, 4 * MIB, 7 * MIB)
    store.close()
    store = SqliteJobStore(tmp_path / "jobs.db")
    assert (await long_uploads(store, tmp_path).get(upload_id)).committed_bytes == 7 * MIB
    reboot("c")
    assert (await long_uploads(store, tmp_path).get(upload_id)).committed_bytes == 0
    store.close()


async def test_a_tail_that_was_dropped_is_gone_before_the_new_boot_vouches_for_the_file(
    tmp_path: Path, reboot: Callable[[str], None]
) -> None:
    class Watching(MemoryJobStore):
        def put_upload(self, row: UploadRow) -> None:
            if row.boot == "b":
                assert next((tmp_path / "uploads").iterdir()).stat().st_size == 4 * MIB
            super().put_upload(row)

    store = Watching()
    uploads = long_uploads(store, tmp_path)
    upload_id = await begin(uploads, LONG)
    await send_long(uploads, upload_id, 0, 9 * MIB)
    reboot("b")
    await long_uploads(store, tmp_path).write(upload_id, 4 * MIB, b"x")
    row = store.get_upload(upload_id)
    assert row is not None
    assert row.boot == "b"


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, SYNC_BYTES), max_size=12))
def test_whenever_the_power_goes_what_counts_was_forced_out(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("uploads") / "file"
    synced = {"bytes": 0, "name": False}

    def watched(forced: Path) -> None:
        # The length may be on the disk before the content is.
        assert durable_bytes(path.stat().st_size) <= synced["bytes"]
        sync(forced)
        if forced == path:
            synced["bytes"] = path.stat().st_size
        else:
            synced["name"] = True

    monkeypatch.setattr(part_file, "sync", watched)
    file = UploadFile(path, 1 << 30, same_boot=True)
    content = memoryview(bytes(SYNC_BYTES))
    for size in sizes:
        file.append(content[:size])
        assert durable_bytes(file.size()) <= synced["bytes"]
        assert synced["name"] or not durable_bytes(file.size())
        assert file.size() - durable_bytes(file.size()) < 2 * SYNC_BYTES


async def test_a_chunk_is_not_longer_than_what_may_be_lost(store: UploadStore, tmp_path: Path) -> None:
    uploads = long_uploads(store, tmp_path)
    upload_id = await begin(uploads, LONG)
    with pytest.raises(InvalidFieldError, match="send smaller ones") as caught:
        await uploads.write(upload_id, 0, LONG[: SYNC_BYTES + 1])
    assert (caught.value.field, caught.value.metadata) == ("chunk.data", {"committed_bytes": "0"})
    assert await uploads.write(upload_id, 0, LONG[:SYNC_BYTES]) == SYNC_BYTES


@pytest.mark.parametrize(("sent", "kept"), [(7 * MIB, 4 * MIB), (len(LONG), 8 * MIB)])
async def test_what_the_disk_refuses_to_keep_is_not_committed(
    store: UploadStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: int, kept: int
) -> None:
    """After an error of fsync the system may have dropped the bytes, and says so only once."""
    uploads = long_uploads(store, tmp_path)
    upload_id = await begin(uploads, LONG, LONG_SHA256)
    await send_long(uploads, upload_id, 0, sent)

    def failing(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    step = uploads.finish(upload_id) if sent == len(LONG) else send_long(uploads, upload_id, sent, 8 * MIB)
    with monkeypatch.context() as broken:
        broken.setattr(part_file, "sync", failing)
        with pytest.raises(InternalError):
            await step
    assert (await uploads.get(upload_id)).committed_bytes == kept
    await send_long(uploads, upload_id, kept, len(LONG))
    assert (await uploads.finish(upload_id)).sha256 == LONG_SHA256


class Steps(MemoryJobStore):
    """Notes what is forced out to the disk and which uploads become complete, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.steps: list[str] = []
        for module in (part_file, uploads_module):
            monkeypatch.setattr(module, "sync", self.sync)

    def sync(self, path: Path) -> None:
        sync(path)
        self.steps.append("folder" if path.is_dir() else "file")

    def put_upload(self, row: UploadRow) -> None:
        super().put_upload(row)
        self.steps.append("complete" if row.complete else "begun")


async def test_an_upload_is_complete_once_its_file_and_name_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Steps(monkeypatch)
    uploads = uploads_on(store, tmp_path)
    await send(uploads)
    assert store.steps == ["begun", "file", "folder", "complete"]
    store.steps.clear()
    assert (await uploads.open("", "", len(CONTENT), SHA256, NOW)).complete
    assert store.steps == ["begun", "folder", "complete"], "the content is on the disk already"
    store.steps.clear()
    (tmp_path / "whole").write_bytes(CONTENT)
    await uploads.adopt(tmp_path / "whole", "a.wav", len(CONTENT), SHA256, NOW)
    assert store.steps == ["file", "folder", "complete"]


async def test_a_file_that_is_adopted_is_no_litter_before_its_row_is_there(tmp_path: Path) -> None:
    class Sweeping(MemoryJobStore):
        def put_upload(self, row: UploadRow) -> None:
            assert next((tmp_path / "uploads").iterdir()).read_bytes() == CONTENT
            assert asyncio.run(uploads.sweep(NOW)) == []
            super().put_upload(row)

    uploads = uploads_on(Sweeping(), tmp_path)
    (tmp_path / "whole").write_bytes(CONTENT)
    upload_id = await uploads.adopt(tmp_path / "whole", "a.wav", len(CONTENT), SHA256, NOW)
    assert uploads.path_of(upload_id).read_bytes() == CONTENT
