"""Errors as rich gRPC statuses (google.rpc.Status in the trailing metadata)."""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from mismo_grpc.errors import DOMAIN, InternalError, MismoError, wire

DETAILS_KEY = "grpc-status-details-bin"
MAX_TEXT_BYTES = 640
MAX_METADATA = 8
"""With these bounds the trailers stay within 8 KiB, which is what clients take, whatever was sent to us."""

DEFAULT_RETRY_SECONDS = 1.0
RETRY_LATER = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE"})


def rich_status(error: MismoError) -> status_pb2.Status:
    """ErrorInfo always, BadRequest where a field is at fault, RetryInfo where trying again helps."""
    form = wire(error)
    message = shortened(error.message)
    status = status_pb2.Status(code=code_pb2.Code.Value(form.grpc_code), message=message)
    info = error_details_pb2.ErrorInfo(reason=form.reason, domain=DOMAIN)
    for key, value in list(error.metadata.items())[:MAX_METADATA]:
        info.metadata[shortened(key, 48)] = shortened(value, 128)
    status.details.add().Pack(info)
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=shortened(error.field, 128), description=message, reason=form.reason
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if form.grpc_code in RETRY_LATER or error.retry_after is not None:
        seconds = DEFAULT_RETRY_SECONDS if error.retry_after is None else max(0.0, error.retry_after)
        delay = Duration()
        delay.FromNanoseconds(round(seconds * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def internal_error(error_id: str) -> InternalError:
    """What a client reads of a failure that has no name: an id to find it in the log, nothing else."""
    return InternalError(
        f"the server failed; its log has the details under error id {error_id}",
        metadata={"error_id": error_id},
    )


def grpc_code(status: status_pb2.Status) -> grpc.StatusCode:
    """The gRPC code of a status."""
    return grpc.StatusCode[code_pb2.Code.Name(status.code)]


def trailing_metadata(status: status_pb2.Status) -> tuple[tuple[str, bytes]]:
    """The metadata that carries a status."""
    return ((DETAILS_KEY, status.SerializeToString()),)


def shortened(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    """At most `limit` bytes of a text as UTF-8, which it is made fit for."""
    encoded = text[: limit + 1].encode("utf-8", "replace")
    if len(encoded) <= limit and len(text) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"
