"""The outermost layer of the admin API: request id, revision header, log line and request count."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlplane.api.problems import HttpError, respond
from controlplane.telemetry.spans import NO_SPAN, Span

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_QUIET = frozenset({"/health", "/ready", "/metrics"})
"""Polled every few seconds: logged at debug level unless they fail."""

_PROTECTION = {
    "X-Content-Type-Options": "nosniff",
    # Responses are data: browsers must not run, frame or leak them.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
"""Header fields of every response, for browsers; a handler may override them."""


@dataclass
class RequestRecord:
    """The log record of one request. Handlers fill in its fields."""

    request_id: str
    method: str
    path: str
    author: str | None = None
    """The authenticated caller; None before authentication."""
    revision: int | None = None
    """Revision that a change produced."""
    dry_run: bool = False
    route: str = ""
    """Path of the operation, with the names of its parameters; empty before one is found."""
    span: Span = NO_SPAN
    status: int = 0
    started: float = field(default_factory=time.monotonic)

    def fields(self) -> dict[str, object]:
        """The fields of the log line."""
        told = {
            "request_id": self.request_id,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "author": self.author,
            "revision": self.revision,
            "dry_run": self.dry_run or None,
            "milliseconds": round((time.monotonic() - self.started) * 1000, 1),
        }
        return {name: value for name, value in told.items() if value is not None}


def record_of(scope: MutableMapping[str, Any]) -> RequestRecord:
    """The record of the request that a scope belongs to."""
    record = scope["headgate.record"]
    assert isinstance(record, RequestRecord)
    return record


class Recorder:
    """Wraps the application."""

    def __init__(
        self,
        app: ASGIApp,
        answered: Counter[tuple[str, int]],
        published: Callable[[], int],
        ended: Callable[[RequestRecord], None] = lambda record: None,
    ) -> None:
        """`answered` counts requests by method and status; `published` gives the revision that is published now;
        `ended` is called at the end of each."""
        self._ended = ended
        self._app = app
        self._answered = answered
        self._published = published

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an HTTP request; pass everything else on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Request(scope).headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        record = RequestRecord(request_id, scope["method"], scope["path"])
        scope["headgate.record"] = record
        try:
            await self._run(scope, receive, send, record)
        finally:
            self._finish(record)

    async def _run(self, scope: Scope, receive: Receive, send: Send, record: RequestRecord) -> None:
        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = record.request_id
                headers["X-Headgate-Revision"] = str(record.revision or self._published())
                for name, value in _PROTECTION.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, tagged)
        except Exception:
            logger.exception("admin request failed", extra={"request_id": record.request_id})
            if not record.status:
                refused = HttpError(
                    500, "Internal error; search the control plane's log for this X-Request-Id"
                )
                await respond(refused)(scope, receive, tagged)

    def _finish(self, record: RequestRecord) -> None:
        self._answered[known_method(record.method), record.status] += 1
        self._ended(record)
        quiet = record.path in _QUIET and record.status < 400
        logger.log(logging.DEBUG if quiet else logging.INFO, "admin request", extra=record.fields())


def known_method(method: str) -> str:
    """The method as a value of a metric."""
    # Clients must not invent values of a metric label.
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") else "other"
