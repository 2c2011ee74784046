"""A response of the gateway's own: a problem document (RFC 9457), prepared as bytes but for what always changes."""

from __future__ import annotations

import json
from http import HTTPStatus

from dataplane.proxy.http1.response import persistence, status_line


class Reply:
    """The response to a refusal; without `detail` it has no body. May be given any number of times."""

    __slots__ = ("body", "decision", "head", "reason", "status")

    def __init__(
        self, status: int, decision: str, detail: str, fields: bytes = b"", reason: str = ""
    ) -> None:
        self.status = status
        self.decision = decision
        """One word for the log."""
        self.reason = reason
        """More for the log, not for the client."""
        self.body = _document(status, detail) if detail else b""
        self.head = _start(status, len(self.body)) + fields
        """Status line and fields, short of those that change with every response."""

    def bytes(self, date: bytes, request_id: bytes, http11: bool, keep_alive: bool, bodiless: bool) -> bytes:
        """The whole response; without its body where it answers HEAD."""
        tail = b"\r\n\r\n" if http11 and keep_alive else persistence(keep_alive)
        body = b"" if bodiless else self.body
        return b"".join((self.head, date, b"\r\nx-request-id: ", request_id, tail, body))


def _document(status: int, detail: str) -> bytes:
    title = HTTPStatus(status).phrase
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()


def _start(status: int, length: int) -> bytes:
    kind = b"\r\ncontent-type: application/problem+json" if length else b""
    return b"%b%b\r\ncontent-length: %d" % (status_line(status), kind, length)
