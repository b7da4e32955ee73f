"""A process that uploads tracks and downloads archives while another client is measured.

`python -m benchmarks.cases.bulk_process TARGET send COUNT MEGABYTES` sends all bytes of COUNT uploads at the same time,
does not finish the uploads, and prints their ids as JSON. `... TARGET finish MEGABYTES URL ID...` finishes them at the
same time, reads the archive at URL repeatedly meanwhile, and prints how many archives it read.
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
    """Sends one upload without finishing it; returns its id."""

    async def messages() -> AsyncIterator[UploadAudioRequest]:
        yield UploadAudioRequest(header=UploadHeader(total_bytes=megabytes * len(CHUNK)))
        for number in range(megabytes):
            yield UploadAudioRequest(chunk=UploadChunk(offset=number * len(CHUNK), data=CHUNK))

    return [answer.upload_id async for answer in stub.UploadAudio(messages())][-1]


async def finish(
    stub: transfer_service_pb2_grpc.TransferServiceAsyncStub, upload_id: str, megabytes: int
) -> None:
    """Finishes an upload; raises ValueError if it is then not complete."""

    async def messages() -> AsyncIterator[UploadAudioRequest]:
        yield UploadAudioRequest(header=UploadHeader(upload_id=upload_id, total_bytes=megabytes * len(CHUNK)))
        yield UploadAudioRequest(finish=UploadFinish())

    answers = [answer async for answer in stub.UploadAudio(messages())]
    if not answers[-1].complete:
        raise ValueError(f"upload {upload_id} has {answers[-1].committed_bytes} bytes")


async def read_archives(url: str, until: asyncio.Task[None]) -> int:
    """Reads an archive repeatedly until a task ends; returns how many times it was read completely."""
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
    """Finishes all uploads while it reads archives; returns how many archives it read."""

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            for upload_id in ids:
                group.create_task(finish(stub, upload_id, megabytes))

    finishing = asyncio.create_task(together())
    count = await read_archives(url, finishing)
    await finishing
    return count


async def main(target: str, what: str, *rest: str) -> None:
    """Runs the command `what`, send or finish; raises TimeoutError."""
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
