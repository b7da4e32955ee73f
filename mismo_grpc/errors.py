"""Every error that a client can get, and its form in gRPC and HTTP.

    MismoError
    ├── RequestError                      the request cannot be served; nothing was started
    │   ├── InvalidFieldError             a field's value is out of its range        (names the field)
    │   │   ├── RequestIdReusedError
    │   │   ├── InvalidJobIdError
    │   │   └── PlayheadBeyondEndError    found only once the track is decoded: ends the job
    │   ├── NotSupportedYetError          an option of the contract that this version does not serve
    │   ├── UnsupportedContentTypeError       over HTTP
    │   ├── HostForbiddenError                over HTTP
    │   ├── SourcePathForbiddenError
    │   ├── SourceNotFoundError
    │   ├── BlobUriForbiddenError
    │   ├── NoSignedLinksError
    │   ├── JobNotReplayableError
    │   ├── ModelUnavailableError
    │   ├── JobNotFoundError
    │   ├── StemNotFoundError
    │   ├── ArtifactNotFoundError
    │   ├── JobNotReadyError
    │   ├── ExportNotPossibleError        the stems of the job cannot have this format
    │   ├── RunReplacedError              the job was submitted again; the client expects an earlier run
    │   ├── JobIdActiveError              the job_id belongs to a job with other content that has not ended
    │   └── CursorExpiredError            WatchJobs begins anew, without a cursor
    ├── AudioError                        the source is not audio that can be separated
    │   ├── UnsupportedAudioError
    │   ├── EmptyAudioError
    │   ├── CorruptAudioError
    │   ├── NoAudioStreamError
    │   └── TrackTooLongError
    ├── UploadError
    │   ├── UploadNotFoundError
    │   ├── UploadIncompleteError
    │   ├── UploadGapError
    │   ├── UploadTooLargeError
    │   └── UploadChecksumError
    ├── BlobError                         the blob container could not do what the server asked of it
    │   ├── BlobStoreUnavailableError     it does not respond, or responds that it is busy
    │   ├── BlobAccessDeniedError         wrong or expired credentials
    │   ├── BlobContainerNotFoundError
    │   ├── BlobNotFoundError
    │   └── BlobChangedError              the blob was replaced while it was being read
    ├── CapacityError                     the server has no capacity now; try again later
    │   ├── QueueFullError
    │   ├── TooManyStreamsError
    │   ├── TooManyExportsError
    │   ├── DiskFullError
    │   ├── OutOfMemoryError
    │   └── ServerDrainingError
    ├── StreamError
    │   ├── JobFailedError                the job ended while its stems were being read
    │   ├── StreamInterruptedError        the client can open the stream again where it stopped
    │   ├── StreamProtocolError           a message that the stream's state does not allow
    │   └── StreamIdleError               the client sent nothing that was waited for, or read nothing, for too long
    └── EngineError                       the server failed
        ├── SeparationFailedError
        ├── ModelLoadError
        ├── AnalysisFailedError
        │   ├── AnalysisTimeoutError
        │   └── AnalysisCrashedError
        ├── StoreError                    the job store cannot be opened, read or written
        └── InternalError

`wire_forms.py` gives each class its reason, gRPC code, HTTP status and whether the same call may succeed later.
Codes are names, not grpc objects: this module imports nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass

DOMAIN = "mismo.dj"


class MismoError(Exception):
    """Root of the tree; everything in it is sent to the client.

    `field` names the request field at fault, `metadata` goes into `google.rpc.ErrorInfo`, `retry_after` is in seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.metadata: dict[str, str] = dict(metadata or {})
        self.retry_after = retry_after


class RequestError(MismoError):
    """The request cannot be served in this form."""


class InvalidFieldError(RequestError):
    """A field's value is not allowed."""


class RequestIdReusedError(InvalidFieldError):
    """The same request_id was used with another payload."""


class InvalidJobIdError(InvalidFieldError):
    """The job_id breaks its pattern or is reserved."""


class PlayheadBeyondEndError(InvalidFieldError):
    """The playhead is at or past the end of the track."""


class NotSupportedYetError(RequestError):
    """The contract defines this option, but this version does not implement it."""


class UnsupportedContentTypeError(RequestError):
    """The route does not accept this content type."""


class HostForbiddenError(RequestError):
    """The server does not have the name in Host, or the web page in Origin may not use it."""


class SourcePathForbiddenError(RequestError):
    """Paths are switched off, or the resolved path is outside the allowed folders."""


class SourceNotFoundError(RequestError):
    """There is no such source file."""


class BlobUriForbiddenError(RequestError):
    """The server may not read blobs from that place, or has no blob container."""


class NoSignedLinksError(RequestError):
    """The blob container cannot make links that others can fetch."""


class JobNotReplayableError(RequestError):
    """The job has not failed, or its source is gone."""


class ModelUnavailableError(RequestError):
    """The named model is unknown, or its weights are not on the server."""


class JobNotFoundError(RequestError):
    """There is no such job."""


class StemNotFoundError(RequestError):
    """The job has no stem of that name."""


class ArtifactNotFoundError(RequestError):
    """The job has no such artifact."""


class JobNotReadyError(RequestError):
    """The result does not exist yet, or never will because the job ended without it."""


class ExportNotPossibleError(RequestError):
    """The stems of the job cannot have the requested format."""


class RunReplacedError(RequestError):
    """The job's current run is not the one that the client expects."""


class JobIdActiveError(RequestError):
    """An active job has this job_id, with another source or other options."""


class CursorExpiredError(RequestError):
    """The server does not have all changes since the cursor any more, or the cursor is of another job store."""


class AudioError(MismoError):
    """The source is not audio that can be separated."""


class UnsupportedAudioError(AudioError):
    """The server does not read this audio format."""


class EmptyAudioError(AudioError):
    """The file has no bytes or no samples."""


class CorruptAudioError(AudioError):
    """The decoder cannot decode any audio from the file."""


class NoAudioStreamError(AudioError):
    """The media file has no audio stream."""


class TrackTooLongError(AudioError):
    """The track is longer than this server accepts."""


class UploadError(MismoError):
    """An upload cannot continue."""


class UploadNotFoundError(UploadError):
    """There is no such upload."""


class UploadIncompleteError(UploadError):
    """Bytes of the upload are still missing."""


class UploadGapError(UploadError):
    """A chunk starts past the committed bytes."""


class UploadTooLargeError(UploadError):
    """The upload has more bytes than the limit, or than were announced."""


class UploadChecksumError(UploadError):
    """A checksum does not match the received bytes."""


class BlobError(MismoError):
    """The blob container could not do what the server asked of it."""


class BlobStoreUnavailableError(BlobError):
    """The blob container does not respond, or responds that it is busy."""


class BlobAccessDeniedError(BlobError):
    """The blob container refuses the server's credentials."""


class BlobContainerNotFoundError(BlobError):
    """There is no such blob container."""


class BlobNotFoundError(BlobError):
    """There is no such blob."""


class BlobChangedError(BlobError):
    """The blob was replaced while it was being read."""


class CapacityError(MismoError):
    """The server has no capacity now; the same call may succeed later."""


class QueueFullError(CapacityError):
    """The queue is full."""


class TooManyStreamsError(CapacityError):
    """Too many streams are open."""


class TooManyExportsError(CapacityError):
    """Too many exports wait to be made."""


class DiskFullError(CapacityError):
    """The disk has no room for the data."""


class OutOfMemoryError(CapacityError):
    """There was not enough memory to load the model, also after waiting."""


class ServerDrainingError(CapacityError):
    """The server is shutting down."""


class StreamError(MismoError):
    """A stream cannot continue."""


class StreamInterruptedError(StreamError):
    """The stream ended but its job continues; the client can open the stream again where it stopped."""


class StreamProtocolError(StreamError):
    """The client sent a message that the stream's state does not allow."""


class StreamIdleError(StreamError):
    """The client sent nothing that the server waited for, or read nothing, for too long."""


class JobFailedError(StreamError):
    """The job ended while its stems were being read; `form` is the wire form of the job's own error."""

    def __init__(self, message: str, form: Wire, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message, metadata=metadata)
        self.form = form


class EngineError(MismoError):
    """The server failed."""


class SeparationFailedError(EngineError):
    """The model failed on a segment, and failed again in a retry."""


class ModelLoadError(EngineError):
    """The model's weights exist but cannot be loaded."""


class AnalysisFailedError(EngineError):
    """The analysis failed on this track, or a part that it needs is missing."""


class AnalysisTimeoutError(AnalysisFailedError):
    """The analysis exceeded its time limit and was ended."""


class AnalysisCrashedError(AnalysisFailedError):
    """The process of the analysis crashed, or the system killed it because memory ran out."""


class StoreError(EngineError):
    """The job store cannot be opened, read or written."""


class InternalError(EngineError):
    """Any failure without an error class of its own."""


@dataclass(frozen=True)
class Wire:
    """The form of one error class in gRPC and HTTP."""

    reason: str
    grpc_code: str
    http_status: int
    retryable: bool = False


def check_run(job_id: str, expected_run_id: str, run_id: str) -> None:
    """Raises RunReplacedError if a job's run is not the one that a client expects ("": any run)."""
    if expected_run_id and expected_run_id != run_id:
        raise RunReplacedError(
            f"job {job_id} was submitted again: its run is {run_id}, not {expected_run_id[:64]}; "
            "drop what you have of the earlier run and start over with the new one",
            field="expected_run_id",
            metadata={"expected_run_id": expected_run_id[:64], "run_id": run_id},
        )


def disk_error(error: OSError) -> MismoError:
    """Converts an error of a file operation: to DiskFullError for a full disk or quota, else to InternalError."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            "the server's disk is full: free some space or delete finished jobs, then try again"
        )
    return InternalError(
        f"the server could not write its files ({errno.errorcode.get(error.errno or 0, 'unknown')})"
    )
