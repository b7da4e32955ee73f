"""Results of analyses as messages: every field of a result is in its message."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any

import pytest
from google.protobuf.message import Message

from mismo.analysis.v1 import results_pb2 as pb
from mismo.analysis.v1 import stage_pb2
from mismo_grpc.analysis import results
from mismo_grpc.analysis.results import Key, KeyRelation, Mode, SectionRole
from mismo_grpc.jobs.job import Stage
from mismo_grpc.jobs.stage_data import RESULT_TYPES, StageData
from mismo_grpc.rpc import result_messages
from mismo_grpc.rpc.result_messages import add_result, comparison_message, key_message
from tests.support.results import (
    BASIC_FEATURES,
    CHARACTERISTICS,
    CHORDS,
    COMPARISON,
    GENRE,
    SECTIONS,
    TRANSITION,
)

FOUND: dict[Stage, StageData] = {
    Stage.BASIC_FEATURES: BASIC_FEATURES,
    Stage.CHARACTERISTICS: CHARACTERISTICS,
    Stage.GENRE: GENRE,
    Stage.SECTIONS: SECTIONS,
    Stage.CHORDS: CHORDS,
    Stage.TRANSITION: TRANSITION,
}


def assert_same(message: Message, value: Any) -> None:
    """Compares all fields by their names, also of nested values."""
    for field in fields(value):
        here, there = getattr(message, field.name), getattr(value, field.name)
        if isinstance(there, tuple):
            assert len(here) == len(there), field.name
            for one, other in zip(here, there, strict=True):
                if is_dataclass(other):
                    assert_same(one, other)
                else:
                    assert one == pytest.approx(other)
        elif is_dataclass(there):
            assert_same(here, there)
        elif isinstance(there, StrEnum):
            descriptor = message.DESCRIPTOR.fields_by_name[field.name].enum_type
            assert descriptor is not None
            assert descriptor.values_by_number[here].name.endswith(f"_{there.name}")
        elif there is None:
            assert not here
        else:
            assert here == there, field.name


@pytest.mark.parametrize("stage", FOUND)
def test_every_field_of_a_result_is_in_its_message(stage: Stage) -> None:
    message = stage_pb2.StageStatus()
    add_result(message, FOUND[stage])
    assert message.WhichOneof("result") == stage.name.lower()
    assert_same(getattr(message, stage.name.lower()), FOUND[stage])


def test_the_contract_has_a_message_for_each_result() -> None:
    oneof = stage_pb2.StageStatus.DESCRIPTOR.oneofs_by_name["result"]
    assert {field.name for field in oneof.fields} == {stage.name.lower() for stage in RESULT_TYPES}


def test_every_field_of_a_message_has_a_value() -> None:
    """So a field that is added to the contract alone is found."""
    for name, message in [
        ("basic_features", result_messages.basic_features_message(BASIC_FEATURES)),
        ("characteristics", result_messages.characteristics_message(CHARACTERISTICS)),
        ("transition", result_messages.transition_message(TRANSITION)),
        ("comparison", comparison_message(COMPARISON)),
    ]:
        filled = {field.name for field, _ in message.ListFields()}
        assert filled == {field.name for field in message.DESCRIPTOR.fields}, name


def test_a_comparison_is_converted() -> None:
    assert_same(comparison_message(COMPARISON), COMPARISON)


def test_a_key_has_its_name_and_its_place_on_the_camelot_wheel() -> None:
    message = key_message(Key(6, Mode.MINOR, 0.5))
    assert (message.name, message.camelot) == ("F# minor", "11A")


@pytest.mark.parametrize(
    ("kind", "enum", "prefix"),
    [
        (Mode, pb.KeyMode, "KEY_MODE_"),
        (SectionRole, pb.SectionRole, "SECTION_ROLE_"),
        (KeyRelation, pb.KeyRelation, "KEY_RELATION_"),
    ],
)
def test_the_enums_of_the_contract_are_complete(kind: type[StrEnum], enum: Any, prefix: str) -> None:
    assert {f"{prefix}{member.name}" for member in kind} | {f"{prefix}UNSPECIFIED"} == set(enum.keys())


def test_each_result_type_is_known() -> None:
    known = {
        kind for kind in vars(results).values() if isinstance(kind, type) and kind.__name__.endswith("Result")
    }
    assert known == {type(result) for result in FOUND.values()}
