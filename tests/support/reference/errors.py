"""Errors of both planes, from the tables and calls in the code, with their remedies."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from controlplane.api.advice import ADVICE as BY_STATUS
from dataplane.gateway.actions import (
    AuthorizationFailed,
    NotAuthorized,
    Preflight,
    Redirected,
    Responded,
    Unusable,
)
from dataplane.gateway.policy.authenticate import MISSING, Unauthenticated
from dataplane.gateway.policy.authorize import Forbidden
from dataplane.gateway.policy.resources import Limit, Route
from dataplane.gateway.policy.router import MethodNotAllowed
from dataplane.gateway.policy.too_many import TooMany, Unanswered
from dataplane.gateway.redis_checks import Uncounted
from dataplane.gateway.refusals import TABLE, respond
from dataplane.observe.advice import ADVICE
from dataplane.proxy.errors import (
    BadResponse,
    CircuitOpen,
    NoneHealthy,
    NotRegistered,
    Saturated,
    TimedOut,
    TooLarge,
    Unavailable,
)
from dataplane.proxy.messages import BadRequest
from dataplane.proxy.reply import Reply
from tests.support.pages import ROOT
from tests.support.reference.schema import cell

HEADER = """\
# Errors

Both planes answer errors as problem documents (RFC 9457, `application/problem+json`) with `type`, `title`, `status` and
`detail`. The log line with the answer's `X-Request-Id` has the reason. [Troubleshooting](../how-to/troubleshooting.md)
has more details. This page is made from the code (`make docs`).

## Data plane

These answers come from the gateway; all others come from the service. *Decision* is the word in the [access
log](logs.md#access-log) and the label `reason` of `headgate_refusals_total`. The type is `about:blank`, except for 429:
`https://iana.org/assignments/http-problem-types#quota-exceeded`, which names the limits in `violated-policies`.

| status | detail | decision | meaning | what to do |
|---|---|---|---|---|
"""
ADMIN = """
## Admin API

One answer has all problems of a configuration: `errors` is a list of `field` and `detail`.

| status | details | what to do |
|---|---|---|
"""
_LIMIT = Limit("callers", 1.0, 1, ("address",))
_SAMPLES: dict[type, Any] = {
    MethodNotAllowed: MethodNotAllowed(("GET",)),
    Responded: Responded(Reply.plain(200, "responded", b"", "")),
    Redirected: Redirected(Reply(302, "redirected", "")),
    Preflight: Preflight(Reply(204, "preflight", "")),
    Unusable: Unusable(""),
    NotAuthorized: NotAuthorized(Reply(403, "authorization_denied", "Not authorized")),
    AuthorizationFailed: AuthorizationFailed("…", "", 1.0),
    Unauthenticated: MISSING,
    Forbidden: Forbidden(Route("orders", "orders"), frozenset({"orders:read"})),
    TooMany: TooMany(_LIMIT, 1.0, "callers"),
    Uncounted: Uncounted(_LIMIT),
    Unanswered: Unanswered(_LIMIT),
    Saturated: Saturated("…"),
    CircuitOpen: CircuitOpen("…", 1.0),
    NotRegistered: NotRegistered("…"),
    NoneHealthy: NoneHealthy("…", 1.0),
    TooLarge: TooLarge(1),
    BadRequest: BadRequest(400, "…"),
    Unavailable: Unavailable(""),
    BadResponse: BadResponse(""),
    TimedOut: TimedOut(""),
}
"""Refusals with arguments; `…` stands for the variable part."""


def render() -> str:
    """The whole page. ValueError names errors without advice, and advice without an error."""
    rows, decisions = list[str](), set[str]()
    for refusal in TABLE:
        reply = respond(_SAMPLES[refusal] if refusal in _SAMPLES else refusal())
        decisions.add(reply.decision)
        status = ", ".join(_malformed()) if refusal is BadRequest else str(reply.status)
        said = " ".join((inspect.getdoc(refusal) or "").split())
        rows.append(
            _row(status, _detail(reply.body), f"`{reply.decision}`", said, ADVICE.get(reply.decision, ""))
        )
    details = dict[int, list[str]]()
    for number, text in sorted(set(admin_refusals())):
        details.setdefault(number, []).append(text)
    wrong = {*(decisions ^ ADVICE.keys()), *map(str, details.keys() - BY_STATUS.keys())}
    if wrong:
        raise ValueError("errors without advice, or advice without an error: " + ", ".join(sorted(wrong)))
    table = [
        _row(str(number), "<br>".join(details.get(number, ())), text) for number, text in BY_STATUS.items()
    ]
    return HEADER + "\n".join(rows) + "\n" + ADMIN + "\n".join(table) + "\n"


def _malformed() -> list[str]:
    """Every status for malformed requests, from the source of the request reader."""
    sources = "\n".join(path.read_text() for path in (ROOT / "dataplane/proxy").rglob("*.py"))
    raised = r"BadRequest\((\d{3}),|_refuse\([^\n]*, (\d{3})\)|return (\d{3})\b|return \d{3} if [^\n]* else (\d{3})\b"
    return sorted({status for found in re.findall(raised, sources) for status in found if status} | {"400"})


def _detail(body: bytes) -> str:
    return str(json.loads(body)["detail"]) if body else ""


def _row(*cells: str) -> str:
    return "| " + " | ".join(map(cell, cells)) + " |"


def admin_refusals() -> Iterator[tuple[int, str]]:
    """Status and text of every refusal of the admin API with a literal text in the code."""
    for path in sorted((ROOT / "controlplane").rglob("*.py")):
        tree = ast.parse(path.read_text())
        named = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "HttpError":
                status, text = [*node.args, None, None][:2]
                if isinstance(status, ast.Constant) and (shown := _template(text, named)):
                    yield int(str(status.value)), shown


def _template(text: ast.AST | None, named: Mapping[str, ast.AST]) -> str:
    """A text with `…` for the variable parts; empty if most of it is variable."""
    if isinstance(text, ast.FormattedValue):
        text = text.value
    if isinstance(text, ast.Name):
        text = named.get(text.id)
    if isinstance(text, ast.Constant):
        return str(text.value)
    if isinstance(text, ast.JoinedStr):
        shown = "".join(_template(part, named) or "…" for part in text.values)
        return shown if len(shown.replace("…", "").strip("; ")) > 8 else ""
    return ""
