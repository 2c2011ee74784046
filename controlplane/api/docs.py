"""Entry points of the admin API: the start page, the description for programs, and the reference for people."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.resources import files

from starlette.responses import Response

from controlplane.api import dashboard
from controlplane.api.answers import json_answer, json_text
from controlplane.api.kept import KeptText
from controlplane.api.openapi import describe
from controlplane.api.operation import IF_NONE_MATCH, ROOT, Answer, Call, Operation, get
from controlplane.api.reference import page
from controlplane.api.shapes.server import IndexShape, LinksShape

Table = Callable[[], Iterable[Operation]]


async def index(call: Call) -> Response:
    """The start page: for browsers the dashboard or a redirect to the reference, for programs a list of paths."""
    if "text/html" in call.request.headers.get("accept", ""):
        if call.parts.dashboard:
            return dashboard.start_page(call)
        return Response(status_code=303, headers={"Location": "/docs", "Vary": "Accept"})
    links = LinksShape(
        reference="/docs",
        openapi=f"{ROOT}/openapi.json",
        token=f"{ROOT}/auth/token",
        health="/health",
        ready="/ready",
        metrics="/metrics",
    )
    shape = IndexShape(name="Headgate admin API", version=call.parts.version, links=links)
    return json_answer(shape.model_dump(), headers={"Vary": "Accept"})


@cache
def _style() -> tuple[str, str]:
    """The style of the page, and the policy that lets browsers apply it and load or run nothing."""
    style = files("controlplane.api").joinpath("reference.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return style, f"{policy}; frame-ancestors 'none'"


def operations(table: Table) -> Iterator[Operation]:
    """The operations that describe all operations of `table`, these included."""

    style, policy = _style()
    described = KeptText(lambda version: json_text(describe(table(), version)), "application/json")
    drawn = KeptText(
        lambda version: page(describe(table(), version), style).encode(),
        "text/html",
        {"Content-Security-Policy": policy},
    )

    known = Answer(304, "The client's copy is current")
    yield get(
        "/",
        index,
        "getIndex",
        "The entry points of the admin API",
        Answer(200, "Links", IndexShape),
        Answer(303, "Without the dashboard, browsers are redirected to the API reference"),
        access="public",
        tag="process",
    )
    yield get(
        f"{ROOT}/openapi.json",
        described.answer,
        "getOpenapi",
        "This description",
        Answer(200, "OpenAPI", {"type": "object"}, etag=True),
        known,
        parameters=(IF_NONE_MATCH,),
        refusals=(400,),
    )
    yield get(
        "/docs",
        drawn.answer,
        "getReference",
        "This description as a page",
        Answer(200, "HTML that loads nothing from other servers", {"type": "string"}, "text/html", etag=True),
        known,
        access="public",
        tag="process",
        parameters=(IF_NONE_MATCH,),
        refusals=(400, 503),
    )
