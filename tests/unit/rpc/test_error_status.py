"""Every class of error as a client reads it."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from mismo_grpc.errors import DOMAIN, InvalidFieldError, JobFailedError, MismoError, QueueFullError, Wire
from mismo_grpc.rpc.error_status import grpc_code, rich_status, trailing_metadata
from mismo_grpc.wire_forms import WIRE
from tests.unit.rpc.wire import unpacked


def made(kind: type[MismoError]) -> MismoError:
    if kind is JobFailedError:
        return JobFailedError("it failed", WIRE[JobFailedError], metadata={"job_id": "x"})
    return kind("what happened and what to do", field="options.stems.model", metadata={"job_id": "x"})


@pytest.mark.parametrize("kind", list(WIRE), ids=lambda kind: kind.__name__)
def test_every_row_of_the_table_becomes_a_rich_status(kind: type[MismoError]) -> None:
    error, form = made(kind), WIRE[kind]
    status = rich_status(error)
    refusal = unpacked(status, grpc_code(status))
    assert refusal.code.name == form.grpc_code
    assert refusal.message == error.message
    assert (refusal.reason, refusal.domain, refusal.metadata) == (form.reason, DOMAIN, {"job_id": "x"})
    assert refusal.fields == ((error.field,) if error.field else ())
    assert (refusal.retry_seconds is not None) == (form.grpc_code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"))


def test_a_job_that_failed_keeps_its_own_reason() -> None:
    status = rich_status(JobFailedError("no audio", Wire("CORRUPT_AUDIO", "INVALID_ARGUMENT", 409)))
    refusal = unpacked(status, grpc_code(status))
    assert (refusal.code.name, refusal.reason) == ("INVALID_ARGUMENT", "CORRUPT_AUDIO")


def test_when_to_come_back_is_told() -> None:
    status = rich_status(QueueFullError("full", retry_after=2.5))
    assert unpacked(status, grpc_code(status)).retry_seconds == 2.5


def test_what_a_client_sent_cannot_blow_up_the_trailers() -> None:
    hostile = "\ud800" + "é" * 1_000_000
    error = InvalidFieldError(hostile, field=hostile, metadata={f"{i}{hostile}": hostile for i in range(100)})
    ((_, content),) = trailing_metadata(rich_status(error))
    # As on the wire: the message percent-encoded, the details in base64.
    assert len(quote(rich_status(error).message)) + len(content) * 4 / 3 <= 8_000
