"""What tests of submits share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.results.runs import Runs
from mismo_grpc.storage.disk import FileSystemDisk
from mismo_grpc.uploads.uploads import Uploads
from tests.unit.orchestration.desk import SubmitDesk
from tests.unit.orchestration.place import NOW, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "music").mkdir()
    store = SqliteJobStore(tmp_path / "jobs.sqlite3")
    uploads = Uploads(
        tmp_path / "uploads",
        store,
        FileSystemDisk(),
        idle_seconds=3600.0,
        keep_seconds=3600.0,
        max_upload_bytes=1 << 30,
        reserve_bytes=0,
    )
    repository = JobRepository(store, lambda: NOW)
    yield Place(tmp_path, store, repository, uploads, Runs(tmp_path / "jobs"))
    repository.close()


@pytest.fixture
async def desk(place: Place) -> AsyncIterator[SubmitDesk]:
    desk = SubmitDesk(place)
    yield desk
    await desk.close()
