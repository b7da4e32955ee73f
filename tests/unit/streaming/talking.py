"""What tests say to a stream, and how they look at what it says."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TypeVar

import google_crc32c

from mismo_grpc.streaming.messages import Chunk, ClientMessage, ServerMessage
from mismo_grpc.streaming.reader import OpenStems
from mismo_grpc.streaming.stream import StemStream

Kind = TypeVar("Kind", bound=ServerMessage)

PLENTY = 1 << 30


def session(
    open_stems: OpenStems,
    *said: ClientMessage,
    idle_seconds: float = 30.0,
    repeat_seconds: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
) -> StemStream:
    """A stream to which all of this was said."""
    stream = StemStream(
        open_stems,
        server_epoch="epoch",
        idle_seconds=idle_seconds,
        repeat_seconds=repeat_seconds,
        clock=clock,
    )
    for message in said:
        stream.on_message(message)
    return stream


async def all_of(stream: StemStream) -> list[ServerMessage]:
    """Everything up to the end of a session whose client has closed its side."""
    stream.on_half_close()
    async with aclosing(stream.messages()) as messages:
        return [message async for message in messages]


async def until(messages: AsyncIterator[ServerMessage], kind: type[Kind]) -> Kind:
    """The next message of a kind."""
    async for message in messages:
        if isinstance(message, kind):
            return message
    raise AssertionError(f"the session ended without {kind.__name__}")


def of(said: list[ServerMessage], kind: type[Kind]) -> list[Kind]:
    """The messages of a kind."""
    return [message for message in said if isinstance(message, kind)]


def audio(chunks: list[Chunk], place: int) -> bytes:
    """One stem's payload; fails where its chunks do not touch."""
    mine = [chunk for chunk in chunks if chunk.stem_index == place]
    for before, after in itertools.pairwise(mine):
        assert after.start_frame == before.start_frame + before.frame_count
    return b"".join(chunk.data for chunk in mine)


def check_generation(chunks: list[Chunk], starts: dict[int, int]) -> None:
    """Sequence from 0, checksums, and always the stem that is furthest behind."""
    cursors = dict(starts)
    for sequence, chunk in enumerate(chunks):
        assert chunk.sequence == sequence
        assert chunk.crc32c == google_crc32c.value(chunk.data)
        assert chunk.start_frame == cursors[chunk.stem_index] == min(cursors.values())
        cursors[chunk.stem_index] += chunk.frame_count
