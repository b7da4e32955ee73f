"""A scripted peer, and clients of it that wait for nothing longer than they must."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mismo_client import AsyncClient, ClientOptions, RetryPolicy
from tests.unit.client.peer import Peer


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    await peer.start()
    yield peer
    await peer.stop()


@pytest.fixture
def quick() -> ClientOptions:
    """As patient as a client of the real thing, with waits of milliseconds."""
    policy = RetryPolicy(attempts=8, initial=0.005, longest=0.1)
    return ClientOptions(call_retry=policy, stream_retry=policy)


@pytest.fixture
async def client(peer: Peer, quick: ClientOptions) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(peer.target, options=quick) as client:
        yield client
