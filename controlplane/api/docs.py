"""Entry points of the admin API: the start page, the description for programs, and the reference for people."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.resources import files

from starlette.responses import Response

from controlplane.api import shapes
from controlplane.api.answers import NO_CACHE, json_answer
from controlplane.api.openapi import describe
from controlplane.api.operation import ROOT, Answer, Call, Operation, get
from controlplane.api.reference import page

Table = Callable[[], Iterable[Operation]]


async def index(call: Call) -> Response:
    """The start page: for browsers a redirect to the reference, for programs a list of paths."""
    if "text/html" in call.request.headers.get("accept", ""):
        return Response(status_code=303, headers={"Location": "/docs", "Vary": "Accept"})
    links = shapes.LinksShape(
        reference="/docs",
        openapi=f"{ROOT}/openapi.json",
        token=f"{ROOT}/auth/token",
        health="/health",
        ready="/ready",
        metrics="/metrics",
    )
    shape = shapes.IndexShape(name="Headgate admin API", version=call.parts.version, links=links)
    return json_answer(shape.model_dump(), headers={"Vary": "Accept"})


@cache
def _style() -> tuple[str, str]:
    """The style of the page, and the policy that lets browsers apply it and load or run nothing."""
    style = files("controlplane.api").joinpath("reference.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return style, f"{policy}; frame-ancestors 'none'"


class _Once:
    """A text that is made by the first who asks, and kept: it takes a while, and anybody may ask for the reference."""

    def __init__(self, make: Callable[[str], bytes | memoryview]) -> None:
        """`make` takes the version."""
        self._make = make
        self._made: dict[str, bytes | memoryview] = {}

    async def of(self, call: Call) -> bytes | memoryview:
        """The text for the version of this control plane."""
        version = call.parts.version
        if version not in self._made:
            await call.parts.commands.reads.run(lambda: self._keep(version))
        return self._made[version]

    def _keep(self, version: str) -> None:
        # One at a time, and others may have waited for the same.
        if version not in self._made:
            self._made[version] = self._make(version)


def operations(table: Table) -> Iterator[Operation]:
    """The operations that describe all operations of `table`, these included."""

    style, policy = _style()
    described = _Once(lambda version: json_answer(describe(table(), version)).body)
    drawn = _Once(lambda version: page(describe(table(), version), style).encode())

    async def openapi(call: Call) -> Response:
        return Response(await described.of(call), headers=NO_CACHE, media_type="application/json")

    async def reference(call: Call) -> Response:
        headers = {"Content-Security-Policy": policy}
        return Response(await drawn.of(call), headers=headers, media_type="text/html")

    yield get(
        "/",
        index,
        "getIndex",
        "The entry points of the admin API",
        Answer(200, "Links", shapes.IndexShape),
        Answer(303, "Browsers are redirected to the API reference"),
        access="public",
        tag="process",
    )
    yield get(
        f"{ROOT}/openapi.json",
        openapi,
        "getOpenapi",
        "This description",
        Answer(200, "OpenAPI", {"type": "object"}),
    )
    yield get(
        "/docs",
        reference,
        "getReference",
        "This description as a page",
        Answer(200, "HTML that loads nothing from other servers", {"type": "string"}, "text/html"),
        access="public",
        tag="process",
        refusals=(503,),
    )
