"""Who the client is, given who says so."""

from __future__ import annotations

import pytest

from dataplane.proxy.trust import MAX_HOPS, Peer, TrustedProxies, address_block, canonical_address


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:1234", "192.0.2.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("192.0.2.256", None),
        ("192.0.2.1, 192.0.2.2", None),
        ("010.0.0.1", None),
    ],
)
def test_canonical(written: str, meant: str | None) -> None:
    assert canonical_address(written) == meant


def test_nobody_is_trusted_unless_told() -> None:
    assert "127.0.0.1" not in TrustedProxies()
    assert not TrustedProxies().peer("127.0.0.1").trusted


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix:/run/proxy.sock", "unix:/run/proxy.sock"),
        ("", ""),
    ],
)
def test_an_ipv6_host_counts_as_its_64(address: str, block: str) -> None:
    assert address_block(address) == block


def test_networks() -> None:
    trusted = TrustedProxies(["10.0.0.0/8", "2001:db8::/32"])
    assert "10.1.2.3" in trusted and "2001:db8::9" in trusted and "11.0.0.1" not in trusted
    assert trusted.peer("::ffff:10.0.0.1") == Peer("10.0.0.1", True)
    with pytest.raises(ValueError, match="host bits"):
        TrustedProxies(["10.0.0.1/8"])


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("nonsense, 10.0.0.2", "10.0.0.2"),
        ("nonsense", "10.0.0.1"),
        ("", "10.0.0.1"),
        (" 203.0.113.9:55 ", "203.0.113.9"),
        ("203.0.113.9, , 10.0.0.2,", "203.0.113.9"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy(said: str, client: str) -> None:
    assert TrustedProxies(["10.0.0.0/8"]).client(Peer("10.0.0.1", True), said) == client


def test_only_so_many_hops_are_looked_at() -> None:
    trusted = TrustedProxies(["10.0.0.0/8"])
    chain = ", ".join(f"10.{number >> 8 & 255}.{number & 255}.2" for number in range(9_000))
    assert trusted.client(Peer("10.0.0.1", True), chain) == f"10.{8936 >> 8}.{8936 & 255}.2"
    assert len(trusted._known) <= MAX_HOPS
    assert trusted.client(Peer("10.0.0.1", True), f"{chain}, 203.0.113.9, 10.0.0.2") == "203.0.113.9"


def test_memory_is_bounded() -> None:
    trusted = TrustedProxies(["10.0.0.0/8"])
    for number in range(30_000):
        assert f"11.{number >> 8}.{number & 255}.1" not in trusted
    assert len(trusted._known) <= 10_000
