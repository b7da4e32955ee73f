"""Submits as a client would send them."""

from __future__ import annotations

from mismo.analysis.v1.job_service_pb2 import SubmitJobRequest
from mismo_grpc.jobs.job import JobRequest
from mismo_grpc.rpc.job_messages import options_message, priority_message, source_message
from mismo_grpc.rpc.values import duration


def request_message(request: JobRequest) -> SubmitJobRequest:
    """A submit as a client would send it."""
    message = SubmitJobRequest(
        request_id=request.request_id,
        job_id=request.job_id,
        source=source_message(request.source),
        options=options_message(request.options),
        priority=priority_message(request.priority),
        labels=request.labels,
        validate_only=request.validate_only,
    )
    if request.result_ttl is not None:
        message.result_ttl.CopyFrom(duration(request.result_ttl))
    return message
