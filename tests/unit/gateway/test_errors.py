"""One shape for every error."""

from __future__ import annotations

import json

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from mismo_grpc.errors import MismoError, QueueFullError
from mismo_grpc.gateway.errors import add_error_handlers, error_response
from mismo_grpc.wire_forms import WIRE


@pytest.mark.parametrize("kind", list(WIRE), ids=lambda kind: kind.__name__)
def test_every_error_has_the_shape_and_its_status(kind: type[MismoError]) -> None:
    if kind.__name__ == "JobFailedError":
        pytest.skip("carries the wire form of another")
    error = kind("what to do", field="options.stems", metadata={"limit": "5"})
    response = error_response(error)
    assert response.status_code == WIRE[kind].http_status
    assert json.loads(bytes(response.body)) == {
        "error": {
            "code": WIRE[kind].reason,
            "message": "what to do",
            "field": "options.stems",
            "retryable": WIRE[kind].retryable,
            "metadata": {"limit": "5"},
        }
    }


def test_when_to_come_back() -> None:
    assert error_response(QueueFullError("full", retry_after=9.2)).headers["Retry-After"] == "10"


def test_routes_that_are_not_there_and_faults_of_ours() -> None:
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the password is swordfish")

    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/nowhere").json()["error"]["code"] == "NOT_FOUND"
    assert client.post("/broken").json()["error"]["code"] == "METHOD_NOT_ALLOWED"
    answer = client.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "INTERNAL"
    assert "swordfish" not in answer.text
