"""What a client reads of an error."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

T = TypeVar("T")


@dataclass(frozen=True)
class Refusal:
    """A rich status, unpacked; `fields` are those of its BadRequest."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    metadata: dict[str, str]
    fields: tuple[str, ...]
    retry_seconds: float | None


def unpacked(status: status_pb2.Status, code: grpc.StatusCode) -> Refusal:
    """The details of a status; fails where it has no ErrorInfo."""
    info, fields, retry = error_details_pb2.ErrorInfo(), (), None
    reason = None
    for detail in status.details:
        request, delay = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(request):
            fields = tuple(violation.field for violation in request.field_violations)
        elif detail.Unpack(delay):
            retry = delay.retry_delay.ToNanoseconds() / 1e9
    assert reason, "every status carries ErrorInfo"
    return Refusal(code, status.message, reason, info.domain, dict(info.metadata), fields, retry)


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """The rich status of a failed call; fails where it has none."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    assert status is not None, f"no rich status: {error.code()} {error.details()}"
    return unpacked(status, error.code())


async def refused(call: Awaitable[Any]) -> Refusal:
    """How a call was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def next_of(
    call: grpc.aio.UnaryStreamCall[Any, T] | grpc.aio.StreamStreamCall[Any, T],
) -> T:
    """The next message of a stream; fails where it has ended."""
    message = await call.read()
    assert message is not grpc.aio.EOF
    return cast("T", message)


async def drained(call: Any) -> list[Any]:
    """All messages of a stream that are left."""
    messages: list[Any] = []
    while (message := await call.read()) is not grpc.aio.EOF:
        messages.append(message)
    return messages
