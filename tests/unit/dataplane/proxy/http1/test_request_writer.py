"""The head that goes upstream."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dataplane.proxy.exchange import Exchange, Forwarding
from dataplane.proxy.fields.trace import read_traceparent, threshold
from dataplane.proxy.http1.request import read_request
from dataplane.proxy.http1.request_writer import (
    RequestWriter,
    continued,
    forwarded_fields,
    identity_fields,
    request_head,
    started,
)
from dataplane.proxy.messages import CHUNKED, NO_IDENTITY, Context, Identity, Provenance, Request
from dataplane.proxy.trust import Peer

PEER = Peer("203.0.113.9")
ID = b"0123456789abcdef" * 2
TRACE = b"\r\ntraceparent: 00-" + ID + b"-0123456789abcdef-01"
TRACE_ID = b"4bf92f3577b34da6a3ce929d0e0e4736"
OURS = b"0123456789abcdef" + b"fedcba9876543210"


def request(method: bytes = b"GET", **more: object) -> Request:
    made = read_request(method, b"/x?y", [], [(b"Host", b"a")], PEER, True, str)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def head(made: Request, identity: bytes = b"") -> bytes:
    return request_head(made, forwarded_fields(PEER), identity, ID, b"10.0.0.1:80")


def test_the_whole_head() -> None:
    made = request(fields=[b"\r\nA: ", b"b"])
    assert head(made, b"\r\nx-auth-subject: alice") == (
        b"GET /x?y HTTP/1.1\r\nhost: a\r\nA: b\r\nx-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: http"
        b"\r\nvia: 1.1 headgate\r\nx-forwarded-host: a\r\nx-request-id: "
        + ID
        + TRACE
        + b"\r\nx-auth-subject: alice\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("made", "framing"),
    [
        (request(), b""),
        (request(b"DELETE"), b""),
        (request(b"POST"), b"\r\ncontent-length: 0"),
        (request(b"POST", length=5), b"\r\ncontent-length: 5"),
        (request(length=5), b"\r\ncontent-length: 5"),
        (request(b"PUT", length=CHUNKED), b"\r\ntransfer-encoding: chunked"),
        (request(b"PUT", length=5, expects_continue=True), b"\r\ncontent-length: 5\r\nexpect: 100-continue"),
        (
            request(length=CHUNKED, expects_continue=True),
            b"\r\ntransfer-encoding: chunked\r\nexpect: 100-continue",
        ),
    ],
)
def test_exactly_one_framing(made: Request, framing: bytes) -> None:
    assert head(made).endswith(b"x-request-id: " + ID + TRACE + framing + b"\r\n\r\n")


@pytest.mark.parametrize("made", [request(), request(provenance=Provenance())])
def test_via_can_be_left_out(made: Request) -> None:
    def written(via: bool) -> bytes:
        return request_head(made, forwarded_fields(PEER), b"", ID, b"", via=via)

    assert written(True).replace(b"\r\nvia: 1.1 headgate", b"") == written(False)


def test_a_request_without_host_gets_the_instances() -> None:
    assert b"\r\nhost: 10.0.0.1:80\r\n" in head(request(authority=b""))


def test_what_a_trusted_proxy_said_is_carried_on() -> None:
    provenance = Provenance()
    assert (
        forwarded_fields(PEER, provenance) == b"\r\nx-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: http"
    )
    provenance.forwarded_for, provenance.forwarded_proto, provenance.forwarded_host = (
        b"1.1.1.1",
        b"https",
        b"shop",
    )
    assert (
        forwarded_fields(PEER, provenance)
        == b"\r\nx-forwarded-for: 1.1.1.1, 203.0.113.9\r\nx-forwarded-proto: https"
    )
    assert b"\r\nhost: a\r\n" in head(
        request(provenance=provenance)
    ) and b"\r\nx-forwarded-host: shop\r\n" in head(request(provenance=provenance))


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("alice", b"alice"),
        ("a@b.example", b"a@b.example"),
        ("a\r\nX-Evil: 1", b"a%0D%0AX-Evil:%201"),
        ("ä", b"%C3%A4"),
        ("100%", b"100%25"),
        ("\0", b"%00"),
        ("\ud800", b"?"),
    ],
)
def test_subjects_cannot_break_out_of_their_field(subject: str, said: bytes) -> None:
    scopes = frozenset({"b:write", "a:read"})
    assert (
        identity_fields(Identity(subject, scopes))
        == b"\r\nx-auth-subject: %b\r\nx-auth-scopes: a:read b:write" % said
    )


def exchange(made: Request, identity: Identity = NO_IDENTITY) -> Exchange:
    client = cast(Any, SimpleNamespace(peer=PEER, address=PEER.address, forwarded=b""))
    begun = Exchange(client, made, ID)
    begun.identity = identity
    return begun


def test_a_head_is_written_from_what_the_exchange_says() -> None:
    alice = Identity("alice", frozenset({"a:read"}))
    begun = exchange(request(upgrade=("websocket",)), alice)
    assert RequestWriter().head(begun, request(upgrade=("websocket",)), b"") == (
        head(request(), identity_fields(alice))[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
    )


def test_nothing_is_said_of_anybody() -> None:
    made = request()
    assert RequestWriter().head(exchange(made), made, b"") == head(made)


def test_what_does_not_change_is_written_once() -> None:
    alice, made = Identity("alice", frozenset()), request()
    begun = exchange(made, alice)
    written = RequestWriter().head(begun, made, b"")
    assert begun.client.forwarded == forwarded_fields(PEER) and alice.rendered == identity_fields(alice)
    assert RequestWriter().head(begun, made, b"") == written


@pytest.mark.parametrize("context", [None, Context(b"1" * 32, b"01")])
def test_every_try_has_the_same_ids_and_names_its_own_instance(context: Context | None) -> None:
    provenance = Provenance()
    provenance.context, provenance.fresh_id, provenance.request_id = context, b"f" * 32, ID
    for said in (None, provenance):
        made = request(authority=b"", http11=False, provenance=said)
        begun, writer = exchange(made), RequestWriter()
        first, second = (writer.head(begun, made, authority) for authority in (b"one:80", b"two:80"))
        assert b"\r\nhost: one:80\r\n" in first and second == first.replace(b"one:80", b"two:80")


# --- trace context


def test_a_continued_trace_has_our_span_as_parent_and_their_flags() -> None:
    field = b"\r\ntraceparent: 00-%b-fedcba9876543210-00" % TRACE_ID
    assert continued(Context(TRACE_ID, b"00"), None, OURS) == field
    assert continued(Context(TRACE_ID, b"00"), b"a=1,b=2", OURS) == field + b"\r\ntracestate: a=1,b=2"
    assert continued(Context(TRACE_ID, b"00"), b"a=" + b"x" * 511, OURS) == field


@pytest.mark.parametrize(
    ("ratio", "span", "flags"),
    [
        (1.0, b"f" * 16, b"01"),
        (0.5, b"7" + b"f" * 15, b"01"),
        (0.5, b"8" + b"0" * 15, b"00"),
        (0.0, b"0" * 15 + b"1", b"00"),
    ],
)
def test_a_started_trace_is_recorded_by_its_id(ratio: float, span: bytes, flags: bytes) -> None:
    request_id = b"0123456789abcdef" + span
    said = started(request_id, threshold(ratio))
    assert said == b"\r\ntraceparent: 00-%b-%b-%b" % (request_id, span, flags)
    assert read_traceparent(said.partition(b": ")[2]) == Context(request_id, flags, span)


@pytest.mark.parametrize(("ratio", "flags"), [(None, b"00"), (1.0, b"01"), (0.0, b"00")])
def test_a_route_may_have_a_share_of_its_own(ratio: float | None, flags: bytes) -> None:
    made = request()
    begun = exchange(made)
    begun.plan = Forwarding("orders", "orders")
    begun.plan.sampled = None if ratio is None else threshold(ratio)
    head = RequestWriter(trace_sampling=0.0).head(begun, made, b"")
    assert b"\r\ntraceparent: 00-%b-%b-%b\r\n" % (ID, ID[16:], flags) in head
