"""Callback URLs: what is taken at submit, and where a callback really goes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence

import pytest

from mismo_grpc.delivery.guard import ForbiddenAddressError, Target, UrlGuard, parse_url
from mismo_grpc.delivery.resolver import LOOKUPS, Resolver
from mismo_grpc.errors import InvalidFieldError


def guard(*allowed: str, found: Sequence[str] = ("10.0.0.5",)) -> UrlGuard:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return found

    return UrlGuard(resolve, allowed)


async def unreachable(host: str, port: int) -> Sequence[str]:
    raise AssertionError("no name is looked up at submit")


# At submit


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://app-server:3000/cb", Target("http", "app-server", 3000, "/cb")),
        ("https://app.example.com", Target("https", "app.example.com", 443, "/")),
        ("HTTP://App_Server/a/b?x=1&m=a@b", Target("http", "app_server", 80, "/a/b?x=1&m=a@b")),
        ("http://[::1]:8080/cb#part", Target("http", "::1", 8080, "/cb")),
        ("http://127.0.0.1:1/", Target("http", "127.0.0.1", 1, "/")),
        ("http://app.example.com.:65535/ü", Target("http", "app.example.com.", 65535, "/%C3%BC")),
        ("https://bücher.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
    ],
)
def test_a_plain_url_is_taken(url: str, target: Target) -> None:
    assert UrlGuard(unreachable).check_callback_url(url) == target


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "http:// or https://"),
        ("ftp://app/", "http:// or https://"),
        ("file:///etc/passwd", "http:// or https://"),
        ("gopher://app:70/_", "http:// or https://"),
        ("/callback", "http:// or https://"),
        ("app:3000/cb", "http:// or https://"),
        ("http://", "http:// or https://"),
        ("http:///cb", "http:// or https://"),
        ("http://user:pw@app/", "user or password"),
        ("http://user@app/", "user or password"),
        ("http://app:0/", "port"),
        ("http://app:65536/", "port"),
        ("http://app:-1/", "port"),
        ("http://app:port/", "this is no URL"),
        ("http://[::1/", "this is no URL"),
        ("http://[fe80::1%25eth0]/", "host"),
        ("http://0177.0.0.1/", "this is no URL"),
        ("http://1.2.3.4.5.6/\n", "unprintable"),
        ("http://app /", "spaces"),
        ("http://app\t/", "spaces"),
        ("http://app\\@evil/", "backslashes"),
        ("http://a%00b/", "no host name"),
        ("http://%31%32%37.0.0.1/", "no host name"),
        ("http://a!b/", "no host name"),
        ("http://-app/", "no host name"),
        (f"http://{'a' * 254}/", "no host name"),
        (f"http://app/{'a' * 2048}", "2048 characters"),
        ("http://\udc80/", "unprintable"),
        ("http://\N{BOMB}\N{BOMB}/", "this is no URL"),
    ],
)
def test_what_is_no_plain_url_is_refused_with_the_remedy(url: str, fault: str) -> None:
    with pytest.raises(InvalidFieldError, match=fault) as caught:
        UrlGuard(unreachable).check_callback_url(url)
    assert caught.value.field == "callback_url"
    assert caught.value.message.startswith("callback_url: ")


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376.",
        "0xa9.254.0251.254",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "0",
        "0.0.0.0",
        "[::]",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_a_forbidden_address_is_refused_at_submit_however_it_is_written(host: str) -> None:
    found = "169.254.169.254"
    try:
        UrlGuard(unreachable).check_callback_url(f"http://{host}/latest/meta-data")
    except InvalidFieldError:
        return
    # Not one that the system takes for a number: then it is a name, and judged by what that resolves to.
    with pytest.raises(ForbiddenAddressError):
        asyncio.run(guard(found=[found]).addresses(parse_url(f"http://{host}/")))


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "192.168.7.8", "[::1]"])
def test_the_app_server_next_door_is_fine(host: str) -> None:
    UrlGuard(unreachable).check_callback_url(f"http://{host}:3000/cb")


# The list of allowed hosts


@pytest.mark.parametrize(
    ("allowed", "host", "fine"),
    [
        (["app-server"], "app-server", True),
        (["App-Server."], "APP-server", True),
        (["app-server"], "app-server.", True),
        (["app-server"], "other", False),
        (["app-server"], "127.0.0.1", False),
        (["*.example.com"], "a.example.com", True),
        (["*.example.com"], "a.b.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "badexample.com", False),
        (["bücher.example"], "xn--bcher-kva.example", True),
        (["10.0.0.0/8"], "10.1.2.3", True),
        (["10.0.0.0/8"], "11.1.2.3", False),
        (["10.0.0.0/8"], "[::ffff:10.1.2.3]", True),
        (["10.0.0.7"], "10.0.0.7", True),
        (["::1"], "[::1]", True),
        (["::/0"], "10.0.0.7", False),
        # It depends on what the name resolves to.
        (["10.0.0.0/8"], "app-server", True),
        # Nothing allows these.
        (["169.254.0.0/16", "169.254.169.254"], "169.254.169.254", False),
    ],
)
def test_allowed_hosts_at_submit(allowed: list[str], host: str, fine: bool) -> None:
    check: Callable[[str], object] = guard(*allowed).check_callback_url
    if fine:
        check(f"http://{host}/")
    else:
        with pytest.raises(InvalidFieldError):
            check(f"http://{host}/")


@pytest.mark.parametrize(
    ("allowed", "found", "fine"),
    [
        (["10.0.0.0/8"], ["10.0.0.5"], True),
        (["10.0.0.0/8"], ["10.0.0.5", "11.0.0.5"], False),
        (["10.0.0.0/8", "fd00::/8"], ["10.0.0.5", "fd00::5"], True),
        (["10.0.0.0/8", "app-server"], ["11.0.0.5"], True),
        (["app-server"], ["169.254.169.254"], False),
    ],
)
async def test_allowed_hosts_at_delivery(allowed: list[str], found: list[str], fine: bool) -> None:
    check = guard(*allowed, found=found).addresses(parse_url("http://app-server/"))
    if fine:
        assert await check == found
    else:
        with pytest.raises(ForbiddenAddressError):
            await check


def test_a_host_that_is_not_allowed_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidFieldError, match="MISMO_CALLBACK_ALLOWED_HOSTS"):
        guard("app-server").check_callback_url("http://evil/")


# At delivery


@pytest.mark.parametrize("bad", ["169.254.169.254", "fe80::1", "::ffff:224.0.0.1", "0.0.0.0"])
async def test_one_forbidden_address_among_good_ones_is_enough(bad: str) -> None:
    with pytest.raises(ForbiddenAddressError, match="callbacks never go there"):
        await guard(found=["10.0.0.5", bad, "10.0.0.6"]).addresses(parse_url("http://app/"))


async def test_a_host_without_addresses_may_get_some_later() -> None:
    with pytest.raises(socket.gaierror):
        await guard(found=[]).addresses(parse_url("http://app/"))


# Looking names up


async def test_the_system_is_asked_for_names() -> None:
    assert "127.0.0.1" in await Resolver()("localhost", 80)
    with pytest.raises(OSError, match=r"."):
        await Resolver()("no-such-host.invalid", 80)


async def test_a_name_that_cannot_be_asked_for_is_an_unknown_one() -> None:
    with pytest.raises(socket.gaierror):
        await Resolver()("a" * 70 + ".example", 80)


async def test_a_name_server_that_hangs_holds_up_neither_the_caller_nor_more_than_its_threads() -> None:
    answer, asked = threading.Event(), threading.Semaphore(0)

    def hang(host: str, port: int) -> list[str]:
        asked.release()
        answer.wait()
        return ["10.0.0.5"]

    resolver = Resolver(hang)
    waiting = [asyncio.ensure_future(resolver(f"h{n}", 80)) for n in range(LOOKUPS + 1)]
    for _ in range(LOOKUPS):
        assert await asyncio.to_thread(asked.acquire, timeout=30)
    for task in waiting[:LOOKUPS]:
        task.cancel()
    await asyncio.wait(waiting[:LOOKUPS])
    # Their threads still wait for the name server: no further one is started.
    assert not asked.acquire(blocking=False)
    answer.set()
    assert await waiting[-1] == ["10.0.0.5"]
