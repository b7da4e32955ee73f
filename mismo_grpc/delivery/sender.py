"""Makes one attempt to deliver one callback, bounded in time whatever the receiver does."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import ssl
from collections.abc import Callable
from contextlib import aclosing, suppress

import httpcore2

from mismo_grpc import __version__
from mismo_grpc.delivery.attempts import Outcome, Verdict, outcome_of_status
from mismo_grpc.delivery.connection import PinnedBackend
from mismo_grpc.delivery.guard import ForbiddenAddressError, Target, UrlGuard, parse_url
from mismo_grpc.delivery.json_body import Body
from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.jobs.callbacks import CallbackRow

ANSWER_BYTES = 4096
"""Bytes of a response's body that are read and discarded, so that the receiver can finish sending it."""
ANSWER_SECONDS = 1.0
_BROKEN = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException)


class Sender:
    """Posts callbacks; `timeout` (seconds) bounds a whole attempt, `secret` ("": none) signs the bodies.

    `now` returns seconds since the epoch. `tls` creates the context that verifies https certificates.
    """

    def __init__(
        self,
        guard: UrlGuard,
        *,
        timeout: float,
        secret: str,
        now: Callable[[], float],
        tls: Callable[[], ssl.SSLContext] = httpcore2.default_ssl_context,
    ) -> None:
        self._guard = guard
        self._timeout = timeout
        self._secret = secret.encode()
        self._now = now
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None

    async def attempt(self, row: CallbackRow, body: Body) -> Outcome:
        """Sends the body once. Every failure is in the outcome; only a cancellation is raised."""
        try:
            target = parse_url(row.url)
        except InvalidFieldError as error:
            return Outcome(Verdict.GIVE_UP, error.message)
        answered: list[int] = []
        try:
            async with asyncio.timeout(self._timeout):
                await self._post(target, row, body, answered.append)
        except (ForbiddenAddressError, OSError, *_BROKEN) as error:
            # Once the status has arrived, a later failure does not matter.
            if not answered:
                return self._failed(target, error)
        return outcome_of_status(answered[0])

    def _failed(self, target: Target, error: Exception) -> Outcome:
        match error:
            case ForbiddenAddressError():
                return Outcome(Verdict.GIVE_UP, str(error))
            case TimeoutError():
                reason = f"no answer from {target.authority} within {self._timeout:g} s"
            case socket.gaierror():
                reason = f"the host {target.host} cannot be looked up ({_words(error)})"
            case httpcore2.ConnectError() | httpcore2.ConnectTimeout():
                reason = f"cannot connect to {target.authority} ({_words(error)})"
            case OSError():
                reason = f"the body cannot be read ({_words(error)})"
            case _:
                reason = f"the connection to {target.authority} broke off ({_words(error)})"
        return Outcome(Verdict.TRY_AGAIN, reason)

    async def _post(
        self, target: Target, row: CallbackRow, body: Body, answered: Callable[[int], None]
    ) -> None:
        headers = {
            "Host": target.authority,
            "User-Agent": f"mismo_grpc/{__version__}",
            "Accept": "*/*",
            "Connection": "close",
            "Content-Type": "application/json",
            "Content-Length": str(body.length),
            "X-Mismo-Job-ID": row.job_id,
            "X-Mismo-Stage": row.stage,
            "X-Mismo-Callback-ID": row.callback_id,
            "X-Mismo-Attempt": str(row.attempts + 1),
            **await self._signature(body),
        }
        addresses = await self._guard.addresses(target)
        url = httpcore2.URL(
            scheme=target.scheme, host=target.host.rstrip("."), port=target.port, target=target.path
        )
        connection = httpcore2.AsyncHTTPConnection(
            url.origin, await self._tls_for(target), network_backend=PinnedBackend(addresses)
        )
        async with (
            aclosing(connection),
            connection.stream("POST", url, headers=list(headers.items()), content=aiter(body)) as response,
        ):
            answered(response.status)
            with suppress(httpcore2.NetworkError, httpcore2.ProtocolError, TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await _read_some(response)

    async def _signature(self, body: Body) -> dict[str, str]:
        if not self._secret:
            return {}
        time = str(int(self._now()))
        mac = hmac.new(self._secret, f"{time}.".encode(), hashlib.sha256)
        await body.read_into(mac.update)
        return {"X-Mismo-Timestamp": time, "X-Mismo-Signature": f"sha256={mac.hexdigest()}"}

    async def _tls_for(self, target: Target) -> ssl.SSLContext | None:
        if target.scheme == "https" and self._tls is None:
            self._tls = await asyncio.to_thread(self._make_tls)
        return self._tls


async def _read_some(response: httpcore2.Response) -> None:
    count = 0
    async with aclosing(response.aiter_stream()) as chunks:
        async for chunk in chunks:
            count += len(chunk)
            if count >= ANSWER_BYTES:
                return


def _words(error: Exception) -> str:
    """Returns an error's text without control characters, which a peer may have put there."""
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
