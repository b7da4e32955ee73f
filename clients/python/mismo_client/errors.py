"""What can go wrong at a client.

ClientError
├── MismoRpcError            the server refused, failed, or cannot be reached
│   ├── RunReplacedError     the job was run again; what was received belongs to an earlier run
│   ├── JobIdActiveError     the job_id belongs to an active job with another source or other options
│   └── CursorExpiredError   a cursor of WatchJobs that the server no longer knows
├── JobFailedError           a job that was waited for failed or was cancelled
├── SeekRefusedError         a seek at or past the end of the track; the stream goes on as before
├── StreamCorruptError       a chunk that does not fit its CRC-32C or its place; fetched again
├── ChecksumError            everything arrived and is not what the server's SHA-256 says
└── TrackChangedError        the file changed while it was uploaded
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2, status_pb2

from mismo.analysis.v1 import job_pb2, stage_pb2

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

    @staticmethod
    def of(error: grpc.aio.AioRpcError) -> MismoRpcError:
        """Decodes the rich details of a failed call; reasons with a class of their own get that class."""
        status = _rich_status(error)
        if status is None:
            return MismoRpcError(error.code(), "", error.details() or "")
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        retry_delay: float | None = None
        for detail in status.details:
            if detail.Unpack(retry):
                retry_delay = retry.retry_delay.ToNanoseconds() / 1e9
            elif not detail.Unpack(info):
                detail.Unpack(bad_request)
        return BY_REASON.get(info.reason, MismoRpcError)(
            error.code(),
            info.reason,
            status.message or error.details() or "",
            field_violations=[FieldViolation(v.field, v.description) for v in bad_request.field_violations],
            retry_delay=retry_delay,
            metadata=dict(info.metadata),
        )

    @staticmethod
    def of_job(error: stage_pb2.JobError) -> MismoRpcError:
        """The error of a job or of a stage, in the same form."""
        code = CODES.get(error.code, grpc.StatusCode.UNKNOWN)
        return MismoRpcError(code, error.reason, error.message, metadata=dict(error.metadata))


class RunReplacedError(MismoRpcError):
    """The job was run again, and what was asked for belongs to an earlier run.

    Nothing of another run is ever delivered after this one's. Drop what was received, and begin again
    without `expected_run_id` to get the newest run.
    """

    REMEDY = "the job was run again; drop what was received and begin again with its newest run"

    def _line(self) -> str:
        return f"{super()._line()}; {self.REMEDY}"

    @classmethod
    def between(cls, job_id: str, expected: str, found: str) -> RunReplacedError:
        """For a server that answers with another run instead of refusing it."""
        message = f"job {job_id} is at run {found}, not at {expected}"
        metadata = {"job_id": job_id, "expected_run_id": expected, "run_id": found}
        return cls(grpc.StatusCode.FAILED_PRECONDITION, "RUN_REPLACED", message, metadata=metadata)


class JobIdActiveError(MismoRpcError):
    """The job_id belongs to a job that has not ended and has another source or other options.

    Wait for that job, cancel it, or submit under another job_id.
    """


class CursorExpiredError(MismoRpcError):
    """The server no longer knows this cursor of WatchJobs.

    Forget what is known of the jobs and watch again without a cursor.
    """


BY_REASON: dict[str, type[MismoRpcError]] = {
    "RUN_REPLACED": RunReplacedError,
    "JOB_ID_ACTIVE": JobIdActiveError,
    "CURSOR_EXPIRED": CursorExpiredError,
}


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


class SeekRefusedError(ClientError):
    """The seek leads to or past the end of the track; the stream goes on as before it.

    `generation` is the one that the seek would have begun.
    """

    def __init__(self, generation: int, message: str) -> None:
        self.generation = generation
        super().__init__(message)


class StreamCorruptError(ClientError):
    """What arrived is not what was sent; the stream is taken up again where it was still right."""


class ChecksumError(ClientError):
    """The bytes of `what` arrived in order, and their SHA-256 (hex) is not the one that the server gave.

    Not fetched again: the server would send the same. Drop what was received and read it anew.
    """

    def __init__(self, what: str, expected: str, received: str) -> None:
        self.what = what
        self.expected = expected
        self.received = received
        super().__init__(
            f"{what}: the SHA-256 of what arrived is {received}, the server's is {expected}; "
            "drop it and read it again"
        )


class TrackChangedError(ClientError):
    """The file is no longer the one whose upload began."""
