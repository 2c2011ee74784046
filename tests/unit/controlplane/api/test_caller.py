"""Where a request comes from, as far as those who say so are trusted."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from starlette.requests import Request

from controlplane.api.caller import address_of

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["127.0.0.1", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("::1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.1:50123, 10.0.0.2:443"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:50123, [::1]"], "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.1, ", ""], "198.51.100.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        (None, ["198.51.100.1"], ""),
    ],
)
def test_the_nearest_address_that_is_no_trusted_proxy(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    client = (peer, 50000) if peer else None
    request = Request({"type": "http", "headers": headers, "client": client})
    assert address_of(request, TRUSTED) == address
