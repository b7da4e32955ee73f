"""What can go wrong at a client.

ClientError
├── MismoRpcError        the server refused, failed, or cannot be reached
├── JobFailedError       a job that was waited for failed or was cancelled
├── StreamCorruptError   bytes that came do not fit their checksum or their place
├── TrackChangedError    the file changed while it was uploaded
└── JobChangedError      the job ran anew in another form while its stems were read
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2, status_pb2

from mismo.analysis.v1 import job_pb2

STATUS_DETAILS_KEY = "grpc-status-details-bin"
CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

# What a stream ends with when the connection, the server or a proxy goes away in the middle of it. Only
# believed where the server gave no reason of its own.
BROKEN_STREAM_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


@dataclass(frozen=True)
class FieldViolation:
    """A request field at fault and what is wrong with it."""

    field: str
    description: str


class ClientError(Exception):
    """Root of everything this package raises on its own account; its text is one line for a person."""


class MismoRpcError(ClientError):
    """A status of the server, with the details it carries.

    `code` is the gRPC code, `reason` the stable UPPER_SNAKE name ("" if the status came from the
    transport), `retry_delay` is in seconds (None: the server named none).
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        field_violations: Sequence[FieldViolation] = (),
        retry_delay: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.code = code
        self.reason = reason
        self.message = " ".join(message.split())
        self.field_violations = tuple(field_violations)
        self.retry_delay = retry_delay
        self.metadata = dict(metadata or {})
        super().__init__(self._line())

    def _line(self) -> str:
        extra = [
            f"{violation.field}: {violation.description}"
            for violation in self.field_violations
            if violation.description not in self.message
        ]
        text = "; ".join([self.message or self.code.name, *extra])
        return f"{text} ({self.reason or self.code.name})"

    @property
    def worth_retrying(self) -> bool:
        """The same call may succeed later: the server is away, or it said when to come back."""
        if self.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            # Without RetryInfo it is gRPC itself that refuses, for a message past the size limit.
            return self.retry_delay is not None
        return self.code is grpc.StatusCode.UNAVAILABLE

    @property
    def broken_stream(self) -> bool:
        """The stream was cut rather than ended by the server's own decision."""
        return not self.reason and self.code in BROKEN_STREAM_CODES

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> MismoRpcError:
        """Decodes the rich details of a failed call."""
        status = _rich_status(error)
        if status is None:
            return cls(error.code(), "", error.details() or "")
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        retry_delay: float | None = None
        for detail in status.details:
            if detail.Unpack(retry):
                retry_delay = retry.retry_delay.ToNanoseconds() / 1e9
            elif not detail.Unpack(info):
                detail.Unpack(bad_request)
        return cls(
            error.code(),
            info.reason,
            status.message or error.details() or "",
            field_violations=[FieldViolation(v.field, v.description) for v in bad_request.field_violations],
            retry_delay=retry_delay,
            metadata=dict(info.metadata),
        )

    @classmethod
    def of_job(cls, error: job_pb2.JobError) -> MismoRpcError:
        """The error that lives on a job, in the same form."""
        code = CODES.get(error.code, grpc.StatusCode.UNKNOWN)
        return cls(code, error.reason, error.message, metadata=dict(error.metadata))


def _rich_status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    return None


class JobFailedError(ClientError):
    """The job ended without a result; `job` is how it ended."""

    def __init__(self, job: job_pb2.Job) -> None:
        self.job = job
        self.error = MismoRpcError.of_job(job.error) if job.HasField("error") else None
        state = job_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()
        super().__init__(f"job {job.job_id} {state}" + (f": {self.error}" if self.error else ""))


class StreamCorruptError(ClientError):
    """What arrived is not what was sent; the stream is taken up again where it was still right."""


class TrackChangedError(ClientError):
    """The file is no longer the one whose upload began."""


class JobChangedError(ClientError):
    """The stems are of another form than when the stream began."""
