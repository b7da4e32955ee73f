"""Storage that is down, slow, cut off, changed or refuses: Azurite and Swift behind a bad network."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import obstore
import pytest

from mismo_grpc.errors import (
    BlobAccessDeniedError,
    BlobChangedError,
    BlobNotFoundError,
    BlobStoreUnavailableError,
)
from mismo_grpc.storage.blobs.containers import ContainerOpener
from mismo_grpc.storage.blobs.object_store import ObjectBlobStore
from mismo_grpc.storage.blobs.sending import ABORT_SECONDS
from tests.support.blob_servers import Azurite, Swift, azurite, swift
from tests.support.process import ROOT
from tests.support.tcp_proxy import TcpProxy

LARGE = 41 << 20
WRONG_KEY = "d3JvbmcgYnV0IGJhc2U2NCB0ZXh0"

MEMORY_MIB = 64
"""For two files at once, whatever their sizes."""


@pytest.fixture
async def proxy(remote) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(remote.server.port) as proxy:
        yield proxy


@pytest.fixture(params=[azurite, swift])
def own_server(request, tmp_path):
    """A service that a test may end and start again."""
    server = request.param(tmp_path)
    yield server
    server.stop()


def opened(server: Azurite | Swift, timeout: float = 20) -> ObjectBlobStore:
    opener = ContainerOpener(timeout=timeout)
    if isinstance(server, Azurite):
        return replace(opener, azure=server.account()).open("az://audio", "TEST")
    return replace(opener, s3=server.account()).open("s3://audio", "TEST")


async def test_a_service_that_is_down_is_an_error_within_seconds_and_works_once_it_is_back(
    own_server, track_of, tmp_path
):
    own_server.create("audio")
    store, track = opened(own_server), track_of(LARGE)
    await store.upload(track.path, "a.wav", sha256=track.sha256)
    own_server.stop()
    for call in (
        store.check(),
        store.head("a.wav"),
        store.download("a.wav", tmp_path / "target"),
        store.upload(track.path, "b.wav", sha256=track.sha256),
        store.write("c.json", b"{}"),
        store.read("a.wav", 0, 10),
    ):
        async with asyncio.timeout(30):
            with pytest.raises(
                BlobStoreUnavailableError, match=r"no connection.*see that the storage service runs"
            ):
                await call
    assert not (tmp_path / "target").exists()
    await asyncio.to_thread(own_server.start)
    await store.download("a.wav", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == track.data


async def test_a_short_failure_of_the_network_is_tried_again_by_the_client(remote, proxy):
    store = remote.store(address=proxy.address)
    await remote.store().write("a", b"1")
    proxy.refusals = 2
    assert await store.read("a", 0, 1) == b"1"
    assert proxy.refusals == 0


async def test_a_service_that_does_not_respond_is_an_error_after_the_timeout(remote, proxy, tmp_path):
    await remote.store().write("a.wav", b"1")
    store = remote.store(address=proxy.address, timeout=0.5)
    proxy.flowing.clear()
    for call in (
        store.head("a.wav"),
        store.download("a.wav", tmp_path / "target"),
        store.write("b", b"1"),
        store.read("a.wav", 0, 1),
    ):
        with pytest.raises(BlobStoreUnavailableError, match="timeout"):
            await call
    proxy.flowing.set()
    assert await store.read("a.wav", 0, 1) == b"1"


async def test_a_slow_network_is_waited_for(remote, proxy, track_of, tmp_path):
    store, track = remote.store(address=proxy.address), track_of(5 << 20)
    proxy.delay = 0.001
    await store.upload(track.path, "a.wav", sha256=track.sha256)
    await store.download("a.wav", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == track.data


async def test_a_connection_that_is_cut_within_a_download_is_an_error_and_leaves_nothing(
    remote, proxy, track_of, tmp_path
):
    track = track_of(LARGE)
    await remote.store().upload(track.path, "a.wav", sha256=track.sha256)
    folder = tmp_path / "targets"
    folder.mkdir()
    proxy.responses_left = LARGE // 2
    store = remote.store(address=proxy.address)
    with pytest.raises(BlobStoreUnavailableError):
        await store.download("a.wav", folder / "target")
    assert list(folder.iterdir()) == []
    proxy.responses_left = None
    assert (await store.download("a.wav", folder / "target")).sha256 == track.sha256


async def test_an_identical_blob_is_not_sent_again(remote, proxy, track_of):
    store, track = remote.store(address=proxy.address), track_of(LARGE)
    first = await store.upload(track.path, "a.wav", sha256=track.sha256)
    before = proxy.requested
    assert before > LARGE
    assert await store.upload(track.path, "a.wav", sha256=track.sha256) == first
    assert proxy.requested - before < 10_000


async def test_other_bytes_of_the_same_size_are_sent(place, track_of):
    store, one, other = place.store(), track_of(LARGE), track_of(LARGE)
    await store.upload(one.path, "a.wav", sha256=one.sha256)
    await store.upload(other.path, "a.wav", sha256=other.sha256)
    assert await store.read("a.wav", 0, LARGE) == other.data


async def test_a_blob_that_is_replaced_within_a_download_is_an_error_and_leaves_nothing(
    place, track_of, tmp_path
):
    store, old = place.store(), track_of(LARGE)
    await store.upload(old.path, "a.wav", sha256=old.sha256)
    folder = tmp_path / "targets"
    folder.mkdir()
    replaced = iter([True])

    def replace_once(_written: int) -> None:
        if next(replaced, False):
            obstore.put(store._client, store._key("a.wav"), b"x" * LARGE, use_multipart=False)

    for hook in ({"check_room": replace_once}, {"progress": replace_once}):
        with pytest.raises(BlobChangedError, match=r"a\.wav"):
            await store.download("a.wav", folder / "target", **hook)
        assert list(folder.iterdir()) == []
        await store.upload(old.path, "a.wav", sha256=old.sha256)
        replaced = iter([True])


@pytest.mark.parametrize("moment", ["at once", "in the middle"])
async def test_a_cancelled_download_leaves_nothing(remote, proxy, track_of, tmp_path, moment):
    track = track_of(LARGE)
    await remote.store().upload(track.path, "a.wav", sha256=track.sha256)
    folder = tmp_path / "targets"
    folder.mkdir()
    store = remote.store(address=proxy.address)
    if moment == "at once":
        proxy.flowing.clear()
    written = asyncio.Event()
    task = asyncio.create_task(
        store.download("a.wav", folder / "target", progress=lambda _bytes: written.set())
    )
    await (proxy.received if moment == "at once" else written).wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("calls", range(1, 5))
async def test_a_transfer_that_is_cancelled_within_work_on_its_file_leaves_nothing(track_of, tmp_path, calls):
    """Whichever piece of that work it is; an open file would be a ResourceWarning, which is an error."""
    container, folder = tmp_path / "container", tmp_path / "targets"
    container.mkdir()
    folder.mkdir()
    (container / "a.wav").write_bytes(b"x" * LARGE)
    track = track_of(LARGE)
    store = ContainerOpener().open(container.as_uri(), "TEST")
    gate = Gate(calls)
    store._in_thread = gate
    for work in (
        store.download("a.wav", folder / "target"),
        store.upload(track.path, "b.wav", sha256=track.sha256),
    ):
        gate.close()
        task = asyncio.create_task(work)
        await gate.reached.wait()
        task.cancel()
        # The cancellation arrives while the work is going on.
        await asyncio.sleep(0)
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    gc.collect()
    assert list(folder.iterdir()) == []
    assert [path.name for path in container.iterdir()] == ["a.wav"]


class Gate:
    """Runs functions in threads, and keeps the result of one of the calls back until it is opened."""

    def __init__(self, call: int) -> None:
        self._call = call

    def close(self) -> None:
        """Keeps the result of a coming call back."""
        self._left = self._call
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def __call__(self, func: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = await asyncio.to_thread(func, *args, **kwargs)
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            await self.opened.wait()
        return result


async def test_a_cancelled_upload_stores_nothing_and_removes_its_parts(remote, proxy, track_of):
    track = track_of(LARGE)
    before = await remote.store().write("a.wav", b"before")
    store = remote.store(address=proxy.address)
    parts_before = remote.server.stored_objects() if isinstance(remote.server, Swift) else 0
    proxy.delay = 0.02
    task = asyncio.create_task(store.upload(track.path, "a.wav", sha256=track.sha256))
    await proxy.has_received(12 << 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await remote.store().head("a.wav")).version == before.version
    if isinstance(remote.server, Swift):
        assert remote.server.stored_objects() == parts_before


async def test_an_upload_is_cancelled_soon_even_if_the_service_does_not_respond(remote, proxy, track_of):
    track = track_of(LARGE)
    store = remote.store(address=proxy.address)
    task = asyncio.create_task(store.upload(track.path, "a.wav", sha256=track.sha256))
    await proxy.has_received(12 << 20)
    proxy.flowing.clear()
    task.cancel()
    async with asyncio.timeout(ABORT_SECONDS + 10):
        with pytest.raises(asyncio.CancelledError):
            await task
    proxy.flowing.set()
    with pytest.raises(BlobNotFoundError):
        await remote.store().head("a.wav")


async def test_a_server_killed_within_an_upload_leaves_no_half_blob_and_uploads_again(
    remote, proxy, track_of
):
    track = track_of(LARGE)
    proxy.delay = 0.05
    process = await transfers("upload", remote.store().uri, proxy.address, track.path.parent, track.path)
    await proxy.has_received(12 << 20)
    process.kill()
    await process.wait()
    store = remote.store()
    with pytest.raises(BlobNotFoundError):
        await store.head(track.path.name)
    await store.upload(track.path, track.path.name, sha256=track.sha256)
    assert [info.total_bytes for info in await store.list()] == [LARGE]
    assert await store.read(track.path.name, 0, LARGE) == track.data


async def test_a_wrong_key_is_refused_and_not_told(remote, track_of, tmp_path):
    await remote.store().write("a.wav", b"1")
    store, track = remote.store(key=WRONG_KEY), track_of(LARGE)
    for call in (
        store.check(),
        store.head("a.wav"),
        store.download("a.wav", tmp_path / "target"),
        store.write("b", b"1"),
        store.upload(track.path, "b", sha256=track.sha256),
        store.read("a.wav", 0, 1),
        store.list(),
    ):
        with pytest.raises(
            BlobAccessDeniedError, match=f"credentials are refused for .*{remote.name}"
        ) as caught:
            await call
        told = "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None
        assert WRONG_KEY not in told
        assert "ignature=" not in told
    assert WRONG_KEY not in repr(store) + repr(vars(store)) + repr(store._container)


async def test_an_expired_sas_is_refused_and_not_told(place_of):
    place = place_of("azure")
    await place.store().write("a.wav", b"1")
    for expires, error in (("2099-01-01T00:00:00Z", None), ("2020-01-01T00:00:00Z", BlobAccessDeniedError)):
        account = place.server.sas_account(expires)
        store = ContainerOpener(azure=account).open(f"az://{place.name}/music", "TEST")
        assert account.sas not in repr(account) + repr(store._container)
        if error is None:
            assert await store.read("a.wav", 0, 1) == b"1"
            continue
        with pytest.raises(error) as caught:
            await store.head("a.wav")
        assert "sig=" not in "".join(traceback.format_exception(caught.value))


async def test_a_sas_in_a_failed_request_is_not_told(place_of):
    """The client's own errors name the whole address, with the SAS."""
    place = place_of("azure")
    async with TcpProxy(place.server.port) as proxy:
        account = place.server.sas_account("2099-01-01T00:00:00Z", proxy.address)
        store = ContainerOpener(azure=account, timeout=0.3).open(f"az://{place.name}", "TEST")
        proxy.flowing.clear()
        with pytest.raises(BlobStoreUnavailableError) as caught:
            await store.head("a.wav")
    assert caught.value.__context__ is None
    assert "sig=" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.heavy
async def test_two_large_files_at_once_need_little_memory(place, tmp_path, track_of):
    tracks = [track_of(200 << 20), track_of(200 << 20)]
    address = place.server.address if place.server else "none"
    folder = tmp_path / "received"
    folder.mkdir()
    process = await transfers(
        "measure", place.store().uri, address, folder, *(track.path for track in tracks)
    )
    figures = json.loads((await process.communicate())[0])
    print(f"{place.kind}: {figures}")
    assert figures["mib"] < MEMORY_MIB


async def transfers(*arguments: object) -> asyncio.subprocess.Process:
    """Starts a process that sends or receives blobs."""
    command = [sys.executable, "-m", "tests.support.blob_transfers", *map(str, arguments)]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
