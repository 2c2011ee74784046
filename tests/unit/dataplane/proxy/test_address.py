"""Addresses as people, requests and certificates have them."""

from __future__ import annotations

import pytest

from dataplane.proxy.address import authority, certified_name, shown


@pytest.mark.parametrize(
    ("host", "port", "seen", "field", "name"),
    [
        ("10.0.0.1", 9000, "10.0.0.1:9000", "10.0.0.1:9000", "10.0.0.1"),
        ("::1", 9000, "[::1]:9000", "[::1]:9000", "::1"),
        ("orders.shop", 80, "orders.shop:80", "orders.shop", "orders.shop"),
        ("unix:/run/apps/a.sock", 0, "unix:/run/apps/a.sock", "localhost", "localhost"),
    ],
)
def test_notations(host: str, port: int, seen: str, field: str, name: str) -> None:
    assert (shown(host, port), authority(host, port, 80), certified_name(host)) == (seen, field, name)
    if port == 80:
        assert authority(host, port) == seen
