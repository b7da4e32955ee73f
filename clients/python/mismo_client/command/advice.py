"""What a person can do about an error."""

from __future__ import annotations

import grpc

from mismo_client.errors import ClientError, JobFailedError, MismoRpcError

GENERATION = "options.generation"
SERVER_ADVICE = "start one with `mismo-server`, or name another with --server or MISMO_SERVER"
# The server's own messages name the remedy; these add what this command has to offer.
BY_REASON = {
    "SOURCE_PATH_FORBIDDEN": "send the file with --upload",
    "SOURCE_NOT_FOUND": "check the path, or send the file with --upload",
    "MODEL_UNAVAILABLE": "`mismo models` lists what the server has",
    "JOB_ID_ACTIVE": "wait for it with `mismo watch JOB`, end it with `mismo cancel JOB`, or give another --job-id",
    "NOT_SUPPORTED_YET": "`mismo stages` lists what the server offers",
    "STAGE_UNAVAILABLE": "`mismo stages` lists what the server offers, and why not the rest",
    "JOB_NOT_FOUND": "`mismo jobs` lists the jobs",
    "STEM_NOT_FOUND": "`mismo jobs JOB` shows the stems of a job",
}


def advice(error: ClientError, server: str) -> str:
    """One line: what happened and what to do."""
    rpc = error.error if isinstance(error, JobFailedError) else error
    if not isinstance(rpc, MismoRpcError):
        return str(error)
    if rpc.code is grpc.StatusCode.UNAVAILABLE and not rpc.reason:
        return f"no server answers at {server}; {SERVER_ADVICE}"
    if rpc.code is grpc.StatusCode.DEADLINE_EXCEEDED and not rpc.reason:
        return f"the server at {server} takes too long to answer; try again"
    if rpc.code is grpc.StatusCode.UNIMPLEMENTED and not rpc.reason:
        return f"{server} is no server of this kind: {rpc.message}; {SERVER_ADVICE}"
    remedy = BY_REASON.get(rpc.reason)
    if any(violation.field.startswith(GENERATION) for violation in rpc.field_violations):
        # `mismo models` lists models that separate.
        remedy = None
    return f"{error}; {remedy}" if remedy else str(error)
