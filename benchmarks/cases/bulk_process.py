"""A process that uploads tracks and downloads archives, beside whoever is measured.

`python -m benchmarks.cases.bulk_process TARGET send COUNT MEGABYTES` sends uploads, all at the same time, up to their
last byte and does not finish them; it prints their ids as JSON. `... TARGET finish MEGABYTES URL ID...` finishes
them, all at the same time, and reads the archive at URL over and over meanwhile; it prints how many archives.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence

import grpc
import httpx2

from mismo.analysis.v1 import transfer_service_pb2_grpc
from mismo.analysis.v1.transfer_service_pb2 import (
    UploadAudioRequest,
    UploadChunk,
    UploadFinish,
    UploadHeader,
)

CHUNK = bytes(range(256)) * 4096
LIMIT_SECONDS = 300.0


async def send(stub: transfer_service_pb2_grpc.TransferServiceAsyncStub, megabytes: int) -> str:
    """One upload, without its finish; answers its id."""

    async def messages() -> AsyncIterator[UploadAudioRequest]:
        yield UploadAudioRequest(header=UploadHeader(total_bytes=megabytes * len(CHUNK)))
        for number in range(megabytes):
            yield UploadAudioRequest(chunk=UploadChunk(offset=number * len(CHUNK), data=CHUNK))

    return [answer.upload_id async for answer in stub.UploadAudio(messages())][-1]


async def finish(
    stub: transfer_service_pb2_grpc.TransferServiceAsyncStub, upload_id: str, megabytes: int
) -> None:
    """The end of an upload; raises ValueError if it is not complete."""

    async def messages() -> AsyncIterator[UploadAudioRequest]:
        yield UploadAudioRequest(header=UploadHeader(upload_id=upload_id, total_bytes=megabytes * len(CHUNK)))
        yield UploadAudioRequest(finish=UploadFinish())

    answers = [answer async for answer in stub.UploadAudio(messages())]
    if not answers[-1].complete:
        raise ValueError(f"upload {upload_id} has {answers[-1].committed_bytes} bytes")


async def read_archives(url: str, until: asyncio.Task[None]) -> int:
    """Reads an archive over and over; answers how many were read to their end."""
    count = 0
    async with httpx2.AsyncClient(timeout=LIMIT_SECONDS) as http:
        while not until.done():
            async with http.stream("GET", url) as response:
                response.raise_for_status()
                async for _ in response.aiter_raw():
                    pass
            count += 1
    return count


async def finish_all(
    stub: transfer_service_pb2_grpc.TransferServiceAsyncStub, megabytes: int, url: str, ids: Sequence[str]
) -> int:
    """All uploads are finished and archives read meanwhile; answers how many."""

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            for upload_id in ids:
                group.create_task(finish(stub, upload_id, megabytes))

    finishing = asyncio.create_task(together())
    count = await read_archives(url, finishing)
    await finishing
    return count


async def main(target: str, what: str, *rest: str) -> None:
    """Does one of the two; raises TimeoutError."""
    async with asyncio.timeout(LIMIT_SECONDS), grpc.aio.insecure_channel(target) as channel:
        stub: transfer_service_pb2_grpc.TransferServiceAsyncStub = (
            transfer_service_pb2_grpc.TransferServiceStub(channel)
        )
        if what == "send":
            count, megabytes = map(int, rest)
            print(json.dumps(await asyncio.gather(*(send(stub, megabytes) for _ in range(count)))))
        else:
            megabytes_text, url, *ids = rest
            print(await finish_all(stub, int(megabytes_text), url, ids))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
