"""Finished files of a job, fetched whole or not at all."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

import grpc

from mismo.analysis.v1 import transfer_service_pb2, transfer_service_pb2_grpc
from mismo_client.checksum import crc32c
from mismo_client.errors import ClientError, JobChangedError, StreamCorruptError
from mismo_client.retry import Attempts
from mismo_client.streaming import unbroken
from mismo_client.write_behind import WriteBehind

BytesProgress = Callable[[int, int], None]
"""Called with bytes done and bytes in all (0: not known)."""


def part_path(target: Path) -> Path:
    """Where a file grows until it is whole: beside its target, of this process alone."""
    return target.with_name(f".{target.name}.{os.getpid()}.part")


class ArtifactFetch:
    """One artifact on its way into a file."""

    def __init__(
        self,
        stub: transfer_service_pb2_grpc.TransferServiceAsyncStub,
        job_id: str,
        name: str,
        attempts: Attempts,
        on_progress: BytesProgress | None = None,
    ) -> None:
        self._stub = stub
        self._job_id = job_id
        self._name = name
        self._attempts = attempts
        self._on_progress = on_progress
        self._offset: int = 0
        self._total = 0
        self._first = True

    async def into(self, target: Path) -> Path:
        """Writes `target`, replacing it at once when all bytes are there; nothing is left of a failure.

        Raises MismoRpcError, StreamCorruptError, JobChangedError, OSError.
        """
        part = part_path(target)
        file = part.open("wb", buffering=0)
        try:
            with file:
                async with WriteBehind() as writer:
                    async for data in self._chunks():
                        await writer.put(lambda data=data: _write_all(file.write, data))
                    await writer.drain()
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return target

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        while True:
            broken: ClientError | None = None
            async with aclosing(unbroken(self._open, self._attempts)) as messages:
                try:
                    async for message in messages:
                        yield self._take(message)
                except StreamCorruptError as error:
                    broken = error
            if broken is None:
                if self._offset >= self._total:
                    return
                broken = StreamCorruptError(f"{self._name} ended after {self._offset} of {self._total} bytes")
            await self._attempts.after(broken, stream=True)

    def _open(
        self,
    ) -> grpc.aio.UnaryStreamCall[
        transfer_service_pb2.GetArtifactRequest, transfer_service_pb2.GetArtifactResponse
    ]:
        self._first = True
        return self._stub.GetArtifact(
            transfer_service_pb2.GetArtifactRequest(job_id=self._job_id, name=self._name, offset=self._offset)
        )

    def _take(self, message: transfer_service_pb2.GetArtifactResponse) -> bytes:
        if self._first:
            self._first = False
            if self._offset and message.total_bytes != self._total:
                raise JobChangedError(f"job {self._job_id} made a new {self._name} meanwhile; fetch it again")
            self._total = message.total_bytes
        data = message.data
        if crc32c(data) != message.crc32c:
            raise StreamCorruptError(f"{self._name}: bytes at {message.offset} do not fit their checksum")
        if data and message.offset != self._offset:
            raise StreamCorruptError(
                f"{self._name} went on at byte {message.offset} instead of {self._offset}"
            )
        self._attempts.progressed()
        self._offset += len(data)
        if self._on_progress is not None:
            self._on_progress(self._offset, self._total)
        return data


def _write_all(write: Callable[[memoryview], int | None], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[write(left) or 0 :]
