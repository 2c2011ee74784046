"""Requests of the gateway's own, and fields of their answers."""

from __future__ import annotations

import pytest

from dataplane.proxy.http1.request import read_request
from dataplane.proxy.own_requests import replace_fields
from dataplane.proxy.trust import Peer

PEER = Peer("192.0.2.1", trusted=False)


@pytest.mark.parametrize("name", [b"X-Role", b"x-role", b"X_Role"])
@pytest.mark.parametrize("new", [True, False], ids=["a new name", "a known name"])
def test_what_is_read_of_a_replaced_field_is_not_the_client_s(name: bytes, new: bool) -> None:
    """A name that is new to the worker is among the fields that are read one by one."""
    passing = [] if new else [b"\r\n%b: " % name, b"mine"]
    special = [(b"Host", b"a"), *([(name, b"mine")] if new else [])]
    request = read_request(b"GET", b"/", passing, special, PEER, True, lambda: "1.1")
    request.values = {"x-role": "mine"}
    replace_fields(request, [b"x-role"], [(b"x-role", b"theirs")])
    assert request.listed_field("x-role") == "theirs"
    replace_fields(request, [b"x-role"], [])
    assert request.listed_field("x-role") is None and request.field("host") == "a"
