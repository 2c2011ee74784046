"""A response of the gateway's own: a problem document (RFC 9457). Wire formats write it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus


class Problem:
    """A problem type (RFC 9457) that says more than the status does, with its extension members."""

    __slots__ = ("members", "title", "type")

    def __init__(self, kind: str, title: str, members: Mapping[str, object]) -> None:
        self.type = kind
        self.title = title
        self.members = members


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
        problem: Problem | None = None,
    ) -> None:
        self.status = status
        self.decision = decision
        """One word for the log."""
        self.reason = reason
        """More for the log, not for the client."""
        self.body = _document(status, detail, problem) if detail else b""
        kind = [("content-type", "application/problem+json")] if detail else []
        self.fields = (*kind, ("content-length", str(len(self.body))), *fields)
        """Names, lower case, and values, without those that change with every response."""
        self.rendered = b""
        """Status line and `fields`, once HTTP/1 has written them. Another wire format gets its own slot."""

    @classmethod
    def plain(
        cls,
        status: int,
        decision: str,
        body: bytes,
        content_type: str,
        fields: Iterable[tuple[str, str]] = (),
    ) -> Reply:
        """A response that is no problem document."""
        made = cls(status, decision, "")
        made.body = body
        kind = [("content-type", content_type)] if body else []
        # Neither a 204 nor a 304 without content states a length (RFC 9110, 8.6).
        length = [] if status in (204, 304) else [("content-length", str(len(body)))]
        made.fields = (*kind, *length, *fields)
        return made


def with_fields(reply: Reply, more: Iterable[tuple[str, str]]) -> Reply:
    """The same response with more fields."""
    return of_fields(reply, (*reply.fields, *more))


def of_fields(reply: Reply, fields: Iterable[tuple[str, str]]) -> Reply:
    """The same response with these fields."""
    made = Reply(reply.status, reply.decision, "", (), reply.reason)
    made.body, made.fields = reply.body, tuple(fields)
    return made


def _document(status: int, detail: str, problem: Problem | None) -> bytes:
    found = problem or Problem("about:blank", HTTPStatus(status).phrase, {})
    document = {"type": found.type, "title": found.title, "status": status, "detail": detail, **found.members}
    return json.dumps(document).encode()
