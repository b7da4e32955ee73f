"""How the peer refuses and breaks off calls."""

from __future__ import annotations

from typing import Any, Never

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


def rich_error(
    code: grpc.StatusCode,
    reason: str,
    message: str,
    *,
    field: str = "",
    retry_delay: float | None = None,
    **metadata: str,
) -> status_pb2.Status:
    """A status as the contract wants it."""
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=reason, domain="mismo.dj", metadata=metadata)
    )
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_delay is not None:
        delay = Duration()
        delay.FromNanoseconds(round(retry_delay * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


async def fail(context: grpc.aio.ServicerContext[Any, Any], status: status_pb2.Status) -> Never:
    await context.abort_with_status(rpc_status.to_status(status))


async def break_off(context: grpc.aio.ServicerContext[Any, Any]) -> Never:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "the peer breaks off")
