"""Which client addresses a route admits."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from dataplane.gateway.policy.addresses import MOST_KNOWN, AddressLists, Gate


def lists(allow: str = "", deny: str = "") -> AddressLists:
    return AddressLists(*(tuple(ip_network(one) for one in text.split()) for text in (allow, deny)))


@pytest.mark.parametrize(
    ("allow", "deny", "address", "admitted"),
    [
        ("10.0.0.0/8", "", "10.1.2.3", True),
        ("10.0.0.0/8", "", "11.1.2.3", False),
        ("10.0.0.0/8 192.0.2.1", "", "192.0.2.1", True),
        ("", "10.0.0.0/8", "10.1.2.3", False),
        ("", "10.0.0.0/8", "11.1.2.3", True),
        # Deny comes first.
        ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", False),
        ("10.1.0.0/16", "10.0.0.0/8", "10.1.2.3", False),
        ("2001:db8::/32", "", "2001:db8::1", True),
        ("2001:db8::/32", "", "10.0.0.1", False),
        # RFC 4291, 2.5.5.2: an IPv4 address in IPv6.
        ("10.0.0.0/8", "", "::ffff:10.0.0.1", True),
        ("", "10.0.0.0/8", "::ffff:10.0.0.1", False),
        # No address, as that of a Unix socket: in no network.
        ("0.0.0.0/0", "", "", False),
        ("", "0.0.0.0/0", "unix:", True),
    ],
)
def test_lists(allow: str, deny: str, address: str, admitted: bool) -> None:
    gate = Gate(lists(allow, deny))
    assert [gate.admits(address), gate.admits(address)] == [admitted, admitted]


def test_verdicts_are_kept_in_bounds() -> None:
    gate = Gate(lists("10.0.0.0/8"))
    for number in range(MOST_KNOWN + 10):
        assert gate.admits(f"10.0.{number // 256}.{number % 256}")
    assert len(gate._known) <= MOST_KNOWN
