"""Writing the head that goes upstream: from parsed values, with exactly one framing and one Host.

Our own fields about the client (X-Forwarded-*, X-Request-Id, X-Auth-*) are written last, after the fields named in
Connection have been removed, so that a client cannot remove them.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from dataplane.proxy.exchange import Exchange
from dataplane.proxy.fields.trace import ALWAYS, flags_of, threshold
from dataplane.proxy.http1.edits import edited_request
from dataplane.proxy.http1.names import VIA, VIA_10
from dataplane.proxy.http1.upgrade import upgrading
from dataplane.proxy.messages import CHUNKED, METHODS, Context, Identity, Provenance, Request
from dataplane.proxy.trust import Peer

_VISIBLE: Final = "!#$&'()*+,/:;=?@[]^`{|}\"<>\\"
_MAX_STATE: Final = 512


class RequestWriter:
    """Writes the heads of one worker's requests, from the decision stored on the exchange."""

    __slots__ = ("_sampled", "_via")

    def __init__(self, trace_sampling: float = 1.0, via: bool = True) -> None:
        """`trace_sampling` is the share of traces begun here that are recorded, 0 to 1; `via`: add to Via."""
        self._sampled = threshold(trace_sampling)
        self._via = via

    def head(self, exchange: Exchange, request: Request, default_authority: bytes) -> bytes:
        """The whole head, with its final empty line. Request and trace ids are those of the exchange, and the same in
        every attempt.

        `default_authority` is the Host of an HTTP/1.0 request without one.
        """
        client, identity, plan = exchange.client, exchange.identity, exchange.plan
        if request.provenance is not None:
            forwarded = forwarded_fields(client.peer, request.provenance)
        else:
            if not client.forwarded:
                client.forwarded = forwarded_fields(client.peer)
            forwarded = client.forwarded
        if identity.subject and not identity.rendered:
            identity.rendered = identity_fields(identity)
        head = request_head(
            request,
            forwarded,
            identity.rendered,
            exchange.request_id,
            default_authority,
            self._sampled if plan is None or plan.sampled is None else plan.sampled,
            self._via,
            plan.authority if plan is not None else b"",
            None
            if plan is None or plan.request_edits is None
            else edited_request(plan.request_edits, exchange, request),
        )
        return upgrading(head, request.upgrade[0]) if request.upgrade else head


def request_head(
    request: Request,
    forwarded: bytes,
    identity: bytes,
    request_id: bytes,
    default_authority: bytes,
    sampled: bytes = ALWAYS,
    via: bool = True,
    host: bytes = b"",
    fields: list[bytes] | None = None,
) -> bytes:
    """The whole head, with its final empty line.

    `forwarded` and `identity` are whole fields (`forwarded_fields`, `identity_fields`); `default_authority` is the
    Host of an HTTP/1.0 request without one; `sampled` is as for `started`; `via` says whether to add to Via;
    `host` replaces the Host, which X-Forwarded-Host still has; `fields`, in pieces, replace those of the request.
    """
    authority = request.authority or default_authority
    pieces = [_METHOD[request.method], request.target, b" HTTP/1.1\r\nhost: ", host or authority]
    if fields is not None:
        pieces += fields
    elif request.joined:
        pieces.append(request.joined)
    else:
        pieces += request.fields
    provenance = request.provenance
    framing = _framing(request) if request.length else _UNFRAMED[request.method]
    path = (_VIA_AND_HOST if request.http11 else _VIA_10_AND_HOST) if via else _HOST
    if provenance is not None:
        pieces += (
            forwarded,
            path,
            *_provenance_fields(provenance, authority, request_id, sampled),
            identity,
            framing,
        )
        return b"".join(pieces)
    span = request_id[16:]
    pieces += (
        forwarded,
        path,
        authority,
        b"\r\nx-request-id: ",
        request_id,
        # The same as in `started`, inlined because nearly every request comes here.
        b"\r\ntraceparent: 00-",
        request_id,
        b"-",
        span,
        b"-01" if span < sampled else b"-00",
        identity,
        framing,
    )
    return b"".join(pieces)


def _provenance_fields(
    provenance: Provenance, authority: bytes, request_id: bytes, sampled: bytes
) -> tuple[bytes, ...]:
    """The value of X-Forwarded-Host, then X-Request-Id and trace, of a request with a provenance."""
    own = provenance.fresh_id or request_id
    return (
        provenance.forwarded_host or authority,
        b"\r\nx-request-id: ",
        request_id,
        started(own, sampled)
        if provenance.context is None
        else continued(provenance.context, provenance.tracestate, own, sampled),
    )


_HOST: Final = b"\r\nx-forwarded-host: "
_VIA_AND_HOST: Final = VIA + _HOST
_VIA_10_AND_HOST: Final = VIA_10 + _HOST
_METHOD: Final = {method: f"{method} ".encode() for method in METHODS}
_UNFRAMED: Final = dict.fromkeys(METHODS, b"\r\n\r\n")
# A length of 0 says "no body" where the method makes one likely (RFC 9110 section 8.6).
_UNFRAMED.update(dict.fromkeys(("POST", "PUT", "PATCH"), b"\r\ncontent-length: 0\r\n\r\n"))


def _framing(request: Request) -> bytes:
    """The framing, the expectation, and the empty line after the head."""
    expectation = b"\r\nexpect: 100-continue" if request.expects_continue else b""
    if request.length == CHUNKED:
        return b"\r\ntransfer-encoding: chunked%b\r\n\r\n" % expectation
    return b"\r\ncontent-length: %d%b\r\n\r\n" % (request.length, expectation)


def forwarded_fields(peer: Peer, provenance: Provenance | None = None) -> bytes:
    """X-Forwarded-For and X-Forwarded-Proto, including the values of the peer if it is a trusted proxy."""
    hops, scheme = peer.address.encode(), peer.scheme.encode()
    if provenance is not None:
        if provenance.forwarded_for is not None:
            hops = b"%b, %b" % (provenance.forwarded_for, hops)
        scheme = provenance.forwarded_proto or scheme
    return b"\r\nx-forwarded-for: %b\r\nx-forwarded-proto: %b" % (hops, scheme)


def started(request_id: bytes, sampled: bytes) -> bytes:
    """The field for a trace that begins here, whose id is `request_id`: 32 hex digits, recorded if the second half is
    below `sampled`.
    """
    span = request_id[16:]
    return b"\r\ntraceparent: 00-%b-%b-%b" % (request_id, span, b"01" if span < sampled else b"00")


def continued(context: Context, state: bytes | None, request_id: bytes, sampled: bytes = ALWAYS) -> bytes:
    """The fields for a request within a trace that the client started; `sampled` is as for `started`."""
    flags = flags_of(context, sampled)
    field = b"\r\ntraceparent: 00-%b-%b-%b" % (context.trace_id, request_id[16:], flags)
    # Longer ones may be dropped (section 3.3.1.5); malformed ones are dropped by their readers.
    return b"%b\r\ntracestate: %b" % (field, state) if state and len(state) <= _MAX_STATE else field


def identity_fields(identity: Identity) -> bytes:
    """X-Auth-Subject and X-Auth-Scopes; visible ASCII as it is, everything else percent-encoded."""
    said = quote(identity.subject, safe=_VISIBLE, errors="replace")
    held = quote(" ".join(sorted(identity.scopes)), safe=_VISIBLE + " ", errors="replace")
    return f"\r\nx-auth-subject: {said}\r\nx-auth-scopes: {held}".encode("ascii")
