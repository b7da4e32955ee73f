"""Files of a job, fetched whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from pathlib import Path

import grpc

from mismo.analysis.v1 import job_pb2, transfer_service_pb2, transfer_service_pb2_grpc
from mismo_client.errors import ChecksumError, ClientError, StreamCorruptError
from mismo_client.retry import Attempts
from mismo_client.runs import StreamRun
from mismo_client.streaming import reopened
from mismo_client.transfer.checksum import crc32c
from mismo_client.transfer.write_behind import WriteBehind

BytesProgress = Callable[[int, int], None]
"""Called with bytes done and bytes in all (0: not known)."""


def part_path(target: Path) -> Path:
    """Where a file grows until it is whole: beside its target, of this process alone."""
    return target.with_name(f".{target.name}.{os.getpid()}.part")


@contextmanager
def whole_file(target: Path) -> Generator[Path]:
    """The path to write to: it replaces `target` at the end of the block; an error in the block removes it."""
    part = part_path(target)
    try:
        yield part
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


class ArtifactFetch:
    """One artifact on its way into a file."""

    def __init__(
        self,
        stub: transfer_service_pb2_grpc.TransferServiceAsyncStub,
        job_id: str,
        name: str,
        attempts: Attempts,
        on_progress: BytesProgress | None = None,
        expected_run_id: str = "",
    ) -> None:
        self._stub = stub
        self._job_id = job_id
        self._run = StreamRun(job_id, expected_run_id)
        self._name = name
        self._attempts = attempts
        self._on_progress = on_progress
        self._offset: int = 0
        self._artifact: job_pb2.Artifact | None = None
        self._digest = hashlib.sha256()

    async def into(self, target: Path) -> Path:
        """Writes `target`, replacing it at once when all bytes are there; nothing is left of a failure.

        Raises MismoRpcError, RunReplacedError, StreamCorruptError, ChecksumError, OSError.
        """
        with whole_file(target) as part, part.open("wb", buffering=0) as file:
            async with WriteBehind() as writer:
                async for data in self._chunks():
                    await writer.put(lambda data=data: _write_all(file.write, data))
                await writer.drain()
        return target

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        while True:
            broken: ClientError | None = None
            async with aclosing(reopened(self._open, self._attempts)) as messages:
                try:
                    async for message in messages:
                        yield self._take(message)
                        if self._complete():
                            break
                except StreamCorruptError as error:
                    broken = error
            if self._complete():
                self._verify()
                return
            if broken is None:
                broken = StreamCorruptError(f"{self._name} ended after {self._offset} of {self._total} bytes")
            await self._attempts.after(broken, stream=True)

    @property
    def _total(self) -> int:
        return self._artifact.total_bytes if self._artifact is not None else 0

    def _complete(self) -> bool:
        return self._artifact is not None and self._offset >= self._total

    def _verify(self) -> None:
        received = self._digest.hexdigest()
        # An archive that the server makes while it is read has none.
        if self._artifact is not None and self._artifact.sha256 not in {"", received}:
            raise ChecksumError(f"{self._name} of job {self._job_id}", self._artifact.sha256, received)

    def _open(
        self,
    ) -> grpc.aio.UnaryStreamCall[
        transfer_service_pb2.GetArtifactRequest, transfer_service_pb2.GetArtifactResponse
    ]:
        return self._stub.GetArtifact(
            transfer_service_pb2.GetArtifactRequest(
                job_id=self._job_id, expected_run_id=self._run.run_id, name=self._name, offset=self._offset
            )
        )

    def _take(self, message: transfer_service_pb2.GetArtifactResponse) -> bytes:
        self._run.check(message.run_id)
        if message.HasField("artifact"):
            if self._artifact is not None and message.artifact != self._artifact:
                raise StreamCorruptError(f"{self._name} changed within run {self._run.run_id}")
            self._artifact = message.artifact
        data = message.data
        if crc32c(data) != message.crc32c:
            raise StreamCorruptError(f"{self._name}: bytes at {message.offset} do not fit their checksum")
        if data and message.offset != self._offset:
            raise StreamCorruptError(
                f"{self._name} went on at byte {message.offset} instead of {self._offset}"
            )
        self._attempts.progressed()
        self._digest.update(data)
        self._offset += len(data)
        if self._on_progress is not None:
            self._on_progress(self._offset, self._total)
        return data


def _write_all(write: Callable[[memoryview], int | None], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[write(left) or 0 :]
