"""A process that sends and receives blobs as the server does, to be measured or killed.

    python -m tests.support.blob_transfers upload|measure URI ADDRESS FOLDER FILE...

ADDRESS is host and port of the service. `upload` sends the files, one after the other. `measure` sends them all at
once, receives them in FOLDER and checks them; it prints, as JSON, by how much the memory of the process grew at its
peak (MiB) and how long both ways took (seconds).
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from pathlib import Path

import psutil

from mismo_grpc.separation.allocator import keep_freed_memory
from mismo_grpc.storage.blobs.azure_account import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY, AzureAccount
from mismo_grpc.storage.blobs.containers import ContainerOpener, S3Account
from mismo_grpc.storage.blobs.port import BlobStore
from mismo_grpc.storage.blobs.sending import file_sha256

POLL_SECONDS = 0.005


async def upload(store: BlobStore, files: list[Path]) -> None:
    """Sends files, each under its own name."""
    for file in files:
        await store.upload(file, file.name, sha256=file_sha256(file))


async def measure(store: BlobStore, folder: Path, files: list[Path]) -> dict[str, float]:
    """Sends and receives files at once."""
    checksums = {file: file_sha256(file) for file in files}
    await store.write("first", b"the client's threads are running after this")
    process, ended = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not ended.wait(POLL_SECONDS):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.monotonic()
    try:
        await asyncio.gather(*(store.upload(file, file.name, sha256=checksums[file]) for file in files))
        sent = time.monotonic()
        got = await asyncio.gather(*(store.download(file.name, folder / file.name) for file in files))
        received = time.monotonic()
    finally:
        ended.set()
        watcher.join()
    assert [each.sha256 for each in got] == list(checksums.values())
    return {
        "mib": round((peak - before) / 2**20, 1),
        "up_seconds": round(sent - begun, 2),
        "down_seconds": round(received - sent, 2),
    }


def main() -> None:
    """Reads the command line."""
    what, uri, address, folder, *names = sys.argv[1:]
    keep_freed_memory()
    opener = ContainerOpener(
        AzureAccount(DEVELOPMENT_ACCOUNT, f"http://{address}/{DEVELOPMENT_ACCOUNT}", DEVELOPMENT_KEY),
        S3Account("us-east-1", f"http://{address}", "test:tester", "testing"),
    )
    store, files = opener.open(uri, "URI"), [Path(name) for name in names]
    if what == "upload":
        asyncio.run(upload(store, files))
    else:
        print(json.dumps(asyncio.run(measure(store, Path(folder), files))))


if __name__ == "__main__":
    main()
