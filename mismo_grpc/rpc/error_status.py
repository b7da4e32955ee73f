"""Converts errors to rich gRPC statuses (google.rpc.Status in the trailing metadata)."""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from mismo_grpc.errors import DOMAIN, InternalError, MismoError
from mismo_grpc.wire_forms import wire

DETAILS_KEY = "grpc-status-details-bin"
MAX_TEXT_BYTES = 640
MAX_METADATA = 8
"""These limits keep the trailers within 8 KiB, the most that clients accept, whatever a request contains."""

DEFAULT_RETRY_SECONDS = 1.0
RETRY_LATER = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE"})


def rich_status(error: MismoError) -> status_pb2.Status:
    """Builds the status: with ErrorInfo always, BadRequest if a field is at fault, RetryInfo if a retry helps."""
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
    """Builds the error that a client gets for an unexpected failure: only an id to find it in the log."""
    return InternalError(
        f"the server failed; its log has the details under error id {error_id}",
        metadata={"error_id": error_id},
    )


def grpc_code(status: status_pb2.Status) -> grpc.StatusCode:
    """Returns the gRPC code of a status."""
    return grpc.StatusCode[code_pb2.Code.Name(status.code)]


def trailing_metadata(status: status_pb2.Status) -> tuple[tuple[str, bytes]]:
    """Returns the trailing metadata that contains a status."""
    return ((DETAILS_KEY, status.SerializeToString()),)


def shortened(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    """Shortens a text to at most `limit` bytes of UTF-8; characters that UTF-8 cannot encode are replaced."""
    encoded = text[: limit + 1].encode("utf-8", "replace")
    if len(encoded) <= limit and len(text) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"
