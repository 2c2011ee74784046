"""One request and its response, from the first byte to the last: its data, its phase, and its connection to an
instance.

A client's connection (`ClientSide`) makes an exchange when it has read a head. The gateway (`Decider`) decides on it,
a connection to an instance (`InstanceSide`) carries it, and `Decider.finished` is called exactly once, whatever
happens: there the breaker is settled, counters are counted and the log line is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final

from dataplane.proxy.content_coding import Codings
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.messages import NO_IDENTITY, Identity, Request
from dataplane.proxy.pool import Connection, Endpoint
from dataplane.proxy.reply import Reply
from dataplane.proxy.trust import Peer
from dataplane.proxy.writer import Outgoing


class Result(Enum):
    """The verdict of an exchange on the instance that it went to."""

    ANSWERED = "answered"
    """Its response was complete; the status says whether it counts as a failure."""
    FAILED = "failed"
    """The instance did not answer, or not properly, or not in time."""
    ABANDONED = "abandoned"
    """No verdict: the client left or was too slow, or the exchange never reached an instance."""


_ABANDONED: Final = Result.ABANDONED


class Undecided:
    """The answer of `Decider.decide` when it has to wait."""

    __slots__ = ()


UNDECIDED: Final = Undecided()
"""No decision yet: `ClientSide.decided` is called when there is one."""


Fields = list[tuple[bytes, bytes]]
"""Fields of a message: names, lower case, and values."""


class HeaderEdits:
    """Edits of header fields (`edits.Edits`), which wire formats carry out."""

    __slots__ = ()


class Forwarding:
    """Forwarding settings for the exchanges of one route. The gateway prepares it when a table comes, and adds what it
    needs."""

    __slots__ = (
        "authority",
        "connect_timeout",
        "encoding",
        "idle_timeout",
        "logged",
        "max_body",
        "replayed",
        "request_edits",
        "response_edits",
        "response_timeout",
        "retries_refusals",
        "route_name",
        "sampled",
        "service_name",
        "total_timeout",
        "try_timeout",
        "withheld",
    )

    def __init__(self, route_name: str, service_name: str) -> None:
        self.route_name = route_name
        self.service_name = service_name
        self.logged = ""
        """Both as the access log writes them, once it has."""
        self.request_edits: HeaderEdits | None = None
        """Edits of the fields that instances get, and below of those that clients get."""
        self.response_edits: HeaderEdits | None = None
        self.encoding: Codings | None = None
        """Content codings for responses; None: they stay as they are."""
        self.authority = b""
        """Host sent to instances; empty: that of the request."""
        self.connect_timeout = self.response_timeout = self.idle_timeout = 0.0
        """Seconds to connect; from the whole request to the response's head; without progress of its body."""
        self.total_timeout = 0.0
        """Seconds for the whole exchange; 0: as long as it takes."""
        self.try_timeout = 0.0
        """Seconds for each attempt, from the head that is sent to the end of the response; 0: as long as it takes."""
        self.max_body: int | None = None
        """Bytes of a request's body."""
        self.replayed: frozenset[str] = frozenset()
        """Methods of requests that may be sent again after their body has been sent: keep the body."""
        self.retries_refusals = False
        """So may requests that are answered with some 4xx."""
        self.sampled: bytes | None = None
        """Threshold (`fields.trace.threshold`) of traces that begin with its requests; None: that of the worker."""
        self.withheld: frozenset[bytes] | None = None
        """Names, lower case, of response fields for the gateway (`Decider.told`), which the client does not get."""


class ClientSide(asyncio.Protocol):
    """A client's connection, as the rest of the engine sees it (`downstream.Downstream`).

    A base class instead of a protocol, because it is on the request path: when compiled, a call of it is a C call.
    """

    __slots__ = (
        "address",
        "current",
        "deadline",
        "entrance",
        "forwarded",
        "outgoing",
        "peer",
        "phase",
        "server_name",
        "since",
        "transport",
        "until",
        "write_paused",
    )

    peer: Peer
    address: str
    """Of the peer, or of the client that its PROXY header names."""
    entrance: Entrance
    """The port that the client connected to."""
    server_name: str
    """The name that the client asked for in the TLS handshake (SNI), lower case; empty without one, and without TLS."""
    forwarded: bytes
    """The fields that name an untrusted peer to instances, once HTTP/1 has written them; empty before."""
    transport: asyncio.Transport
    outgoing: Outgoing
    current: Exchange | None
    """The exchange being answered, None between requests."""
    phase: int
    since: float
    """Time at which the phase began, or began again."""
    deadline: float
    """Of the phase: monotonic time at which `expire` is called."""
    until: float
    """Deadline of the whole exchange, or of lingering in all; FOREVER without one."""
    write_paused: bool
    """The client accepts no more bytes for now."""

    def enter(self, phase: int, now: float, seconds: float) -> None:
        """Begin a phase with this time limit, or begin it again."""
        self.phase = phase
        self.since = now
        deadline = now + seconds
        self.deadline = deadline if deadline < self.until else self.until

    def expire(self, now: float) -> None:
        """The deadline has passed: set another one, or end."""
        raise NotImplementedError

    def drain(self) -> None:
        """Close after the current response, or after the next one if there is none; soon if no request comes."""
        raise NotImplementedError

    def connecting(self, exchange: Exchange, now: float, seconds: float) -> None:
        """The exchange has no connection: it gets one within this time, or is sent again later."""
        raise NotImplementedError

    def decided(self, exchange: Exchange, refusal: object | None, now: float) -> None:
        """The decision on an exchange that was UNDECIDED: a refusal, or None as `Decider.decide` says it."""
        raise NotImplementedError

    def sending(self, exchange: Exchange, now: float) -> None:
        """A connection has begun to carry the exchange, or can take more of its body again."""
        raise NotImplementedError

    def settle_reading(self) -> None:
        """Read from the client while its bytes can be used, or to detect that it leaves; pause otherwise."""
        raise NotImplementedError

    def touch(self, exchange: Exchange, now: float) -> None:
        """The response has made progress: its idle time starts again."""
        raise NotImplementedError

    def completed(self, exchange: Exchange, now: float) -> None:
        """The response has been handed to the transport, whole."""
        raise NotImplementedError

    def failed(self, exchange: Exchange, refusal: object, result: Result) -> None:
        """The exchange cannot go on: refuse it, or, if the response has begun, cut it off visibly."""
        raise NotImplementedError

    def begin_tunnel(
        self, exchange: Exchange, instance: asyncio.Transport, head: bytes, first: bytes, now: float
    ) -> None:
        """Leave the connection to a tunnel: `head` is the 101, `first` what the instance has said after it."""
        raise NotImplementedError

    def tunnel_ended(self, exchange: Exchange, now: float) -> None:
        """The tunnel that this connection was left to has ended."""
        raise NotImplementedError

    def client_left(self) -> None:
        """The client is gone: finish what is open, and abort the connection."""
        raise NotImplementedError

    def is_reset(self) -> bool:
        """Whether the client has reset the connection, which is not being read."""
        raise NotImplementedError

    def look_at_peer(self, now: float) -> None:
        """While nothing is read, ask the kernel whether the client has ended its side, or the connection."""
        raise NotImplementedError


class InstanceSide(Connection):
    """A connection to an instance, as the rest of the engine sees it (`upstream.Upstream`)."""

    __slots__ = ("transport", "write_paused")

    transport: asyncio.Transport
    write_paused: bool
    """The instance accepts no more bytes for now."""

    def send(self, exchange: Exchange, now: float) -> None:
        """Send the head and the body pieces that have arrived; the next response belongs to `exchange`."""
        raise NotImplementedError

    def send_body(self, exchange: Exchange) -> None:
        """Send the pieces of the request body that have come since."""
        raise NotImplementedError

    def pause(self) -> None:
        """Stop reading: the client accepts no more bytes for now."""
        raise NotImplementedError

    def resume(self) -> None:
        """Resume reading."""
        raise NotImplementedError

    def cancel(self) -> None:
        """The response is no longer needed: abort the connection."""
        raise NotImplementedError

    def keep(self, now: float) -> None:
        """Return a clean connection to the pool, or close it."""
        raise NotImplementedError


class Exchange:
    """Mutable, and touched by one event loop only. Times are monotonic seconds, 0.0 before they happened."""

    __slots__ = (
        "address",
        "asked",
        "attempts",
        "body",
        "client",
        "complete",
        "decision",
        "ended",
        "endpoint",
        "failures",
        "fault",
        "held",
        "identity",
        "keep_alive",
        "plan",
        "reason",
        "received",
        "replay",
        "request",
        "request_id",
        "response_fields",
        "result",
        "retried",
        "revision",
        "sent",
        "sent_at",
        "shadowed",
        "slowed",
        "started",
        "status",
        "streamed_at",
        "timed",
        "trial",
        "tried",
        "upstream",
    )

    client: ClientSide
    address: str
    """Of the client, which need not be the peer: trusted proxies may stand between."""
    request: Request | None
    """None when the head could not be read."""
    request_id: bytes
    revision: int
    """Of the table the decision was made with."""
    decision: str
    """One word for the log: "forwarded", or the reason for the refusal."""
    reason: str
    """Details for the log, never for the client."""
    status: int
    """Of the final response, whose head has gone to the client; 0 before that."""
    result: Result

    plan: Forwarding | None
    """Of its route, from the match on."""
    trial: object | None
    """For the gateway: the exchange as the breaker of its service sees it, settled when it is finished."""
    asked: object | None
    """For the gateway: its pending calls for this exchange, and the tokens taken elsewhere."""
    held: object | None
    """For the gateway: other items that it holds for this exchange until it is finished."""
    shadowed: tuple[str, ...]
    """Limits that would have refused the request, were they enforced."""
    response_fields: tuple[tuple[str, str], ...]
    """Names, lower case, and values that the gateway adds to the instance's response."""
    timed: bool
    """The gateway wants to know when the request has been sent (`Decider.sent`)."""
    identity: Identity
    """The caller; NO_IDENTITY until the gateway has authorized one."""
    endpoint: Endpoint | None
    """The instance it goes to; counted in its `in_flight` while set."""
    upstream: InstanceSide | None
    """The connection that carries it, only while it does."""

    body: list[bytes]
    """Pieces of the request body that have not gone upstream yet."""
    replay: list[bytes] | None
    """Pieces of the request body that have gone upstream, where they may have to go again and are not too many."""
    attempts: int
    """Number of instances that it was sent to."""
    tried: tuple[Endpoint, ...]
    """Instances that failed."""
    failures: tuple[tuple[float, str], ...]
    """Of each of `tried`: when it failed, and why (`errors.CONNECT` and its like, or a status)."""
    complete: bool
    """The request has been read completely."""
    slowed: bool
    """The client did not take the response as quickly as it came."""
    retried: bool
    """It was sent again, because a reused connection closed before it answered."""
    keep_alive: bool
    """The client's connection stays open after this exchange."""
    fault: object | None
    """A refusal from before the gateway's decision: the request cannot be read."""

    received: int
    """Bytes of request body."""
    sent: int
    """Bytes of response body."""
    started: float
    """The time it was started; a pipelined request has waited before that."""
    sent_at: float
    """When the head went upstream."""
    streamed_at: float
    """When the response's head arrived."""
    ended: float
    """The time `Decider.finished` was called."""

    def __init__(self, client: ClientSide, request: Request | None, request_id: bytes) -> None:
        self.client = client
        self.address = client.address
        self.request = request
        self.request_id = request_id
        self.started = self.sent_at = self.streamed_at = self.ended = 0.0
        self.attempts = self.revision = self.status = self.received = self.sent = 0
        self.complete = self.retried = self.slowed = self.timed = False
        self.plan = self.trial = self.endpoint = self.upstream = None
        self.fault = self.replay = self.held = self.asked = None
        self.tried = self.failures = self.shadowed = self.response_fields = ()
        self.keep_alive = True
        self.identity = NO_IDENTITY
        self.decision = self.reason = ""
        self.result = _ABANDONED
        self.body = []


class Copying:
    """Sends copies of exchanges (`copies.Copier`)."""

    most_body: int
    """Bytes of a request's body that can be kept for copies."""

    def send(
        self,
        original: Exchange,
        body: list[bytes],
        plan: Forwarding,
        endpoint: Endpoint,
        done: Callable[[Result], None],
    ) -> None:
        """Send a copy of a whole request, with this body, to an endpoint, soon. Its answer is thrown away; `done` is
        called once at its end."""
        raise NotImplementedError


class Sender:
    """Sends exchanges that have no connection, or have lost theirs (`dialer.Dialer`)."""

    def dial(self, exchange: Exchange) -> None:
        """Connect to the exchange's endpoint, or another that accepts, and send it there."""
        raise NotImplementedError

    def try_again(self, exchange: Exchange, cause: str) -> bool:
        """Send the exchange to another instance; False if it may not be."""
        raise NotImplementedError


class Decider:
    """The interface that the engine expects of the gateway. Nothing here waits; `decide` may return UNDECIDED.

    A base class instead of a protocol, because it is on the request path: when compiled, a call of it is a C call.
    """

    def use_sender(self, sender: Sender) -> None:
        """The way for requests of the gateway's own."""

    def decide(self, exchange: Exchange, now: float) -> object | None:
        """A refusal (`refuse` has every kind), or None. With None, `exchange` has the destination and the data for the
        instance: plan, endpoint, identity, and the request's target and upgrade. UNDECIDED if the gateway must ask
        Redis or a service first: it then calls `ClientSide.decided`, unless the exchange has ended by then.
        """
        raise NotImplementedError

    def refuse(self, exchange: Exchange | None, refusal: object) -> Reply:
        """The response to a refusal, the gateway's or the engine's own; without an exchange if there is none yet."""
        raise NotImplementedError

    def retry(self, exchange: Exchange, cause: str, now: float) -> float | None:
        """Move an exchange that failed by `cause` (`errors.CONNECT` and its like, or a status) to another endpoint.

        Returns the seconds to wait before it is sent there, or None when it must not be tried again.
        """
        raise NotImplementedError

    def sent(self, exchange: Exchange, now: float) -> None:
        """A `timed` exchange has been sent whole: from now on the gateway waits for the instance."""
        raise NotImplementedError

    def told(self, exchange: Exchange, fields: Fields, now: float) -> None:
        """The final response's head or trailers have arrived, with these withheld fields."""
        raise NotImplementedError

    def discarded(self, exchange: Exchange, fields: Fields, now: float) -> None:
        """A response with these withheld fields is dropped: another instance is asked."""
        raise NotImplementedError

    def equip(self, copying: Copying) -> None:
        """Copies of exchanges can be sent with this."""

    def tunnelled(self, exchange: Exchange, now: float) -> None:
        """The exchange has become a tunnel, whose end may be hours away."""
        raise NotImplementedError

    def finished(self, exchange: Exchange) -> None:
        """The exchange is over; called once for every exchange."""
        raise NotImplementedError


def take_idle(endpoint: Endpoint) -> InstanceSide:
    """The idle connection that was used last; there must be one."""
    found = endpoint.idle.pop()
    assert isinstance(found, InstanceSide)
    return found
