"""Which addresses callbacks never go to, in every form they can be written in."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.delivery.addresses import refusal

ALLOWED = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.20",
    "100.64.0.1",
    "8.8.8.8",
    "::1",
    "fd12:3456::1",
    "2606:4700::1111",
    "::ffff:192.168.1.20",
    "64:ff9b::8.8.8.8",
    "2002:7f00:1::",
]
REFUSED = {
    "169.254.169.254": "metadata",
    "169.254.170.2": "metadata",
    "100.100.100.200": "metadata",
    "168.63.129.16": "metadata",
    "192.0.0.192": "metadata",
    "fd00:ec2::254": "metadata",
    "fd00:ec2::253": "metadata",
    "fd20:ce::254": "metadata",
    "169.254.1.1": "link-local",
    "fe80::1": "link-local",
    "febf::1": "link-local",
    "fe80::1%2": "link-local",
    "fec0::1": "link-local",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "::": "unspecified",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "ff02::1": "multicast",
    "255.255.255.255": "broadcast",
    "240.0.0.1": "reserved",
    "192.0.2.1": "reserved",
    "2001:db8::1": "reserved",
    "4000::1": "reserved",
    "::ffff:0:127.0.0.1": "reserved",
    "64:ff9b:1::1": "reserved",
    # The same ones, wrapped.
    "::ffff:169.254.169.254": "metadata",
    "::ffff:a9fe:a9fe": "metadata",
    "::ffff:0.0.0.0": "unspecified",
    "::169.254.169.254": "metadata",
    "64:ff9b::169.254.169.254": "metadata",
    "64:ff9b::224.0.0.1": "multicast",
    "2002:a9fe:a9fe::1": "metadata",
    "2002:e000:1::": "multicast",
    # Teredo: by its server, and by its client, whose bits are turned over.
    "2001:0:a9fe:a9fe::1": "metadata",
    "2001:0:808:808::5601:5601": "metadata",
}


@pytest.mark.parametrize("address", ALLOWED)
def test_loopback_private_and_public_addresses_may_be_called(address: str) -> None:
    assert refusal(ip_address(address)) == ""


@pytest.mark.parametrize(("address", "kind"), REFUSED.items())
def test_what_is_no_server_of_ours_is_refused_by_its_kind(address: str, kind: str) -> None:
    assert kind in refusal(ip_address(address))


@given(st.ip_addresses(v=4))
def test_every_form_that_holds_an_ipv4_address_is_judged_by_it(address) -> None:
    number = int(address)
    forms = [
        int(ip_address("::ffff:0:0")) | number,
        int(ip_address("64:ff9b::")) | number,
        int(ip_address("2002::")) | number << 80 | 1,
    ]
    assert {refusal(IPv6Address(form)) for form in forms} == {refusal(address)}


@given(st.ip_addresses(v=6))
def test_only_assigned_unicast_addresses_are_called(address) -> None:
    fine = ("2000::/3", "fc00::/7", "::/96", "::ffff:0:0/96", "64:ff9b::/96")
    if refusal(address) == "":
        assert any(address in ip_network(network) for network in fine)
