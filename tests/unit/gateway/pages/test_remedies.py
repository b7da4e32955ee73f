"""What the status page says to do about failures: about reasons and settings that there are."""

from __future__ import annotations

import re
from importlib.resources import files

from mismo_grpc.settings import Settings
from mismo_grpc.wire_forms import WIRE

SOURCE = (files("mismo_grpc.gateway") / "static" / "status" / "remedies.js").read_text(encoding="utf-8")
REMEDIES: dict[str, str] = dict(re.findall(r'^  ([A-Z_]+): "(.+)",$', SOURCE, re.MULTILINE))


def test_each_remedy_is_for_a_reason_of_the_server() -> None:
    assert len(REMEDIES) > 20
    assert set(REMEDIES) <= {form.reason for form in WIRE.values()}


def test_each_reason_that_the_audio_or_the_engine_gives_has_a_remedy() -> None:
    families = ("AUDIO", "ANALYSIS", "BLOB_", "MODEL_", "SEPARATION", "DISK", "MEMORY", "STORE")
    reasons = {form.reason for form in WIRE.values() if any(part in form.reason for part in families)}
    refused_at_submit = {"BLOB_URI_FORBIDDEN", "BLOB_FAILED"}
    assert reasons - refused_at_submit - set(REMEDIES) == set()


def test_the_settings_that_remedies_name_exist() -> None:
    named = set(re.findall(r"MISMO_(\w+)", SOURCE))
    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)
