"""Calls above the limits: they wait or are refused, and what they hold is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import grpc
import pytest

from mismo.analysis.v1 import job_service_pb2, system_service_pb2
from mismo_grpc.errors import CapacityError
from mismo_grpc.rpc.call_limits import MAX_REQUEST_BYTES, CallLimit, CallLimits, Turns
from tests.unit.rpc.conftest import Served
from tests.unit.rpc.test_interceptor import BIG, SERVICE, probe
from tests.unit.rpc.wire import Refusal, drained, refusal_of, refused

UNARY = f"/{SERVICE}/Unary"
ONE_CALL = {UNARY: CallLimit(at_work=1, waiting=0)}
PATIENCE_SECONDS = 30.0
"""Only a test that fails waits this long."""


async def echo(request: bytes, context: Any) -> bytes:
    return request[:10]


async def echoes(request: bytes, context: Any) -> AsyncGenerator[bytes, None]:
    yield request[:10]


async def all_echoes(requests: AsyncIterator[bytes], context: Any) -> AsyncGenerator[bytes, None]:
    async for request in requests:
        yield request[:10]


async def first_refusals(calls: Sequence[asyncio.Future[Any]], count: int) -> list[Refusal]:
    """The first ones of these calls to end, all of them refused."""
    refusals: list[Refusal] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        for ended in asyncio.as_completed(calls):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ended
            refusals.append(refusal_of(caught.value))
            if len(refusals) == count:
                return refusals
    raise AssertionError("too few calls were refused")


async def test_some_calls_work_some_wait_and_the_others_are_refused() -> None:
    go_on = asyncio.Event()
    at_work, most_at_work = 0, 0

    async def unary(request: bytes, context: Any) -> bytes:
        nonlocal at_work, most_at_work
        at_work += 1
        most_at_work = max(most_at_work, at_work)
        await go_on.wait()
        at_work -= 1
        return b"done"

    limits = CallLimits(unary={UNARY: CallLimit(at_work=2, waiting=3)}, request_bytes={})
    async with probe(unary=unary, limits=limits) as server:
        calls = [asyncio.ensure_future(server.unary()) for _ in range(9)]
        for refusal in await first_refusals(calls, 4):
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
            assert refusal.retry_seconds is not None
        go_on.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert answers.count(b"done") == 5
        assert most_at_work == 2
        assert await server.unary() == b"done"


async def test_who_waits_too_long_for_a_turn_is_refused() -> None:
    turns = Turns(1, 0.01)
    async with turns.turn():
        with pytest.raises(CapacityError):
            async with turns.turn():
                pass
    async with turns.turn():
        pass


async def test_a_call_whose_request_never_comes_ends_and_holds_nothing() -> None:
    limits = CallLimits(unary=ONE_CALL, request_bytes={}, receiving=1, patience=0.5)
    async with probe(unary=echo, stream=echoes, limits=limits, max_streams=1) as server:
        for method in ("Unary", "Stream"):
            silent = server.channel.stream_stream(f"/{SERVICE}/{method}")()
            refusal = await refused(drained(silent))
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "STREAM_IDLE")
            ended = server.channel.stream_stream(f"/{SERVICE}/{method}")()
            await ended.done_writing()
            assert (await refused(drained(ended))).reason == "INVALID_REQUEST"
        assert await server.unary(b"one") == b"one"
        assert await drained(server.stream(b"one")) == [b"one"]


async def test_requests_are_received_by_turns() -> None:
    limits = CallLimits(unary={}, request_bytes={}, receiving=1, patience=0.5)
    async with probe(unary=echo, stream=echoes, limits=limits) as server:
        async with server.gate._receiving.turn():  # No message of the wire holds it for certain.
            assert (await refused(server.unary())).reason == "OVERLOADED"
            assert (await refused(drained(server.stream()))).reason == "OVERLOADED"
        assert await server.unary(b"one") == b"one"


async def test_a_message_is_as_long_as_its_method_allows() -> None:
    longest, too_long = b"x" * MAX_REQUEST_BYTES, b"x" * (MAX_REQUEST_BYTES + 1)
    limits = CallLimits(unary={}, request_bytes={f"/{SERVICE}/Both": len(BIG)})
    async with probe(unary=echo, stream=echoes, both=all_echoes, limits=limits) as server:
        assert await server.unary(longest) == longest[:10]
        for call in (server.unary(too_long), drained(server.stream(too_long))):
            refusal = await refused(call)
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
            assert str(MAX_REQUEST_BYTES) in refusal.message
        both = server.both()
        await both.write(BIG)
        assert await both.read() == BIG[:10]
        await both.write(BIG + b"x")
        assert (await refused(drained(both))).reason == "INVALID_REQUEST"


async def test_an_answer_that_nobody_reads_is_let_go_of() -> None:
    begun = asyncio.Event()

    async def unary(request: bytes, context: Any) -> bytes:
        if request != b"big":
            return b"small"
        begun.set()
        return BIG * 3

    limits = CallLimits(unary=ONE_CALL, request_bytes={})
    # A client usually takes megabytes before anybody reads them.
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
    async with (
        probe(unary=unary, limits=limits, idle_seconds=1.0) as server,
        grpc.aio.insecure_channel(server.address, options=narrow) as channel,
    ):
        unread = channel.stream_stream(UNARY)()
        await unread.write(b"big")
        # Else a call of ours might take the only place before it.
        await asyncio.wait_for(begun.wait(), PATIENCE_SECONDS)
        refusal = await _first(server.unary, refused_with="OVERLOADED")
        assert refusal is not None
        assert await _first(server.unary, refused_with=None) is None
        unread.cancel()


async def _first(call: Any, *, refused_with: str | None) -> Refusal | None:
    """Calls until this is what becomes of it; None for an answer."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await call()
                refusal = None
            except grpc.aio.AioRpcError as error:
                refusal = refusal_of(error)
            if (refusal.reason if refusal else None) == refused_with:
                return refusal


@pytest.mark.service
async def test_many_lists_at_once_leave_the_other_methods_alone(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    stored = served.app.store.list

    def gated(*arguments: Any) -> Any:
        go_on.wait(PATIENCE_SECONDS)
        return stored(*arguments)

    monkeypatch.setattr(served.app.store, "list", gated)
    try:
        lists = [
            asyncio.ensure_future(served.jobs.ListJobs(job_service_pb2.ListJobsRequest())) for _ in range(40)
        ]
        for refusal in await first_refusals(lists, 8):
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
            assert refusal.retry_seconds is not None
        await served.system.GetServerInfo(system_service_pb2.GetServerInfoRequest())
    finally:
        go_on.set()
    answers = await asyncio.gather(*lists, return_exceptions=True)
    assert sum(isinstance(answer, job_service_pb2.ListJobsResponse) for answer in answers) == 32
