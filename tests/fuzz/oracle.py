"""What must hold for any bytes from a client or an instance: one reading, however they are cut; nothing half passed on.

`check_request` and `check_response` take the bytes, run them through the engine without sockets: whole, in cuts, and by
an engine that has read the like before and remembers it. They raise when two of these differ, when anything that leaves
the engine is not well-formed, or when the engine itself fails.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from dataplane.config.table import ResourceSet, UnlinkedRoute, build
from dataplane.gateway.decide import Gateway
from dataplane.gateway.policy.resources import Circuit, Instance, Route, Service
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.fields.kinds import PASS
from dataplane.proxy.http1.names import request_names
from dataplane.proxy.pool import Pool
from tests.support import plain_http
from tests.support.fake_transport import FakeTransport
from tests.support.in_process import InProcess

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BOUNDS = Bounds(head=4096, fields=32, target=1024, requests=20)
_INSTANCE = Instance("s", "0", "127.0.0.1", 1)
_TABLE = build(
    ResourceSet.of(
        Service("s", circuit=Circuit(failure_threshold=1_000_000)),
        _INSTANCE,
        UnlinkedRoute(Route("all", "s", prefix="/", public=True, max_body_bytes=100_000)),
    ),
    1,
)


class Silent(logging.Handler):
    """Makes failures of the engine that it only logs count."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise what was logged."""
        if record.levelno >= logging.ERROR:
            raise AssertionError(record.getMessage()) from (record.exc_info[1] if record.exc_info else None)


@contextmanager
def heard() -> Iterator[None]:
    """For as long as it holds, an error that is only logged is raised; other tests' logging is left alone."""
    logger = logging.getLogger("dataplane")
    handler, propagate = Silent(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


class Run:
    """One engine, one client."""

    def __init__(self, before: Run | None = None) -> None:
        """An engine that remembers what another one `before` has read."""
        self.soon: deque[Callable[[], None]] = deque()
        self.over: list[Exchange] = []
        self.upstreams: list[FakeTransport] = []
        pool = Pool(BOUNDS)
        gateway = Gateway(self, pool)
        gateway.swap(_TABLE, 0.0)
        self.endpoint = pool.endpoint(_INSTANCE)
        self.proxy = InProcess(gateway, pool, BOUNDS, self.soon.append)
        if before is not None:
            ours, theirs = self.proxy.shared, before.proxy.shared
            ours.request_cache, ours.response_cache = theirs.request_cache, theirs.response_cache
        self.first = b""
        """What the client had got before it asked for more."""
        self.client = FakeTransport(self.proxy.client(), self.soon.append, "192.0.2.1")

    def finished(self, exchange: Exchange) -> None:
        """The observer."""
        assert all(exchange is not other for other in self.over), "ended twice"
        self.over.append(exchange)

    def settle(self) -> None:
        """Do what the event loop would, and make every connection that is asked for."""
        while self.soon or self.proxy.dialer.dials:
            while self.soon:
                self.soon.popleft()()
            for exchange in self.proxy.dialer.dials:
                assert exchange.endpoint is not None
                upstream = self.proxy.upstream(exchange.endpoint)
                self.upstreams.append(FakeTransport(upstream, self.soon.append, "192.0.2.2"))
                self.proxy.dialer.connected(exchange, upstream)
            self.proxy.dialer.dials = []

    def left_a_body(self) -> bool:
        """Whether it answered a request itself whose body had yet to come: then it closes, and reads no further."""
        return any(each.decision == "about_server" and not each.complete for each in self.over)

    def leave(self) -> None:
        """The client goes, and with it everything that was under way."""
        self.client.reset()
        self.settle()
        assert self.endpoint.in_flight == 0 and not self.proxy.connections


def pieces(data: bytes, cut: int) -> Iterator[bytes]:
    """The bytes in pieces of `cut`."""
    return (data[at : at + cut] for at in range(0, len(data), cut))


@heard()
def check_request(data: bytes) -> None:
    """Any bytes from a client."""
    first = Run()
    whole = list(_forwarded(first, [data]))
    for cut in (1, 7):
        run = Run()
        found = list(_forwarded(run, pieces(data, cut)))
        same = whole[: len(found)] if run.left_a_body() else whole
        assert found == same, f"read in two ways: cut by {cut}"
    assert list(_forwarded(Run(first), [data])) == whole, "read in two ways: the second time"
    line = data.split(b" ", 2)
    if len(line) == 3:
        other = Run()
        list(_forwarded(other, [b"PUT /elsewhere " + line[2]]))
        assert list(_forwarded(Run(other), [data])) == whole, "read in two ways: after the like"


OURS = ("x-request-id", "traceparent")
"""Fields that differ from one reading to the next."""


def _check_fields(request: plain_http.Message) -> None:
    """What an instance gets: one Host, our Via last, no offered protocol, no identity of somebody else's."""
    names = request_names()
    assert "," not in request.fields["host"] and "upgrade" not in request.fields, request
    assert request.fields["via"].rpartition(", ")[2] in ("1.1 headgate", "1.0 headgate"), request
    ours = {"host", "content-length", "transfer-encoding", "authorization", "expect", "max-forwards", *OURS}
    ours |= {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "tracestate"}
    for name in request.fields.keys() - ours:
        assert names.kind(name.encode("latin-1")) == PASS, request
    for name, value in request.fields.items():
        assert not (name == "max-forwards" and request.start.startswith("OPTIONS ") and int(value) < 0), (
            request
        )


def _forwarded(run: Run, said: Iterable[bytes]) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """The requests that an instance gets whole, each answered with OK."""
    answered: Counter[FakeTransport] = Counter()
    for piece in said:
        run.client.inbox += piece
        progress = True
        while progress:
            run.client.deliver(1 << 20)
            run.settle()
            progress = bool(run.client.inbox) and run.client.is_reading()
            for upstream in [each for each in run.upstreams if not each.closing]:
                got = [each for each in plain_http.requests(bytes(upstream.written)) if each.whole]
                if len(got) > answered[upstream]:
                    answered[upstream] += 1
                    upstream.inbox += b"HTTP/1.1 204 No Content\r\n\r\n" if "HEAD " in got[-1].start else OK
                    upstream.deliver(1 << 20)
                    run.settle()
                    progress = True
    found = [each for upstream in run.upstreams for each in plain_http.requests(bytes(upstream.written))]
    run.leave()
    for request in found:
        if request.whole:
            _check_fields(request)
            fields = {name: value for name, value in request.fields.items() if name not in OURS}
            # How a body of unknown length is cut into chunks is not part of the message.
            yield request.start, fields, request.body


@heard()
def check_response(data: bytes) -> None:
    """Any bytes from an instance; the first one says what they answer."""
    method = "HEAD" if data[:1] == b"H" else "GET"
    version = "1.0" if data[:1] == b"O" else "1.1"
    first = Run()
    whole = _answer(first, method, version, [data[1:]])
    for cut in (1, 7):
        assert _answer(Run(), method, version, pieces(data[1:], cut)) == whole, (
            f"read in two ways: cut by {cut}"
        )
    assert _answer(Run(first), method, version, [data[1:]]) == whole, "read in two ways: the second time"
    other = Run()
    _answer(other, "GET", "1.1", [data[1:]])
    assert _answer(Run(other), method, version, [data[1:]]) == whole, "read in two ways: after the like"


def _next_is_clean(run: Run, upstream: FakeTransport) -> None:
    """The connection was found good for another exchange: nothing of the first one may show in it."""
    run.first = bytes(run.client.written)
    if run.client.closing:
        return
    run.client.inbox += b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
    run.client.deliver(1 << 20)
    run.settle()
    upstream.inbox += OK
    upstream.deliver(1 << 20)
    run.settle()
    (second,) = plain_http.responses(bytes(run.client.written)[len(run.first) :], ["GET"], False)
    assert second.status == 200 and second.body == b"ok" and second.whole, second
    assert second.fields.keys() == {"content-length", "date", "x-request-id"}, second.fields


EARLY = frozenset(
    (
        *(
            "host",
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "transfer-encoding",
            "content-length",
            "upgrade",
        ),
        *("authorization", "www-authenticate", "set-cookie", "cache-control", "date", "location"),
        *("content-type", "content-encoding", "content-range", "x-request-id"),
    )
)
"""What is never read after a body."""


def _check_trailers(response: plain_http.Message) -> None:
    """Announced, and of those that may be trailers."""
    announced = response.fields.get("trailer", "").split(", ")
    assert set(response.trailers) <= set(announced), response
    assert not EARLY.intersection(name.replace("_", "-") for name in announced), response


def _answer(
    run: Run, method: str, version: str, said: Iterable[bytes]
) -> tuple[int, bytes, dict[str, str], bool]:
    """Status, body, trailers and wholeness of what the client gets."""
    run.client.inbox += f"{method} / HTTP/{version}\r\nHost: a\r\n\r\n".encode()
    run.client.deliver(1 << 20)
    run.settle()
    (upstream,) = run.upstreams
    for piece in said:
        upstream.inbox += piece
        upstream.deliver(1 << 20)
        run.settle()
        if upstream.closing:
            break
    if run.endpoint.idle:
        _next_is_clean(run, upstream)
    if not upstream.closing:
        # Pooled or under way: whatever is left, the instance says no more.
        upstream.eof()
        run.settle()
    assert not run.endpoint.idle
    run.first = run.first or bytes(run.client.written)
    ended = run.client.closing and not run.client.aborted
    got = list(plain_http.responses(run.first, [method], ended))
    broken = run.client.aborted
    run.leave()
    if broken and not got:
        # Broken before anything had gone out.
        return 0, b"", {}, False
    assert len(got) == 1, got
    (response,) = got
    _check_trailers(response)
    if not response.whole or response.status == 502:
        # What was passed on before it broke depends on the cut.
        return 0, b"", {}, False
    return response.status, response.body, response.trailers, True
