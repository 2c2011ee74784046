"""A response of the gateway's own: a problem document (RFC 9457). Wire formats write it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus


class Reply:
    """The response to a refusal; without `detail` it has no body. May be given any number of times."""

    __slots__ = ("body", "decision", "fields", "reason", "rendered", "status")

    def __init__(
        self,
        status: int,
        decision: str,
        detail: str,
        fields: Iterable[tuple[str, str]] = (),
        reason: str = "",
    ) -> None:
        self.status = status
        self.decision = decision
        """One word for the log."""
        self.reason = reason
        """More for the log, not for the client."""
        self.body = _document(status, detail) if detail else b""
        kind = [("content-type", "application/problem+json")] if detail else []
        self.fields = (*kind, ("content-length", str(len(self.body))), *fields)
        """Names, lower case, and values, short of those that change with every response."""
        self.rendered = b""
        """Status line and `fields`, once HTTP/1 has written them. Another wire format gets a slot of its own."""


def _document(status: int, detail: str) -> bytes:
    title = HTTPStatus(status).phrase
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
