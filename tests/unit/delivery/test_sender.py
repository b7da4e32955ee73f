"""One attempt to deliver a callback, to a receiver that does what receivers do."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import shutil
import ssl
import subprocess
import tracemalloc
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mismo_grpc.delivery.attempts import Outcome, Verdict
from mismo_grpc.delivery.body import Bodies
from mismo_grpc.delivery.guard import UrlGuard
from mismo_grpc.delivery.json_body import Body
from mismo_grpc.delivery.resolver import Resolver
from mismo_grpc.delivery.sender import Sender
from mismo_grpc.jobs.callbacks import CallbackRow
from mismo_grpc.jobs.job import DeliveryMode
from mismo_grpc.results.runs import Runs
from tests.unit.delivery.finished_jobs import a_job, waveforms, write_stems
from tests.unit.delivery.receiver import (
    PATIENCE,
    Receiver,
    answering,
    closing,
    deaf,
    hanging,
    refusing_unread,
    resetting,
    slowly_reading,
    talking_on_and_on,
    thanking_first,
)

FRAMES = 500_000
"""Of each stem where a body must be larger than what sockets hold: 2 MB."""


class FakeNames:
    """Answers look-ups in turn, and counts them."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def a_sender(
    names: FakeNames | None = None,
    timeout: float = PATIENCE,
    secret: str = "",
    tls: ssl.SSLContext | None = None,
) -> Sender:
    guard = UrlGuard(names or Resolver())
    return Sender(
        guard,
        timeout=timeout,
        secret=secret,
        now=lambda: 1_700_000_000.5,
        tls=lambda: tls or ssl.create_default_context(),
    )


def a_row(url: str) -> CallbackRow:
    return CallbackRow("c0ffee", "track", "track-1", "stems", url, 1.0, 1.0, attempts=2)


@asynccontextmanager
async def body_in(jobs_dir: Path, mode: DeliveryMode, frames: int) -> AsyncGenerator[Body]:
    job = a_job(mode=mode)
    write_stems(jobs_dir, job, frames)
    with await Bodies(Runs(jobs_dir), waveforms).callback(job, "stems", 1.0) as body:
        yield body


@pytest.fixture
async def small(tmp_path: Path) -> AsyncGenerator[Body]:
    async with body_in(tmp_path / "small", DeliveryMode.PATH, 1000) as body:
        yield body


@pytest.fixture
async def large(tmp_path: Path) -> AsyncGenerator[Body]:
    async with body_in(tmp_path / "large", DeliveryMode.CALLBACK, FRAMES) as body:
        yield body


@pytest.fixture(params=["small", "large"])
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Body]:
    mode, frames = {"small": (DeliveryMode.PATH, 1000), "large": (DeliveryMode.CALLBACK, FRAMES)}[
        request.param
    ]
    async with body_in(tmp_path, mode, frames) as body:
        yield body


async def text_of(body: Body) -> bytes:
    return b"".join([piece async for piece in body])


# What goes out


async def test_a_callback_is_a_post_that_names_its_job_stage_and_attempt(small: Body) -> None:
    async with Receiver() as receiver:
        outcome = await a_sender().attempt(a_row(f"{receiver.url}?token=1"), small)
        [visit] = receiver.visits
    assert outcome == Outcome(Verdict.DELIVERED)
    assert visit.line == "POST /callback?token=1 HTTP/1.1"
    assert visit.body == await text_of(small)
    assert json.loads(visit.body)["job_id"] == "track"
    assert visit.headers.pop("user-agent").startswith("mismo_grpc/")
    assert visit.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "accept": "*/*",
        "connection": "close",
        "content-type": "application/json",
        "content-length": str(small.length),
        "x-mismo-job-id": "track",
        "x-mismo-stage": "stems",
        "x-mismo-callback-id": "c0ffee",
        "x-mismo-attempt": "3",
    }


async def test_a_signature_is_what_the_receiver_computes(either: Body) -> None:
    async with Receiver() as receiver:
        await a_sender(secret="s3cret ü").attempt(a_row(receiver.url), either)
        [visit] = receiver.visits
    assert visit.headers["x-mismo-timestamp"] == "1700000000"
    signed = b"1700000000." + bytes(visit.body)
    expected = hmac.new("s3cret ü".encode(), signed, hashlib.sha256).hexdigest()
    assert visit.headers["x-mismo-signature"] == f"sha256={expected}"


async def test_stems_arrive_as_they_are_at_a_slow_receiver(large: Body) -> None:
    async with Receiver(slowly_reading) as receiver:
        assert await a_sender().attempt(a_row(receiver.url), large) == Outcome(Verdict.DELIVERED)
    assert receiver.visits[0].body == await text_of(large)


async def test_fifty_megabytes_of_stems_go_out_in_a_few_megabytes_of_memory(tmp_path: Path) -> None:
    job = a_job()
    write_stems(tmp_path, job, 13 * (1 << 20) // 4)
    with await Bodies(Runs(tmp_path), waveforms).callback(job, "stems", 1.0) as body:
        async with Receiver(answering(200, keep=False)) as receiver:
            tracemalloc.start()
            try:
                outcome = await a_sender(secret="s").attempt(a_row(receiver.url), body)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            [visit] = receiver.visits
        assert outcome == Outcome(Verdict.DELIVERED)
        assert visit.received == body.length > 65_000_000
        digest = hashlib.sha256()
        await body.read_into(digest.update)
        assert visit.digest == digest.hexdigest()
        assert peak < 16 << 20


# What comes back


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (204, Verdict.DELIVERED),
        (302, Verdict.GIVE_UP),
        (401, Verdict.GIVE_UP),
        (413, Verdict.GIVE_UP),
        (404, Verdict.TRY_AGAIN),
        (500, Verdict.TRY_AGAIN),
        (503, Verdict.TRY_AGAIN),
    ],
)
async def test_the_answer_decides(small: Body, status: int, verdict: Verdict) -> None:
    async with Receiver(answering(status)) as receiver:
        assert (await a_sender().attempt(a_row(receiver.url), small)).verdict is verdict


async def test_a_redirect_is_not_followed(small: Body) -> None:
    async with Receiver() as elsewhere, Receiver(answering(307, f"Location: {elsewhere.url}")) as receiver:
        outcome = await a_sender().attempt(a_row(receiver.url), small)
    assert outcome.verdict is Verdict.GIVE_UP
    assert "redirects are not followed" in outcome.reason
    assert elsewhere.visits == []


async def test_a_refusal_ends_an_upload_that_nobody_reads(large: Body) -> None:
    async with Receiver(refusing_unread) as receiver:
        outcome = await a_sender().attempt(a_row(receiver.url), large)
    assert outcome.verdict is Verdict.GIVE_UP
    assert "413" in outcome.reason


async def test_an_early_thank_you_does_not_cut_the_body_short(large: Body) -> None:
    async with Receiver(thanking_first) as receiver:
        assert await a_sender().attempt(a_row(receiver.url), large) == Outcome(Verdict.DELIVERED)
        await receiver.until(lambda: receiver.open == 0)
        [visit] = receiver.visits
    assert visit.received == large.length


async def test_an_answer_without_end_is_not_read_to_it(small: Body) -> None:
    async with Receiver(talking_on_and_on) as receiver:
        assert await a_sender().attempt(a_row(receiver.url), small) == Outcome(Verdict.DELIVERED)
        await receiver.until(lambda: receiver.open == 0)


@pytest.mark.parametrize("behaviour", [closing, resetting])
async def test_a_connection_that_breaks_off_is_worth_another_attempt(behaviour, either: Body) -> None:
    async with Receiver(behaviour) as receiver:
        outcome = await a_sender().attempt(a_row(receiver.url), either)
    assert outcome.verdict is Verdict.TRY_AGAIN
    assert "broke off" in outcome.reason


@pytest.mark.parametrize("behaviour", [hanging, deaf])
async def test_no_attempt_takes_longer_than_it_may(large: Body, behaviour) -> None:
    async with Receiver(behaviour) as receiver:
        sender = a_sender(timeout=0.5)
        outcome = await sender.attempt(a_row(f"{receiver.url}?token=1"), large)
    place = f"127.0.0.1:{receiver.port}"
    assert outcome == Outcome(Verdict.TRY_AGAIN, f"no answer from {place} within 0.5 s")


async def test_an_answer_that_is_no_http_is_worth_another_attempt(small: Body) -> None:
    async def babbling(visit) -> None:
        await visit.read_body()
        visit.writer.write(b"SSH-2.0-OpenSSH\r\n\r\n\x00\x1b[31m")
        await visit.writer.drain()

    async with Receiver(babbling) as receiver:
        outcome = await a_sender().attempt(a_row(receiver.url), small)
    assert outcome.verdict is Verdict.TRY_AGAIN
    assert outcome.reason.isprintable()


async def test_nobody_there_is_worth_another_attempt(small: Body) -> None:
    async with Receiver() as receiver:
        pass
    outcome = await a_sender().attempt(a_row(receiver.url), small)
    assert outcome.verdict is Verdict.TRY_AGAIN
    assert f"cannot connect to 127.0.0.1:{receiver.port}" in outcome.reason


async def test_a_host_that_is_not_known_yet_is_worth_another_attempt(small: Body) -> None:
    outcome = await a_sender().attempt(a_row("http://no-such-host.invalid/?token=1"), small)
    assert outcome.verdict is Verdict.TRY_AGAIN
    assert "no-such-host.invalid cannot be looked up" in outcome.reason
    assert "token" not in outcome.reason


async def test_stems_that_cannot_be_read_are_worth_another_attempt(tmp_path: Path) -> None:
    job = a_job()
    write_stems(tmp_path, job)
    with await Bodies(Runs(tmp_path), waveforms).callback(job, "stems", 1.0) as body:
        Runs(tmp_path).files("track-1").stem("vocals").write_bytes(b"")
        async with Receiver(hanging) as receiver:
            outcome = await a_sender().attempt(a_row(receiver.url), body)
    assert outcome.verdict is Verdict.TRY_AGAIN
    assert "the body cannot be read" in outcome.reason


async def test_a_cancelled_attempt_is_cancelled_and_hangs_up(large: Body) -> None:
    for behaviour in (hanging, deaf):
        async with Receiver(behaviour) as receiver:
            attempt = asyncio.ensure_future(a_sender().attempt(a_row(receiver.url), large))
            await receiver.visited(1)
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
            if behaviour is hanging:
                await receiver.until(lambda receiver=receiver: receiver.open == 0)


# Where it goes


async def test_the_connection_goes_to_the_address_that_was_checked(small: Body) -> None:
    # The second answer is what an attacker's name server says once the first was found good.
    names = FakeNames(["127.0.0.1"], ["169.254.169.254"])
    async with Receiver() as receiver:
        row = a_row(f"http://app.example:{receiver.port}/cb")
        assert await a_sender(names).attempt(row, small) == Outcome(Verdict.DELIVERED)
        [visit] = receiver.visits
        assert names.asked == [("app.example", receiver.port)]
        assert visit.headers["host"] == f"app.example:{receiver.port}"
        # The next attempt checks anew.
        sender = a_sender(names)
        outcome = await sender.attempt(row, small)
    assert outcome.verdict is Verdict.GIVE_UP
    assert "169.254.169.254" in outcome.reason
    assert len(receiver.visits) == 1


async def test_a_host_with_one_forbidden_address_is_not_called_at_all(small: Body) -> None:
    async with Receiver() as receiver:
        names = FakeNames(["127.0.0.1", "fe80::1"])
        outcome = await a_sender(names).attempt(a_row(f"http://app:{receiver.port}/"), small)
    assert outcome.verdict is Verdict.GIVE_UP
    assert receiver.visits == []


async def test_a_stored_url_that_is_none_is_given_up(small: Body) -> None:
    outcome = await a_sender().attempt(a_row("ftp://app/"), small)
    assert outcome.verdict is Verdict.GIVE_UP


async def test_the_first_address_that_answers_is_taken(small: Body) -> None:
    async with Receiver() as receiver:
        names = FakeNames(["127.0.0.2", "::1", "127.0.0.1"])
        outcome = await a_sender(names).attempt(a_row(f"http://app:{receiver.port}/"), small)
    assert outcome == Outcome(Verdict.DELIVERED)


# https


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of app.example that signs itself, and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=app.example"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-addext", "subjectAltName=DNS:app.example", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return both


def served_with(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("host", ["app.example", "app.example."])
async def test_https_is_checked_by_the_name_of_the_url(certificate: Path, large: Body, host: str) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    async with Receiver(tls=served_with(certificate)) as receiver:
        sender = a_sender(FakeNames(["127.0.0.1"]), tls=trusting)
        row = a_row(f"https://{host}:{receiver.port}/cb")
        assert await sender.attempt(row, large) == Outcome(Verdict.DELIVERED)
        [visit] = receiver.visits
    assert visit.body == await text_of(large)


async def test_a_refusal_over_https_ends_the_upload(certificate: Path, large: Body) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    async with Receiver(refusing_unread, tls=served_with(certificate)) as receiver:
        sender = a_sender(FakeNames(["127.0.0.1"]), tls=trusting)
        outcome = await sender.attempt(a_row(f"https://app.example:{receiver.port}/cb"), large)
    assert "413" in outcome.reason


async def test_a_certificate_of_another_name_is_not_trusted(certificate: Path, small: Body) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    async with Receiver(tls=served_with(certificate)) as receiver:
        sender = a_sender(FakeNames(["127.0.0.1"]), tls=trusting)
        outcome = await sender.attempt(a_row(f"https://other.example:{receiver.port}/cb"), small)
    assert outcome.verdict is Verdict.TRY_AGAIN
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason
    assert receiver.visits == []


async def test_the_callback_id_stays_while_the_attempt_counts(small: Body) -> None:
    async with Receiver() as receiver:
        for attempts in (0, 1):
            await a_sender().attempt(replace(a_row(receiver.url), attempts=attempts), small)
    assert [visit.headers["x-mismo-attempt"] for visit in receiver.visits] == ["1", "2"]
    assert {visit.headers["x-mismo-callback-id"] for visit in receiver.visits} == {"c0ffee"}
