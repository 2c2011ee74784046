"""Requests that say what others said before are known without the parser, and read as it would read them.

Holds for the compiled reader too: nothing here derives from its classes or replaces their methods.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any
from unittest import mock

import pytest
from httptools import HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from dataplane.gateway.decide import Gateway
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.connections import Connections
from dataplane.proxy.deadlines import Deadlines
from dataplane.proxy.dialer import Dialer
from dataplane.proxy.downstream import Downstream
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http1.head_cache import HeadCache
from dataplane.proxy.http1.pieces import AHEAD, WHOLE
from dataplane.proxy.http1.request_reader import RequestReader
from dataplane.proxy.messages import METHODS, Provenance, Request
from dataplane.proxy.pool import Pool
from dataplane.proxy.shared import Shared
from dataplane.proxy.trust import Peer

STRANGER, PROXY = Peer("203.0.113.9"), Peer("10.0.0.1", trusted=True)
GET = b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nAuthorization: Bearer t\r\nCookie: d=e\r\n\r\n"
BOUNDS = Bounds(head=4096, target=100)


class Readers:
    """Readers of one worker, whose cache takes every head that may be cached."""

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        soon: deque[Callable[[], None]] = deque()
        pool = Pool(bounds)
        self._shared = shared = Shared(Gateway(mock.Mock(), pool), bounds, soon=soon.append)
        shared.request_cache = HeadCache(sample=1)
        self._connections = Connections(bounds)
        self._dialer = Dialer(shared, pool)
        self._deadlines = Deadlines(shared, self._connections, pool)

    def connect(self, peer: Peer = STRANGER) -> RequestReader:
        client = Downstream(self._shared, self._connections, self._dialer, self._deadlines, peer)
        return RequestReader(client, self._shared)

    def read(self, data: bytes, peer: Peer = STRANGER) -> list[Exchange]:
        reader = self.connect(peer)
        reader.feed(data)
        return list(reader.queue)

    @property
    def remembered(self) -> int:
        return len(self._shared.request_cache._younger)


class CountingParser:
    """httptools' parser, which counts the pieces that it is fed."""

    def __init__(self, protocol: object) -> None:
        self._parser = HttpRequestParser(protocol)
        self.pieces = 0

    def feed_data(self, data: bytes) -> None:
        self.pieces += 1
        self._parser.feed_data(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


def attributes(cls: type) -> list[str]:
    """Names of what its objects hold: slots, or fields of C once it is compiled."""
    found = ((name, getattr(cls, name)) for name in dir(cls) if not name.startswith("__"))
    return [name for name, value in found if isinstance(value, MemberDescriptorType | GetSetDescriptorType)]


def meaning(exchange: Exchange) -> object:
    """All that a reading consists of, but for the ids that each gets."""
    fault, request = exchange.fault, exchange.request
    if request is None:
        return fault.status, fault.reason  # type: ignore[attr-defined]
    said = {
        name: getattr(request, name)
        for name in attributes(Request)
        if name not in ("joined", "values", "fields", "provenance")
    }
    provenance = [
        getattr(request.provenance, name, None) for name in attributes(Provenance) if name != "fresh_id"
    ]
    return said, provenance, b"".join(request.fields), exchange.complete, exchange.body


def test_what_a_request_holds_is_compared() -> None:
    assert {"method", "path", "provenance"} <= set(attributes(Request))
    assert {"forwarded_for", "fresh_id"} <= set(attributes(Provenance))


def test_the_second_request_is_known() -> None:
    readers = Readers()
    (first,) = readers.read(GET)
    with mock.patch("dataplane.proxy.http1.request_reader.HttpRequestParser") as parser:
        (second,) = readers.read(GET)
    parser.return_value.feed_data.assert_not_called()
    assert meaning(first) == meaning(second)
    assert first.request_id != second.request_id
    assert first.request is not None and second.request is not None
    assert second.request.joined == b"".join(first.request.fields)


def test_a_head_that_ends_its_connection_is_known_and_ends_it_again() -> None:
    closing = GET[:-2] + b"Connection: close\r\n\r\n"
    readers = Readers()
    (first,) = readers.read(closing)
    assert readers.remembered == 1
    with mock.patch("dataplane.proxy.http1.request_reader.HttpRequestParser") as parser:
        reader = readers.connect()
        reader.feed(closing)
    parser.return_value.feed_data.assert_not_called()
    (second,) = reader.queue
    assert second.request is not None and not second.request.keep_alive and reader.closed
    assert meaning(first) == meaning(second)


def test_the_end_of_the_connection_that_a_head_came_on_is_not_remembered() -> None:
    readers = Readers()
    (first,) = readers.read(GET)
    assert first.request is not None
    first.request.keep_alive = False
    (second,) = readers.read(GET)
    assert second.request is not None and second.request.keep_alive


def test_the_last_request_that_a_connection_may_bring_is_not_remembered() -> None:
    readers = Readers(Bounds(requests=1))
    (first,) = readers.read(GET)
    assert first.request is not None and not first.request.keep_alive
    assert readers.remembered == 0


@pytest.mark.parametrize(
    "line",
    [
        *(f"{method} /x" for method in sorted(METHODS)),
        *("GET /%61/./b//c?d=%2F", "GET /?", "GET /?a?b", "GET /a%2Fb", "GET /a;b", "GET /../x", "GET /%zz"),
        *(
            "GET /a#b",
            "GET /?a#b",
            "GET  /a",
            "GET /a b",
            "GET\t/a",
            "get /a",
            "BREW /a",
            "GET a",
            "GET *",
            "GET",
        ),
        *(
            "GET http://a/x",
            "GET http://b/x",
            "GET //b/x",
            "CONNECT a:80",
            "OPTIONS *",
            "GET /\x80",
            'GET /"<>',
        ),
        *(
            "GET /" + "a" * 99,
            "GET /" + "a" * 100,
            "GET /a\x00",
            "GET /a\r",
            "GET /a\n",
            "\r\nGET /a",
            "PRI *",
        ),
    ],
)
def test_any_other_request_line_before_the_same_head(line: str) -> None:
    data = line.encode("latin-1") + GET[GET.index(b" HTTP/1.1") :]
    readers = Readers()
    readers.read(GET)
    assert [meaning(each) for each in readers.read(data)] == [meaning(each) for each in Readers().read(data)]


@given(data=st.data())
def test_any_two_requests(data: st.DataObject) -> None:
    fields = st.sampled_from(
        [
            *(b"Host: a\r\n", b"Host: b:80\r\n", b"X-A: 1\r\n", b"x-a: 2\r\n", b"Connection: x-a\r\n"),
            *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Content-Length: 0\r\n"),
            *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: websocket\r\n"),
            *(b"Connection: upgrade\r\n", b"Expect: 100-continue\r\n", b"X-Forwarded-For: 1.2.3.4\r\n"),
            *(b"X-Request-Id: 1\r\n", b"traceparent: 00-1\r\n", b"X-Auth-Subject: root\r\n", b" folded\r\n"),
            *(b"Trailer: x-a\r\n", b"X_A : 1\r\n"),
        ]
    )
    lines = st.tuples(
        st.sampled_from([b"GET", b"POST", b"HEAD", b"BREW"]),
        st.sampled_from([b"/", b"/a?b", b"/%2F", b"http://a/", b"*", b""]),
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"]),
    ).map(b" ".join)
    after = st.sampled_from([b"", b"\r\n", b"abc", b"GET", b"0\r\n\r\n", GET])
    heads = st.lists(fields, max_size=5).map(b"".join)
    head, rest = data.draw(heads), data.draw(after)
    peers = st.sampled_from([STRANGER, PROXY])
    first, second = (data.draw(lines) + b"\r\n" + head + b"\r\n" + rest for _ in range(2))
    readers = Readers()
    readers.read(first, data.draw(peers))
    peer = data.draw(peers)
    assert [meaning(each) for each in readers.read(second, peer)] == [
        meaning(each) for each in Readers().read(second, peer)
    ]


HEAD = GET[:-2]


@pytest.mark.parametrize(
    "data",
    [
        HEAD.replace(b"1.1", b"1.0") + b"\r\n",
        HEAD.replace(b"/a?b", b"http://a/") + b"\r\n",
        HEAD + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        HEAD + b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
        HEAD + b"Content-Length: 1\r\n\r\na",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"X-Long: " + b"a" * 4096 + b"\r\n\r\n",
        HEAD + b"Host: b\r\n\r\n",
        GET + GET,
        GET + b"GET",
        HEAD,
    ],
)
def test_what_is_not_one_whole_and_common_request_is_not_remembered(data: bytes) -> None:
    readers = Readers()
    readers.read(data)
    assert readers.remembered == 0


def test_what_comes_in_pieces_is_not_remembered() -> None:
    readers = Readers()
    reader = readers.connect()
    reader.feed(GET[:20])
    reader.feed(GET[20:])
    assert len(reader.queue) == 1 and readers.remembered == 0


def test_of_trusted_proxies_nothing_is_cached_or_served_from_the_cache() -> None:
    readers = Readers()
    readers.read(GET, PROXY)
    assert readers.remembered == 0
    said = GET[:-2] + b"X-Forwarded-For: 198.51.100.1\r\n\r\n"
    readers.read(said)
    assert readers.remembered == 1
    (exchange,) = readers.read(said, PROXY)
    assert exchange.request is not None and exchange.request.provenance is not None


def test_the_last_request_that_a_connection_may_make() -> None:
    readers = Readers(Bounds(requests=2))
    readers.read(GET)
    reader = readers.connect()
    for _ in range(3):
        reader.feed(GET)
    first, last = reader.queue
    assert first.request is not None and first.request.keep_alive
    assert last.request is not None and not last.request.keep_alive
    assert reader.closed
    assert readers.read(GET)[0].request.keep_alive  # type: ignore[union-attr]


def test_known_and_new_requests_in_turn_on_one_connection() -> None:
    readers = Readers()
    reader = readers.connect()
    post = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"
    for number in range(6):
        reader.feed(GET if number % 2 else post % number)
    assert [each.request.path for each in reader.queue if each.request] == [
        "/0",
        "/a",
        "/2",
        "/a",
        "/4",
        "/a",
    ]
    assert [b"".join(each.body) for each in reader.queue] == [b"ok", b"", b"ok", b"", b"ok", b""]
    assert all(each.complete for each in reader.queue)


def test_what_never_repeats_is_hardly_looked_for() -> None:
    readers = Readers()
    reader = readers.connect()
    for number in range(16 + 64):
        reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX-Number: %d\r\n\r\n" % number)
        reader.queue.clear()
    assert readers.remembered == 16 + 2, "each that was looked up, and missed"


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def in_chunks(data: bytes, size: int = 65_536) -> bytes:
    pieces = [data[begin : begin + size] for begin in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@pytest.mark.parametrize(
    ("line", "most"),
    [
        (b"A line of plain text, and an empty one after it.\r\n\r\n", 8),
        (b'192.0.2.1 "GET /orders/7 HTTP/1.1" 200 1234 "-" "curl/8.5.0"\n', 8),
        (b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: a client with a longer name\r\n\r\n", 260),
    ],
    ids=["empty lines", "an access log", "requests"],
)
def test_an_upload_is_parsed_in_large_pieces(line: bytes, most: int) -> None:
    """Whatever is in it: of 256 KiB at once, 512 pieces once."""
    readers = Readers()
    reader = readers.connect()
    data = line * (262_144 // len(line))
    parsers: list[CountingParser] = []

    def make_parser(protocol: object) -> CountingParser:
        parsers.append(CountingParser(protocol))
        return parsers[-1]

    with mock.patch("dataplane.proxy.http1.request_reader.HttpRequestParser", make_parser):
        reader.feed(CHUNKED)
    (parser,) = parsers
    assert parser.pieces == 1
    exchange = reader.queue.popleft()
    reader.feed(in_chunks(data) + b"0\r\n\r\n")
    assert b"".join(exchange.body) == data and exchange.complete and not reader.backlog
    assert parser.pieces <= 1 + most


@pytest.mark.parametrize(
    "last", [b"0\r\n\r\n", b"000;a=b\r\n\r\n", b"0\r\nA: b\r\nC: " + b"d" * 2_000 + b"\r\n\r\n"]
)
@pytest.mark.parametrize("ahead", [0, 10, 5_000, 200_000])
@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.0\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n\n"]
)
def test_what_follows_an_upload_is_parsed_as_far_as_it_may(last: bytes, ahead: int, request_: bytes) -> None:
    readers = Readers(Bounds())
    reader = readers.connect()
    reader.feed(CHUNKED)
    exchange = reader.queue.popleft()
    request_ = request_.replace(b"1.0\r\n", b"1.0\r\nConnection: keep-alive\r\n")
    reader.feed((in_chunks(b"x" * ahead) if ahead else b"") + last + request_ * 3_000)
    assert exchange.complete and exchange.received == ahead
    assert len(reader.queue) <= 3 * AHEAD
    taken = 0
    while reader.queue or reader.backlog:
        taken += len(reader.queue)
        reader.queue.clear()
        reader.parse_backlog()
        assert len(reader.queue) <= 3 * AHEAD
    assert taken == 3_000


def test_why_a_head_is_refused_is_told_also_while_an_exception_is_handled() -> None:
    """What an instance did wrong may be what the next request is read after: an exception's context is then another."""
    wrong = b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    told = [meaning(exchange) for exchange in Readers().read(wrong)]
    try:
        raise ValueError
    except ValueError:
        assert [meaning(exchange) for exchange in Readers().read(wrong)] == told


def test_why_a_head_is_refused_is_told_also_behind_an_upgrade_that_is_ignored() -> None:
    offer = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x y\r\n\r\n"
    wrong = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    _, refused = Readers().read(offer + wrong)
    assert meaning(refused) == meaning(Readers().read(wrong)[0])


@pytest.mark.parametrize("size", [WHOLE - 1, WHOLE, WHOLE + 1, 3 * WHOLE])
def test_a_short_read_is_parsed_at_once_and_still_fills_no_long_queue(size: int) -> None:
    reader = Readers(Bounds()).connect()
    request = b"GET / HTTP/1.1\r\nHost:a\r\n\r\n"
    reader.feed((request * (size // len(request) + 1))[:size])
    assert AHEAD <= len(reader.queue) <= 3 * AHEAD
    queued = len(reader.queue)
    reader.feed(request * (WHOLE // len(request)))
    assert len(reader.queue) <= max(queued, 3 * AHEAD)
