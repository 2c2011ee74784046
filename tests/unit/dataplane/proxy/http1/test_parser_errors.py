"""The status for what the parser refuses."""

from __future__ import annotations

import pytest
from httptools import HttpParserError, HttpRequestParser

from dataplane.proxy.http1.parser_errors import status_of


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"BREW\r\n", 400),
        (b"GET / HTTP/3.1\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n", 400),
    ],
)
def test_statuses(data: bytes, status: int) -> None:
    with pytest.raises(HttpParserError) as refused:
        HttpRequestParser(object()).feed_data(data)
    assert status_of(refused.value, data) == status
