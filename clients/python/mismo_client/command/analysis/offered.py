"""Which analyses there are, and which of them a server offers."""

from __future__ import annotations

from mismo.analysis.v1.stage_pb2 import (
    STAGE_BASIC_FEATURES,
    STAGE_CHARACTERISTICS,
    STAGE_CHORDS,
    STAGE_GENRE,
    STAGE_SECTIONS,
    STAGE_TRANSITION,
    Stage,
)
from mismo_client.client import AsyncClient
from mismo_client.command.owned_jobs import Notes
from mismo_client.errors import ClientError
from mismo_client.stages import stage_name

ANALYSES: tuple[Stage, ...] = (
    STAGE_BASIC_FEATURES,
    STAGE_CHARACTERISTICS,
    STAGE_GENRE,
    STAGE_SECTIONS,
    STAGE_CHORDS,
    STAGE_TRANSITION,
)
"""All analyses of music; the loudness is part of the first."""


class NothingOfferedError(ClientError):
    """The server offers none of the analyses."""


async def offered_analyses(client: AsyncClient, notes: Notes) -> tuple[Stage, ...]:
    """The analyses that the server offers; a note says which others are left out, and why.

    Raises NothingOfferedError and MismoRpcError.
    """
    infos = {info.stage: info for info in await client.stages()}
    offered: list[Stage] = []
    why_not: list[str] = []
    for stage in ANALYSES:
        if stage in infos and infos[stage].available:
            offered.append(stage)
        else:
            reason = infos[stage].reason if stage in infos else "this server does not know it"
            why_not.append(f"without {stage_name(stage)}: {reason}")
    if not offered:
        raise NothingOfferedError("the server offers no analysis; `mismo stages` tells why")
    for text in why_not:
        notes.note(text)
    return tuple(offered)
