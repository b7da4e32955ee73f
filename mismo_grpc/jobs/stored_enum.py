"""Enums that are stored by the names of their members."""

from __future__ import annotations

from enum import Enum
from typing import Any, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


class StoredByName:
    """Mixin of an Enum: pydantic reads and writes the name of a member, so that its value can change."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """See pydantic."""
        members = cast("type[Enum]", cls).__members__
        return core_schema.no_info_after_validator_function(
            members.__getitem__,
            core_schema.literal_schema([*members]),
            serialization=core_schema.plain_serializer_function_ser_schema(_name),
        )


def _name(member: Enum) -> str:
    return member.name
