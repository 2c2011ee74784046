"""The admin API as an ASGI application, made from the table of operations."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from controlplane.api import auth
from controlplane.api.body import ACCEPT_PATCH
from controlplane.api.explain import explain
from controlplane.api.operation import ADMIN, ROOT, Call, Operation
from controlplane.api.parts import Parts
from controlplane.api.problems import HttpError, respond
from controlplane.api.recorder import Recorder, record_of
from controlplane.api.table import operations

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_SENT = ("Authorization", "Content-Type", "If-Match", "If-None-Match", "X-Request-Id")
_SHOWN = ("ETag", "Link", "Location", "Retry-After", "X-Headgate-Revision", "X-Request-Id")
"""Header fields that pages of other origins may send, and read."""
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")


def make_api(parts: Parts) -> ASGIApp:
    """The whole admin API over these parts. It has no lifespan: `app` starts and stops the parts."""
    routes = _routes(parts)
    api: ASGIApp = Router(routes, default=_NotFound(routes), redirect_slashes=False)
    if parts.cors_origins:
        api = CORSMiddleware(api, parts.cors_origins, _METHODS, _SENT, expose_headers=_SHOWN)
    return Recorder(api, parts.answered, lambda: parts.published_revision, parts.ended)


def _routes(parts: Parts) -> list[Route]:
    by_path: dict[str, dict[str, Operation]] = defaultdict(dict)
    for operation in operations():
        by_path[operation.path][operation.method] = operation
    by_shape = {_PARAMETER.sub("{}", path): path for path in by_path}
    return [
        Route(path, _Endpoint(parts, operations, _elsewhere(path, by_path, by_shape)))
        for path, operations in by_path.items()
    ]


def _elsewhere(
    path: str, by_path: Mapping[str, Mapping[str, Operation]], by_shape: Mapping[str, str]
) -> Mapping[str, str]:
    """Paths at which methods are allowed that this path refuses: its twin under /config, one step above or below.

    `by_shape`: the paths, by themselves without the names of parameters.
    """
    twin = by_shape.get(_PARAMETER.sub("{}", path.replace(f"{ROOT}/", f"{ROOT}/config/", 1)))
    above = path.rpartition("/")[0]
    found: dict[str, str] = {}
    for other, possible in by_path.items():
        if above == other or other.rpartition("/")[0] == path:
            found = {**dict.fromkeys(possible, other), **found}
        elif other == twin:
            found = {**found, **dict.fromkeys(possible, other)}
    return {method: _PARAMETER.sub(r"{\1}", other) for method, other in found.items()}


class _Endpoint:
    """All operations at one path."""

    def __init__(
        self, parts: Parts, operations: Mapping[str, Operation], elsewhere: Mapping[str, str]
    ) -> None:
        """`elsewhere`: the paths at which other methods are allowed."""
        self._parts = parts
        self._elsewhere = elsewhere
        self._operations = {**operations}
        if "GET" in operations:
            self._operations["HEAD"] = operations["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        with ExitStack() as spans:
            response = await self._explained(request, spans)
            record_of(request.scope).span.set({"http.response.status_code": response.status_code})
            if response.status_code >= 500:
                record_of(request.scope).span.fail(str(response.status_code))
            return response

    async def _explained(self, request: Request, spans: ExitStack) -> Response:
        writing = request.method not in ("GET", "HEAD")
        try:
            return await self._run(request, spans)
        except ClientDisconnect:
            return Response(status_code=499)  # the client is gone; only the log shows it
        except Exception as error:
            refused = explain(error, writing=writing)
            if refused is None:
                raise
            return respond(refused)

    async def _run(self, request: Request, spans: ExitStack) -> Response:
        operation = self._operations.get(request.method)
        if operation is None:
            return self._without_operation(request.method)
        record_of(request.scope).route = operation.path
        author = await auth.author(self._parts, request, operation.access)
        if operation.access != "public":
            record_of(request.scope).author = author
            spans.enter_context(self._traced(request, operation, author))
        writing = operation.tag == "configuration" and operation.method != "GET"
        if writing:
            self._parts.require_trusted_store()
        response = await operation.handler(Call(self._parts, request, author))
        if writing:
            await self._parts.require_same_store()
        return response

    @contextmanager
    def _traced(self, request: Request, operation: Operation, author: str) -> Iterator[None]:
        """A span of an authorized request. Whoever may change the gateway may also demand a trace."""
        record = record_of(request.scope)
        about = {"headgate.request_id": record.request_id, "url.path": record.path, "user.id": author}
        obeyed = operation.access == ADMIN
        with self._parts.commands.spans.request(
            request.method, operation.path, request.headers, obeyed=obeyed, attributes=about
        ) as record.span:
            try:
                yield
            finally:
                if record.revision is not None:
                    record.span.set({"headgate.revision": record.revision})

    def _without_operation(self, method: str) -> Response:
        """The answer to OPTIONS (RFC 9110 §9.3.7); for other methods HttpError 405 that names the allowed methods."""
        headers = {"Allow": ", ".join(sorted({*self._operations, "OPTIONS"}))}
        if "PATCH" in self._operations:
            headers |= ACCEPT_PATCH
        if method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        where = self._elsewhere.get(method)
        hint = f". {method} {where} is" if where else ""
        raise HttpError(
            405, f"{method[:20]} is not allowed here; allowed: {headers['Allow']}{hint}", headers=headers
        )


class _NotFound:
    """The answer at every other path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        refused = HttpError(404, f"This path does not exist; {self._instead(scope)}")
        await respond(refused)(scope, receive, send)

    def _instead(self, scope: Scope) -> str:
        path = str(scope["path"])
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        if any(route.matches({**scope, "path": other})[0] is Match.FULL for route in self._routes):
            return f"{'without' if path.endswith('/') else 'with'} a '/' at its end it does"
        return "/docs and /api/v1/openapi.json list all paths"
