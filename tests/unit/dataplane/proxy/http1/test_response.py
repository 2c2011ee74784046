"""A response's head: read strictly, written anew."""

from __future__ import annotations

import pytest

from dataplane.proxy.http1.response import (
    CHUNKS,
    LENGTH,
    NO_BODY,
    UNTIL_CLOSE,
    MalformedResponse,
    Response,
    chunk,
    interim_head,
    read_response,
    response_head,
)

LENGTH_5 = (b"Content-Length", b"5")
IN_CHUNKS = (b"Transfer-Encoding", b"chunked")


def read(
    *fields: tuple[bytes, bytes],
    status: int = 200,
    to_head: bool = False,
    keep: bool = True,
    version: str = "1.1",
) -> Response:
    return read_response(status, [], fields, to_head, keep, lambda: version)


def head(response: Response, http11: bool = True, keep: bool = True) -> list[bytes]:
    written = b"".join(response_head(response, http11, keep, b"id-1", b"\r\ndate: now"))
    assert written.endswith(b"\r\n\r\n")
    return written[:-4].split(b"\r\n")


@pytest.mark.parametrize(
    ("response", "framing", "length"),
    [
        (read(LENGTH_5), LENGTH, 5),
        (read((b"content-length", b"5 ")), LENGTH, 5),
        (read(IN_CHUNKS), CHUNKS, -1),
        (read((b"Transfer-Encoding", b"CHUNKED")), CHUNKS, -1),
        (read(keep=False), UNTIL_CLOSE, -1),
        (read(LENGTH_5, to_head=True), NO_BODY, 5),
        (read(IN_CHUNKS, to_head=True), NO_BODY, -1),
        (read(LENGTH_5, status=304), NO_BODY, 5),
        (read(status=204), NO_BODY, -1),
    ],
)
def test_framing(response: Response, framing: int, length: int) -> None:
    assert (response.framing, response.length) == (framing, length)


@pytest.mark.parametrize("length", [b"", b"+5", b"-5", b"5,5", b"1_0", b"0x5", b"\xb2", b"5 5"])
def test_malformed_lengths(length: bytes) -> None:
    with pytest.raises(MalformedResponse):
        read((b"Content-Length", length))


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, gzip", b"identity", b""])
def test_other_codings(coding: bytes) -> None:
    with pytest.raises(MalformedResponse):
        read((b"Transfer-Encoding", coding))


@pytest.mark.parametrize("status", [0, 99, 600, 999])
def test_statuses(status: int) -> None:
    with pytest.raises(MalformedResponse):
        read(LENGTH_5, status=status)


@pytest.mark.parametrize(
    ("version", "fields"), [("1.0", IN_CHUNKS), ("2.0", LENGTH_5), ("0.9", LENGTH_5), ("1.2", LENGTH_5)]
)
def test_versions(version: str, fields: tuple[bytes, bytes]) -> None:
    with pytest.raises(MalformedResponse):
        read(fields, keep=False, version=version)
    if fields is IN_CHUNKS:
        with pytest.raises(MalformedResponse):
            read(fields, (b"Connection", b"keep-alive"), version=version)


def test_the_whole_head() -> None:
    response = read(LENGTH_5, (b"Server", b"x"), (b"Keep-Alive", b"timeout=5"), (b"X-Request-Id", b"theirs"))
    assert head(response) == [
        b"HTTP/1.1 200 OK",
        b"Server: x",
        b"content-length: 5",
        b"date: now",
        b"x-request-id: id-1",
    ]


def test_hop_by_hop_fields_stay_here() -> None:
    fields = [
        (b"Connection", b"close, X-A"),
        (b"X-A", b"1"),
        (b"Upgrade", b"h2c"),
        (b"Proxy-Authenticate", b"x"),
    ]
    assert head(read(LENGTH_5, *fields, (b"X-B", b"2"), keep=False))[1:2] == [b"X-B: 2"]


def test_the_upstreams_date_is_kept() -> None:
    assert b"date: then" in head(read(LENGTH_5, (b"Date", b"then"))) and b"date: now" in head(read(LENGTH_5))


@pytest.mark.parametrize(
    ("response", "http11", "keep", "last"),
    [
        (read(LENGTH_5), True, True, []),
        (read(LENGTH_5), True, False, [b"connection: close"]),
        (read(LENGTH_5), False, True, [b"connection: keep-alive"]),
        (read(LENGTH_5), False, False, [b"connection: close"]),
    ],
)
def test_persistence(response: Response, http11: bool, keep: bool, last: list[bytes]) -> None:
    assert [line for line in head(response, http11, keep) if line.startswith(b"connection")] == last


@pytest.mark.parametrize(
    ("response", "http11", "framing"),
    [
        (read(LENGTH_5), True, [b"content-length: 5"]),
        (read(IN_CHUNKS), True, [b"transfer-encoding: chunked"]),
        (read(IN_CHUNKS), False, []),
        (read(keep=False), True, [b"transfer-encoding: chunked"]),
        (read(keep=False), False, []),
        (read(LENGTH_5, to_head=True), True, [b"content-length: 5"]),
        (read(LENGTH_5, status=304), True, [b"content-length: 5"]),
        (read(LENGTH_5, status=204), True, []),
        (read(IN_CHUNKS, to_head=True), True, []),
    ],
)
def test_exactly_one_framing(response: Response, http11: bool, framing: list[bytes]) -> None:
    written = head(response, http11, False)
    assert [line for line in written if line.startswith((b"content-length", b"transfer-encoding"))] == framing


def test_phrases_are_ours() -> None:
    assert head(read(LENGTH_5, status=404))[0] == b"HTTP/1.1 404 Not Found"
    assert head(read(LENGTH_5, status=599))[0] == b"HTTP/1.1 599 "


def test_interim_responses() -> None:
    fields = [(b"Link", b"</x>"), (b"Connection", b"x"), (b"Content-Length", b"5")]
    assert (
        interim_head(103, [b"\r\nA: ", b"b"], fields)
        == b"HTTP/1.1 103 Early Hints\r\nA: b\r\nLink: </x>\r\n\r\n"
    )


def test_chunks() -> None:
    assert b"".join(chunk([b"x" * 10, b"y" * 6], 16)) == b"10\r\n" + b"x" * 10 + b"y" * 6 + b"\r\n"
