"""The engine as a state machine: clients and instances say scripted things, cut anywhere, in any order.

No socket and no event loop: transports are fake, the clock is the test's, connecting and back-offs end when the machine
says so. After every step it is checked that
- every exchange has ended at most once, and `in_flight` counts those that have not;
- every client has got the answers to its own requests, in order, each from an answer that was meant for it, and none
  that was broken off looks whole;
- every instance has got well-formed requests only, with the bodies that were sent, and nothing of a malformed one;
- connections in the pool are clean, open and reading.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dataplane.config.table import ResourceSet, UnlinkedRoute, build
from dataplane.gateway.decide import Gateway
from dataplane.gateway.policy.resources import Circuit, Instance, Retries, Route, Service, Timeouts
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.downstream import Downstream
from dataplane.proxy.errors import Unavailable
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.phases import NEXT, PHASES
from dataplane.proxy.pool import Pool
from dataplane.proxy.upstream import Upstream
from tests.support import plain_http
from tests.support.fake_transport import FakeTransport
from tests.support.in_process import CLIENT, InProcess

GOOD: Final = {
    "get": b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n",
    "head": b"HEAD /%d HTTP/1.1\r\nHost: a\r\n\r\n",
    "post": b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b",
    "put": b"PUT /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b",
    "chunked": b"PUT /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\nX-T: %d\r\n\r\n",
    "waiting": b"POST /%d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%b",
    "last": b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "old": b"GET /%d HTTP/1.0\r\nHost: a\r\n\r\n",
}
BAD: Final = (
    b"GET /bad%d HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /bad%d HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /bad%d HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd",
    b"GET /bad%d HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET /bad%d/%%2e%%2e/x%%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /bad%d HTTP/1.1\nHost: a\r\n X: folded\r\n\r\n",
    b"GET /bad%d HTTP/1.1\r\nHost: a\r\nX-Y: \x00\r\n\r\n",
    b"CONNECT bad%d:80 HTTP/1.1\r\nHost: a\r\n\r\n",
)
KINDS: Final = (
    *("length", "length", "chunks", "chunks", "trailers", "trailers", "busy", "interim", "empty"),
    *("close", "more", "broken", "short", "none"),
)
MISHAPS: Final = (
    *("nonsense", "time", "refused", "client leaves", "client congested", "client congested"),
    *("instance leaves", "instance congested", "instance congested"),
)
TRAILERS: Final = b"Set-Cookie: a=b\r\nConnection: close\r\nX-Number: 0\r\n"
"""Nothing that may travel on, or change what comes after it on the connection."""
CUT: Final = st.one_of(st.just(1), st.integers(1, 20), st.just(1 << 20))
T = TypeVar("T")
FIRST: Final = st.integers(0, 1000)
"""Chooses one of however many there are."""


@dataclass
class Client:
    """A client: what it asked, and what came back is in its transport."""

    transport: FakeTransport
    asked: list[tuple[int, str]] = field(default_factory=list)
    """Number and method of each well-formed request, up to the first malformed one."""
    spoilt: bool = False
    """It has sent something malformed, or said that it closes: what follows is not for anybody."""
    left: bool = False


class Engine(RuleBasedStateMachine):
    """Everything between scripted clients and scripted instances."""

    @initialize(instances=st.integers(1, 3), attempts=st.integers(0, 2))
    def begin(self, instances: int, attempts: int) -> None:
        self.now = 1000.0
        self.number = 0
        self.soon: deque[Callable[[], None]] = deque()
        self.clients: list[Client] = []
        self.upstreams: list[FakeTransport] = []
        self.answered: Counter[FakeTransport] = Counter()
        self.poisoned: set[FakeTransport] = set()
        """Those on which an instance said more than it was asked."""
        self.bodies: dict[int, bytes] = {}
        self.whole: dict[int, list[bytes]] = {}
        self.begun: list[Exchange] = []
        self.over: list[Exchange] = []
        names = ("downstream", "upstream", "dialer")
        self.patches: list[Any] = [
            mock.patch(f"dataplane.proxy.{name}.monotonic", lambda: self.now) for name in names
        ]
        self.patches.append(mock.patch.object(Downstream, "__setattr__", stepping))
        for patch in self.patches:
            patch.start()
        causes = frozenset({"connect", "reset", "timeout", "503"})
        service = Service(
            "s",
            circuit=Circuit(failure_threshold=1_000_000),
            timeouts=Timeouts(connect=5, response=10, idle=20, total=60),
            retries=Retries(attempts, causes, 1.0),
        )
        several = [Instance("s", str(n), "127.0.0.1", 1000 + n) for n in range(instances)]
        route = UnlinkedRoute(Route("all", "s", prefix="/", public=True, max_body_bytes=100_000))
        self.bounds = Bounds(pool_idle=2, requests=8)
        self.pool = Pool(self.bounds)
        self.gateway = Gateway(self, self.pool, chance=lambda: 0.5)
        self.gateway.swap(build(ResourceSet.of(service, *several, route), 1), self.now)
        self.endpoints = [self.pool.endpoint(instance) for instance in several]
        self.proxy = InProcess(self.gateway, self.pool, self.bounds, self.soon.append)

    def finished(self, exchange: Exchange) -> None:
        """The observer: every exchange ends here."""
        assert all(exchange is not other for other in self.over), "an exchange ended twice"
        self.over.append(exchange)

    # --- clients

    @rule(
        which=FIRST,
        kinds=st.lists(st.sampled_from(sorted(GOOD)), min_size=1, max_size=4),
        size=st.sampled_from([0, 1, 7, 300, 70_000]),
    )
    def a_client_asks(self, which: int, kinds: list[str], size: int) -> None:
        client = self.client(which)
        for kind in kinds:
            self.ask(client, kind, size)

    def client(self, which: int) -> Client:
        """One that may still talk; a new one now and then."""
        talking = [each for each in self.clients if not (each.spoilt or each.left or each.transport.closing)]
        if len(talking) < 3 and which % 4 >= len(talking):
            transport = FakeTransport(self.proxy.client(), self.soon.append, CLIENT)
            self.clients.append(Client(transport))
            return self.clients[-1]
        return one_of(talking, which)

    def ask(self, client: Client, kind: str, size: int) -> None:
        if client.spoilt:
            return
        self.number += 1
        number, form = self.number, GOOD[kind]
        body = filled(b"q%d", number, size)
        if kind == "chunked":
            said = form % (number, in_chunks(body), number)
        elif form.count(b"%") == 3:
            said = form % (number, len(body), body)
        else:
            said, body = form % number, b""
        client.transport.inbox += said
        client.asked.append((number, said.split(b" ")[0].decode()))
        client.spoilt = kind in ("last", "old")
        self.bodies[number] = body

    # --- instances

    @rule(steps=st.lists(st.tuples(FIRST, CUT), min_size=1, max_size=10))
    @precondition(lambda self: self.going_on())
    def things_go_on(self, steps: list[tuple[int, int]]) -> None:
        """Bytes arrive, connections are made, back-offs end: whatever is under way, in any order."""
        for which, size in steps:
            if possible := self.going_on():
                one_of(possible, which)(size)
                self.settle()

    @rule(steps=st.lists(st.tuples(FIRST, CUT), min_size=5, max_size=20))
    @precondition(lambda self: self.going_on())
    def more_things_go_on(self, steps: list[tuple[int, int]]) -> None:
        """The same again: most of what happens is that something goes on."""
        self.pass_time(0.01)
        self.things_go_on(steps)

    def going_on(self) -> list[Callable[[int], None]]:
        transports = [*(client.transport for client in self.clients), *self.upstreams]
        bytes_arrive = [each.deliver for each in transports if each.inbox and each.is_reading()]
        connected = [self.connected] if self.proxy.dialer.dials else []
        waited = [self.waited] if self.proxy.dialer.waits else []
        return [*bytes_arrive, *connected, *waited]

    def connected(self, which: int) -> None:
        exchange = self.proxy.dialer.dials.pop(which % len(self.proxy.dialer.dials))
        assert exchange.endpoint is not None
        upstream = self.proxy.upstream(exchange.endpoint)
        self.upstreams.append(FakeTransport(upstream, self.soon.append, "192.0.2.8"))
        self.proxy.dialer.connected(exchange, upstream)

    def waited(self, which: int) -> None:
        self.proxy.dialer.resume(self.proxy.dialer.waits.pop(which % len(self.proxy.dialer.waits)))

    @rule(
        which=FIRST,
        kind=st.sampled_from(KINDS),
        size=st.sampled_from([1, 30, 80_000]),
        cut=CUT,
    )
    @precondition(lambda self: self.asked())
    def an_instance_answers(self, which: int, kind: str, size: int, cut: int) -> None:
        transport, request = one_of(self.asked(), which)
        self.answered[transport] += 1
        number = int(request.start.split(" ")[1][1:])
        transport.inbox += self.answer(number, request.start.startswith("HEAD"), kind, size)
        if kind == "more":
            self.poisoned.add(transport)
        transport.deliver(1 << 20 if kind == "close" else cut)
        if kind == "close":
            transport.eof()
        self.settle()

    # --- mishaps

    @rule(
        which=FIRST,
        form=st.sampled_from(BAD),
        mishap=st.sampled_from(MISHAPS),
        how=st.sampled_from(["eof", "reset"]),
    )
    def something_goes_wrong(self, mishap: str, which: int, form: bytes, how: str) -> None:
        """One thing at a time, so that what is under way gets a chance."""
        if mishap == "nonsense":
            self.talk_nonsense(self.client(which), form)
        elif mishap == "time":
            self.pass_time((1.0, 11.0, 80.0)[which % 3])
        elif mishap == "refused" and self.proxy.dialer.dials:
            exchange = self.proxy.dialer.dials.pop(which % len(self.proxy.dialer.dials))
            self.proxy.dialer.unconnected(exchange, Unavailable("refused"))
        elif mishap == "client leaves" and self.clients:
            client = one_of(self.clients, which)
            client.left = True
            leave(client.transport, how)
        elif mishap == "client congested" and self.clients:
            one_of(self.clients, which).transport.congest()
        elif mishap == "instance leaves" and self.upstreams:
            leave(one_of(self.upstreams, which), how)
        elif mishap == "instance congested" and self.upstreams:
            one_of(self.upstreams, which).congest()
        self.settle()

    def talk_nonsense(self, client: Client, form: bytes) -> None:
        self.number += 1
        client.spoilt = True
        client.transport.inbox += form % self.number + b"GET /bad0 HTTP/1.1\r\nHost: a\r\n\r\n"

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.proxy.deadlines.look(self.now)
        self.pool.sweep(self.now)

    # --- what must hold

    @invariant()
    def requests_under_way_are_counted(self) -> None:
        if not hasattr(self, "proxy"):
            return
        current = [client.transport.protocol.current for client in self.clients]  # type: ignore[attr-defined]
        busy = [exchange.endpoint for exchange in current if exchange is not None and not exchange.ended]
        for endpoint in self.endpoints:
            assert endpoint.in_flight == sum(each is endpoint for each in busy)

    @invariant()
    def pooled_connections_are_clean(self) -> None:
        for endpoint in getattr(self, "endpoints", ()):
            assert len(endpoint.idle) <= self.bounds.pool_idle
            for connection in endpoint.idle:
                assert isinstance(connection, Upstream)
                transport = connection.transport
                assert isinstance(transport, FakeTransport)
                assert connection.exchange is None and connection.endpoint is endpoint
                assert transport.reading and not transport.closing
                assert transport not in self.poisoned or transport.inbox

    @invariant()
    def instances_get_what_was_sent(self) -> None:
        for transport in getattr(self, "upstreams", ()):
            for request in plain_http.requests(bytes(transport.written)):
                number = int(request.start.split(" ")[1][1:])
                sent = self.bodies[number]
                assert request.body == sent if request.whole else sent.startswith(request.body)
                assert not request.trailers

    @invariant()
    def clients_get_their_answers_in_order(self) -> None:
        for client in getattr(self, "clients", ()):
            transport = client.transport
            ended = transport.closing and not transport.aborted
            methods = [method for _, method in client.asked]
            got = list(plain_http.responses(bytes(transport.written), methods, ended))
            assert len(got) <= len(client.asked) + 1
            for (number, _), response in zip(client.asked, got, strict=False):
                self.belongs(number, response)
            for surplus in got[len(client.asked) :]:
                assert surplus.status >= 400 and b"about:blank" in surplus.body

    def belongs(self, number: int, response: plain_http.Message) -> None:
        """The response is the gateway's own, or the very one that an instance gave to this request."""
        if "x-number" not in response.fields:
            assert response.status >= 400, response
            assert b"about:blank" in response.body or not response.body
            return
        assert response.fields["x-number"] == str(number) and "x-stray" not in response.fields
        announced = response.fields.get("trailer") == "x-sum"
        assert response.trailers == ({"x-sum": str(number)} if announced and response.whole else {})
        if response.whole and response.body:
            assert response.body in self.whole.get(number, ())
        assert filled(b"r%d", number, len(response.body)).startswith(response.body)

    def teardown(self) -> None:
        """Everybody leaves: nothing is left under way."""
        if not hasattr(self, "proxy"):
            return
        try:
            for client in self.clients:
                client.transport.reset()
            self.settle()
            while self.proxy.dialer.dials:
                self.connected(0)
            for exchange in self.proxy.dialer.waits:
                self.proxy.dialer.resume(exchange)
            self.settle()
            assert not self.proxy.connections and not self.proxy.dialer.dials
            assert [endpoint.in_flight for endpoint in self.endpoints] == [0] * len(self.endpoints)
            assert all(exchange.ended for exchange in self.over)
            self.pool.close()
            self.settle()
            assert all(transport.closing for transport in self.upstreams)
        finally:
            for patch in self.patches:
                patch.stop()

    # --- inside

    def settle(self) -> None:
        """What the event loop would do next."""
        while self.soon:
            self.soon.popleft()()

    def asked(self) -> list[tuple[FakeTransport, plain_http.Message]]:
        """Requests that instances have not answered: one for each connection, at most."""
        found = []
        for transport in self.upstreams:
            if not transport.closing:
                got = list(plain_http.requests(bytes(transport.written)))
                if len(got) > self.answered[transport]:
                    found.append((transport, got[self.answered[transport]]))
        return found

    def answer(self, number: int, to_head: bool, kind: str, size: int) -> bytes:
        body = filled(b"r%d", number, size)
        mark = b"X-Number: %d\r\n" % number
        head = b"HTTP/1.1 200 OK\r\n" + mark
        whole = self.whole.setdefault(number, [])
        if kind == "broken":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
        if kind == "empty":
            return b"HTTP/1.1 204 No Content\r\n" + mark + b"\r\n"
        if kind == "none":
            return b""
        if kind == "short":
            return head + b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + (b"" if to_head else body)
        whole.append(body)
        if kind == "busy":
            head = head.replace(b"200 OK", b"503 Busy")
        if kind == "interim":
            head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + head
        if kind == "chunks":
            said, framed = (
                b"Transfer-Encoding: chunked\r\n\r\n",
                b"%b0\r\nX-Stray: %d\r\n\r\n" % (in_chunks(body), number),
            )
        elif kind == "trailers":
            said, framed = (
                b"Trailer: Set-Cookie, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"%b0\r\n%b\r\n" % (in_chunks(body), b"X-Sum: %d\r\nX-Stray: 1\r\n%b" % (number, TRAILERS)),
            )
        elif kind == "close":
            said, framed = b"\r\n", body
        else:
            said, framed = b"Content-Length: %d\r\n\r\n" % len(body), body
        # Bytes that nobody asked for must not become somebody's response.
        more = b"HTTP/1.1 200 OK\r\nX-Number: 0\r\nContent-Length: 0\r\n\r\n" if kind == "more" else b""
        return head + said + (b"" if to_head else framed) + more


def stepping(client: Downstream, name: str, value: object) -> None:
    """Set an attribute; a phase must be one that may follow the one before, as the table says."""
    if name == "phase" and hasattr(client, name):
        before = client.phase
        assert value == before or value in NEXT[before], (PHASES[before], value)
    object.__setattr__(client, name, value)


def in_chunks(body: bytes) -> bytes:
    """One chunk, or none; the last one is still to come."""
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""


def filled(mark: bytes, number: int, size: int) -> bytes:
    """`size` bytes that tell whose they are wherever one looks."""
    word = b"<" + mark % number + b">"
    return (word * (size // len(word) + 1))[:size]


def leave(transport: FakeTransport, how: str) -> None:
    """Say no more, or be gone."""
    if not transport.closing:
        getattr(transport, how)()


def one_of(several: list[T], which: int) -> T:
    return several[which % len(several)]


TestEngine = Engine.TestCase
TestEngine.settings = settings(
    max_examples=80,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
