"""Page tokens of ListJobs: where the next page begins. Clients treat them as opaque text."""

from __future__ import annotations

import base64
import json

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.jobs.job import Job

MAX_TOKEN_CHARS = 1024


def encode_page_token(job: Job) -> str:
    """The token of the page that begins after this job."""
    return base64.urlsafe_b64encode(json.dumps([job.created_at, job.job_id]).encode()).decode()


def decode_page_token(token: str) -> tuple[float, str]:
    """(created_at, job_id) of the last job of the previous page; raises InvalidFieldError."""
    wrong = InvalidFieldError("page_token is not one that ListJobs gave", field="page_token")
    if len(token) > MAX_TOKEN_CHARS:
        raise wrong
    try:
        created_at, job_id = json.loads(base64.urlsafe_b64decode(token.encode()))
        # The store keeps text as UTF-8, which cannot encode a lone surrogate.
        return float(created_at), str(job_id).encode().decode()
    except (ValueError, OverflowError, TypeError) as error:
        raise wrong from error
