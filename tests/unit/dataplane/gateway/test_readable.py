"""Fields for scripts of other origins, kept by origin."""

from __future__ import annotations

from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.readable import Readable
from dataplane.proxy.http1.request import read_request
from dataplane.proxy.messages import Request
from dataplane.proxy.trust import Peer

SHOP = "https://shop.example"
CORS = Cors(origins=frozenset({SHOP}), exposed=("x-total",))


def asked(origin: str) -> Request:
    fields = [(b"Host", b"a.example"), (b"Origin", origin.encode())]
    return read_request(b"GET", b"/", [], fields, Peer("203.0.113.9"), True, lambda: "1.1")


def test_the_fields_are_those_of_the_policy_each_time() -> None:
    readable = Readable(CORS)
    for _ in range(2):
        assert readable.fields(asked(SHOP)) == tuple(CORS.response(SHOP)) != ()
        assert readable.fields(asked("https://other.example")) == ()


def test_origins_of_strangers_are_not_kept_without_bound() -> None:
    readable = Readable(CORS)
    for number in range(1000):
        assert readable.fields(asked(f"https://{number}.example")) == ()
    assert readable.fields(asked("https://" + "a" * 4000)) == ()
    assert len(readable._known) <= 64
    assert max(map(len, readable._known)) <= 300
    assert readable.fields(asked(SHOP)) == tuple(CORS.response(SHOP))
