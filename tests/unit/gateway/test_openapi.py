"""The OpenAPI document: it has every field that the routes read, in the syntax of its version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mismo_grpc.gateway.application import build_application
from mismo_grpc.gateway.errors import ErrorDocument, error_body
from mismo_grpc.gateway.submission import FORM_FIELDS, JSON_FIELDS
from mismo_grpc.gateway.workers.requests import ANALYZE_FIELDS, GENERATE_FIELDS, PARAMETERS

DOCUMENT = build_application().openapi()


def properties(path: str, content_type: str = "application/json") -> dict[str, Any]:
    """The properties of the body of a POST."""
    return DOCUMENT["paths"][path]["post"]["requestBody"]["content"][content_type]["schema"]["properties"]


@pytest.mark.parametrize(
    ("path", "content_type", "fields"),
    [
        ("/jobs", "application/json", JSON_FIELDS),
        ("/jobs", "multipart/form-data", FORM_FIELDS),
        ("/analyze", "application/json", ANALYZE_FIELDS),
        ("/generate", "application/json", GENERATE_FIELDS),
    ],
)
def test_each_field_of_a_body_is_documented(path: str, content_type: str, fields: tuple[str, ...]) -> None:
    assert set(properties(path, content_type)) == set(fields)


def test_each_parameter_of_a_generation_is_documented() -> None:
    assert set(properties("/generate")["parameters"]["properties"]) == set(PARAMETERS)


def test_null_is_written_as_openapi_3_1_has_it() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    assert '"nullable"' not in json.dumps(DOCUMENT)


def test_each_route_documents_errors_in_the_form_that_the_server_sends() -> None:
    sent = error_body("JOB_NOT_FOUND", "gone", field="job_id", metadata={"a": "b"})
    assert ErrorDocument.model_validate(sent).model_dump() == sent
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for status in ("4XX", "5XX"):
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorDocument"}, (method, path)
    assert "HTTPValidationError" not in json.dumps(DOCUMENT)
