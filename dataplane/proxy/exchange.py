"""One request and its response, from the first byte to the last: what is known of it and where it stands.

The downstream connection makes an exchange when a head has been read. The gateway decides on it, an upstream
connection carries it, and `Decider.finished` hears of it exactly once, whatever happens: that is where breakers are
settled, counters counted and the log line written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dataplane.gateway.policy.authorize import Permit
from dataplane.gateway.policy.breaker import Outcome, Trial
from dataplane.gateway.policy.resources import Instance, Route, Service

if TYPE_CHECKING:
    from dataplane.proxy.client import Downstream
    from dataplane.proxy.http1.request import Request
    from dataplane.proxy.pool import Endpoint
    from dataplane.proxy.upstream import Upstream


_ABANDONED: Final = Outcome.ABANDONED


class Exchange:
    """Mutable, and touched by one event loop only. Times are monotonic seconds, 0.0 before they happened."""

    __slots__ = (
        "address",
        "attempts",
        "body",
        "client",
        "complete",
        "decision",
        "ended",
        "endpoint",
        "fault",
        "head",
        "keep_alive",
        "max_body",
        "outcome",
        "permit",
        "received",
        "replay",
        "request",
        "request_id",
        "responded",
        "response_timeout",
        "retried",
        "revision",
        "route",
        "sent",
        "sent_at",
        "service",
        "service_name",
        "started",
        "status",
        "streamed_at",
        "trial",
        "tried",
        "upstream",
    )

    client: Downstream
    address: str
    """Of the client, which need not be the peer: trusted proxies may stand between."""
    request: Request | None
    """None when the head could not be read."""
    request_id: bytes
    revision: int
    """Of the table the decision was made with."""
    decision: str
    """One word for the log: "forwarded", or what refused it."""
    status: int
    """Sent to the client; 0 when it left before that."""
    outcome: Outcome
    """What the breaker hears."""

    route: Route | None
    service: Service | None
    service_name: str
    permit: Permit | None
    trial: Trial | None
    endpoint: Endpoint | None
    """The instance it goes to; counted in its `in_flight` while set."""
    upstream: Upstream | None
    """The connection that carries it, only while it does."""

    head: bytes
    """What goes upstream, kept while the request may still be sent anew."""
    body: list[bytes]
    """Pieces of the request body that have not gone upstream yet."""
    replay: list[bytes] | None
    """Pieces of the request body that have gone upstream, where they may have to go again and are not too many."""
    attempts: int
    """Instances it was given to, one after the other."""
    tried: tuple[Endpoint, ...]
    """Those that failed."""
    complete: bool
    """The request has been read to its end."""
    responded: bool
    """The final response's head has gone to the client."""
    retried: bool
    """It was sent a second time, because a reused connection closed before it answered."""
    keep_alive: bool
    """The client's connection stays open after this exchange."""
    fault: object | None
    """A refusal that was known before the gateway was asked: what was read makes no sense."""
    max_body: int | None
    response_timeout: float

    received: int
    """Bytes of request body."""
    sent: int
    """Bytes of response body."""
    started: float
    """When it was taken up; a pipelined request has waited before that."""
    sent_at: float
    """When the head went upstream."""
    streamed_at: float
    """When the response's head arrived."""
    ended: float
    """When `Decider.finished` was told."""

    def __init__(self, client: Downstream, request: Request | None, request_id: bytes) -> None:
        self.client = client
        self.address = client.address
        self.request = request
        self.request_id = request_id
        self.started = self.sent_at = self.streamed_at = self.ended = 0.0
        self.attempts = self.revision = self.status = self.received = self.sent = 0
        self.complete = self.responded = self.retried = False
        self.route = self.service = self.permit = self.trial = self.endpoint = self.upstream = None
        self.max_body = self.fault = self.replay = None
        self.tried = ()
        self.keep_alive = True
        self.service_name = self.decision = ""
        self.outcome = _ABANDONED
        self.head = b""
        self.body = []
        self.response_timeout = 0.0

    @property
    def instance(self) -> Instance | None:
        """Where it went, for the log."""
        return self.endpoint.instance if self.endpoint is not None else None


class Decider:
    """What the HTTP engine asks of the gateway. Nothing here waits.

    A base class and no protocol, as it is on the request path: compiled, a call of it is a call of C.
    """

    def decide(self, exchange: Exchange, now: float) -> object | None:
        """A refusal (`respond` knows every kind), or None: then `exchange` has its endpoint and its head."""
        raise NotImplementedError

    def retry(self, exchange: Exchange, cause: str) -> float | None:
        """Move an exchange that failed by `cause` (`policy.retry`) to another endpoint.

        Returns the seconds to wait before it is sent there, or None when it is not to be tried again.
        """
        raise NotImplementedError

    def finished(self, exchange: Exchange) -> None:
        """The exchange is over; called once for every exchange."""
        raise NotImplementedError
