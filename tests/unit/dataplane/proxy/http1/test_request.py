"""The one meaning of a request's head, or none."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from dataplane.proxy.http1.request import copy_head, is_cacheable, read_request
from dataplane.proxy.messages import CHUNKED, SERVER, BadRequest, Request
from dataplane.proxy.trust import Peer

STRANGER = Peer("203.0.113.9")
PROXY = Peer("10.0.0.1", trusted=True)
HOST = (b"Host", b"a.example")


def read(
    *fields: tuple[bytes, bytes],
    method: bytes = b"GET",
    target: bytes = b"/",
    peer: Peer = STRANGER,
    keep: bool = True,
    version: str = "1.1",
    passing: Iterable[bytes] = (),
) -> Request:
    return read_request(method, target, list(passing), fields, peer, keep, lambda: version)


def refused(*fields: tuple[bytes, bytes], **more: object) -> tuple[int, str]:
    with pytest.raises(BadRequest) as caught:
        read(*fields, **more)  # type: ignore[arg-type]
    return caught.value.status, caught.value.reason


def test_a_plain_head() -> None:
    request = read(HOST, (b"Accept", b"*/*"), target=b"/a/%62?c=%2F", passing=[b"\r\nX-A: ", b"1"])
    assert (request.method, request.path, request.target) == ("GET", "/a/b", b"/a/b?c=%2F")
    assert (request.host, request.authority, request.http11, request.keep_alive) == (
        "a.example",
        b"a.example",
        True,
        True,
    )
    assert (request.length, request.authorization, request.provenance) == (0, None, None)
    assert request.fields == [b"\r\nX-A: ", b"1", b"\r\nAccept: ", b"*/*"]
    assert request.query == b"?c=%2F"


def test_what_the_reader_collected_is_not_changed() -> None:
    passing = [b"\r\nX-A: ", b"1"]
    read(HOST, (b"Connection", b"x-a"), (b"X-New-Here", b"2"), passing=passing)
    assert passing == [b"\r\nX-A: ", b"1"]


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"EXAMPLE.org", "example.org"),
        (b"example.org:8080", "example.org"),
        (b"example.org:", "example.org"),
        (b"example.org.", "example.org"),
        (b"example.org.:80", "example.org"),
        (b"my_host", "my_host"),
        (b"192.0.2.1:80", "192.0.2.1"),
        (b"[2001:DB8::1]:80", "[2001:db8::1]"),
    ],
)
def test_hosts(authority: bytes, host: str) -> None:
    for _ in range(2):
        assert read((b"Host", authority)).host == host


@pytest.mark.parametrize(
    "authority",
    [
        b"a/b",
        b"a b",
        b"a,b",
        b"u@a",
        b"a:b",
        b"a:1:2",
        b"a:999999",
        b"[::1",
        b"[x]",
        b"[:::::]",
        b"[1.2.3.4]",
        b"[::1::]:80",
        b"a%20",
        b"\xe4",
        b"a\\b",
        b".",
        b"a..",
        b"a..:80",
        b"a..b",
        b"a" * 256,
        b"a?b",
        b"a#b",
        b'a"b',
        b":80",
    ],
)
def test_malformed_hosts(authority: bytes) -> None:
    assert refused((b"Host", authority)) == (400, "malformed Host")


def test_hosts_that_are_missing_or_too_many() -> None:
    assert refused() == (400, "no Host")
    assert refused((b"Host", b"")) == (400, "no Host")
    assert refused(HOST, HOST) == (400, "more than one Host")
    assert refused(HOST, (b"hOST", b"b")) == (400, "more than one Host")
    assert read(keep=False, version="1.0").host == ""
    assert refused(HOST, HOST, keep=False, version="1.0") == (400, "more than one Host")


def test_hosts_are_remembered_within_bounds() -> None:
    for number in range(3_000):
        assert read((b"Host", b"h%d.example" % number)).host == f"h{number}.example"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://a.example", "/"),
        (b"http://a.example/", "/"),
        (b"HTTPS://A.example/x", "/x"),
        (b"http://a.example?x=1", "/"),
        (b"http://a.example/x?y=//z", "/x"),
    ],
)
def test_absolute_targets(target: bytes, path: str) -> None:
    request = read(HOST, target=target)
    assert (request.path, request.host) == (path, "a.example")
    assert request.target.startswith(b"/")


@pytest.mark.parametrize(
    "target",
    [
        b"http://u@a.example/",
        b"http:///x",
        b"http://",
        b"ftp://a.example/",
        b"a.example/",
        b"*",
        b"a.example:443",
        b"http:/a.example/",
        b"//a.example/../x/../../y",
        b"/a#b",
        b"/?a#b",
        b"http://a.example#x",
    ],
)
def test_targets_that_are_refused(target: bytes) -> None:
    assert refused(HOST, target=target)[0] == 400


def test_sizes() -> None:
    assert read(HOST, target=b"/" + b"a" * 8191).path == "/" + "a" * 8191
    assert refused(HOST, target=b"/" + b"a" * 8192)[0] == 414
    assert refused(*[HOST] * 129)[0] == 431
    assert refused(HOST, passing=[b"\r\nA: ", b"b"] * 128)[0] == 431
    assert len(read(HOST, passing=[b"\r\nA: ", b"b"] * 127).fields) == 254


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE", b"PRI", b"M-SEARCH", b"get", b""])
def test_methods_that_are_not_served(method: bytes) -> None:
    assert refused(HOST, method=method)[0] == 501


@pytest.mark.parametrize("length", [b"0", b"5", b"007", b"5 ", b"5\t", b"999999999999999999"])
def test_lengths(length: bytes) -> None:
    assert read(HOST, (b"Content-Length", length)).length == int(length)


@pytest.mark.parametrize(
    "length",
    [
        b"",
        b" ",
        b"+5",
        b"-5",
        b"5,5",
        b"5, 5",
        b"1_0",
        b"0x5",
        b"5a",
        b"a",
        b"\xb2",
        b"5.0",
        b"1e3",
        b"5 5",
        b"5\x0b",
        "٥".encode(),
        b"9999999999999999999",
    ],
)
def test_malformed_lengths(length: bytes) -> None:
    assert refused(HOST, (b"Content-Length", length)) == (400, "malformed Content-Length")


def test_codings() -> None:
    for coding in (b"chunked", b"Chunked", b"CHUNKED "):
        assert read(HOST, (b"Transfer-Encoding", coding)).length == CHUNKED
    for coding in (
        b"gzip, chunked",
        b"chunked, gzip",
        b"identity",
        b"",
        b"chunked;q=1",
        b'"chunked"',
        b"xchunked",
    ):
        assert refused(HOST, (b"Transfer-Encoding", coding))[0] == 501
    assert refused(HOST, (b"Transfer-Encoding", b"chunked"), keep=False, version="1.0")[0] == 400


def test_spellings_that_only_a_cgi_would_read_are_dropped() -> None:
    request = read(
        HOST, (b"Content_Length", b"5"), (b"Transfer_Encoding", b"chunked"), (b"X_Auth_Subject", b"root")
    )
    assert request.length == 0 and request.fields == []


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2", "3.0", "1.11", ""])
def test_versions(version: str) -> None:
    assert refused(HOST, keep=False, version=version)[0] == 505
    assert refused(HOST, (b"Connection", b"keep-alive"), version=version)[0] == 505


def test_the_authority_of_a_url_counts() -> None:
    for target in (b"http://b.example/x", b"http://B.example:80/x"):
        request = read(HOST, target=target)
        assert (request.host, request.path, request.target) == ("b.example", "/x", b"/x")
    assert refused(target=b"http://a.example/x") == (400, "no Host")
    assert refused((b"Host", b"a/b"), target=b"http://a.example/x") == (400, "malformed Host")
    assert read(target=b"http://a.example/x", keep=False, version="1.0").host == "a.example"


def test_options_about_the_server() -> None:
    for target in (b"*", b"http://a.example"):
        request = read(HOST, method=b"OPTIONS", target=target)
        assert (request.path, request.target, request.host) == (SERVER, b"*", "a.example")
    assert read(HOST, (b"Max-Forwards", b"0"), method=b"OPTIONS", target=b"/x").path == SERVER
    request = read(HOST, (b"Max-Forwards", b"5"), method=b"OPTIONS", target=b"/x")
    assert request.path == "/x" and request.fields == [b"\r\nmax-forwards: ", b"4"]
    assert not is_cacheable(request) and not is_cacheable(read(HOST, (b"Max-Forwards", b"5")))


def test_persistence() -> None:
    assert read(HOST, (b"Connection", b"close"), keep=False).http11
    old = read(HOST, (b"Connection", b"keep-alive"), version="1.0")
    assert not old.http11 and old.keep_alive


def test_what_connection_nominates_stays_here() -> None:
    fields = [b"\r\nX-A: ", b"1", b"\r\nX-B: ", b"2", b"\r\nCookie: ", b"3"]
    request = read(HOST, (b"Connection", b"keep-alive, x-a"), (b"connection", b"X-B"), passing=fields)
    assert request.fields == [b"\r\nCookie: ", b"3"]
    assert read(HOST, (b"Connection", b"host, content-length"), (b"Content-Length", b"5")).length == 5


def test_expectations() -> None:
    body = (b"Content-Length", b"5")
    assert read(HOST, body, (b"Expect", b"100-Continue")).expects_continue
    assert not read(HOST, (b"Expect", b"100-continue")).expects_continue
    assert not read(HOST, body, (b"Expect", b"100-continue"), keep=False, version="1.0").expects_continue
    assert refused(HOST, body, (b"Expect", b"200-ok")) == (417, "unknown expectation")


def test_authorization_travels_on_and_is_read() -> None:
    request = read(HOST, (b"AUTHORIZATION", b"Bearer \xe4"))
    assert request.authorization == "Bearer \xe4"
    assert request.fields == [b"\r\nauthorization: ", b"Bearer \xe4"]
    assert refused(HOST, (b"Authorization", b"a"), (b"authorization", b"a"))[0] == 400


@pytest.mark.parametrize(
    ("sent", "forwarded"),
    [
        (b"a=1; b=2", b"a=1; b=2"),
        (b"headgate=token", b""),
        (b"a=1; __Host-headgate=token; b=2", b"a=1; b=2"),
        (b"__Secure-headgate-renew=x;headgate-renew=y;\tb=2", b"b=2"),
        (b"headgate =token; a=headgate", b"a=headgate"),
        (b"my-headgate=1; headgate2=2; HEADGATE=3", b"my-headgate=1; headgate2=2; HEADGATE=3"),
        (b"headgate", b""),
    ],
)
def test_services_do_not_get_the_session_of_the_dashboard(sent: bytes, forwarded: bytes) -> None:
    request = read(HOST, (b"Cookie", sent))
    assert request.fields == ([b"\r\nCookie: ", forwarded] if forwarded else [])
    assert request.field("cookie") == request.single_field(b"cookie") == forwarded.decode()


SAID = [
    (b"X-Forwarded-For", b"1.1.1.1"),
    (b"x-forwarded-for", b"2.2.2.2"),
    (b"X-Forwarded-Proto", b"https"),
    (b"X-Forwarded-Host", b"shop.example"),
    (b"X-Request-Id", b"abc-1"),
    (b"X-Auth-Subject", b"root"),
    (b"Forwarded", b"for=3.3.3.3"),
    (b"X-Real-IP", b"3.3.3.3"),
]


def test_only_trusted_peers_are_believed() -> None:
    assert read(HOST, *SAID).provenance is None and read(HOST, *SAID).fields == []
    request = read(HOST, *SAID, peer=PROXY)
    assert request.provenance is not None and request.fields == []
    assert request.provenance.forwarded_for == b"1.1.1.1, 2.2.2.2"
    assert (request.provenance.forwarded_proto, request.provenance.forwarded_host) == (
        b"https",
        b"shop.example",
    )
    assert request.provenance.request_id == b"abc-1"


def test_a_forwarded_scheme_has_no_case() -> None:
    provenance = read((b"Host", b"a"), (b"X-Forwarded-Proto", b"HTTPS"), peer=PROXY).provenance
    assert provenance is not None and provenance.forwarded_proto == b"https"


def test_nonsense_of_trusted_peers_is_ignored() -> None:
    nonsense = [
        (b"X-Forwarded-Proto", b"gopher"),
        (b"X-Forwarded-Host", b"a b"),
        (b"X-Request-Id", b"a b\xff"),
    ]
    provenance = read(HOST, *nonsense, peer=PROXY).provenance
    assert provenance is not None
    assert (
        provenance.forwarded_proto
        is provenance.forwarded_host
        is provenance.request_id
        is provenance.forwarded_for
        is None
    )


def test_looking_a_field_up() -> None:
    request = read(HOST, passing=[b"\r\nX-Key: ", b"a", b"\r\nX-KEY: ", b"b", b"\r\nX-Keys: ", b"c"])
    assert request.field("x-key") == "a, b" and request.field("x-none") == ""


def test_requests_with_one_head_share_the_fields_that_were_looked_up() -> None:
    known = read(HOST, (b"Via", b"1.1 a"), passing=[b"\r\nX-A: ", b"1", b"\r\nx-a: ", b"2"])
    assert known.listed_field("x-a") == "1, 2"
    first, second = copy_head(known), copy_head(known)
    assert (first.listed_field("x-a"), first.listed_field("via"), first.listed_field("x-b")) == (
        "1, 2",
        "1.1 a",
        None,
    )
    assert first.values is second.values
    assert second.values == {"x-a": "1, 2", "via": "1.1 a", "x-b": None}


def test_the_fields_kept_for_a_head_are_bounded() -> None:
    request = copy_head(read(HOST, passing=[b"\r\nX-A: ", b"1"]))
    for number in range(1000):
        assert request.listed_field(f"x-{number}") is None
    assert request.values is not None and len(request.values) <= 64
    assert request.listed_field("x-a") == "1"
